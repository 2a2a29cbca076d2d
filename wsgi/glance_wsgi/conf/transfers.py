"""How image data is moved.

Read by the application itself, from Glance's own configuration.
"""

from oslo_config import cfg

from glance_wsgi.conf import groups

GROUP = cfg.OptGroup('transfers', title='How image data is moved')

OPTS = [
    cfg.BoolOpt(
        'hand_off_downloads',
        default=True,
        metavar='true|false',
        help='Have the web server send image data that lies in a local file '
        '(a file store, the image cache), once Glance has authorised the '
        'download. It is faster, and a slow client holds no thread of the '
        'API. Glance counts such a download as sent when it is handed off, '
        'also where the client breaks it off later. With false every byte '
        'goes through Python and a thread, as without glance-wsgi.',
    ),
    cfg.BoolOpt(
        'upload_pipeline',
        default=True,
        metavar='true|false',
        help='Read, hash and write an upload to a file store at the same '
        'time, in threads of its own, instead of one after the other. It is '
        'faster where a CPU is idle, not where uploads keep all of them '
        'busy, and takes a few MiB for each upload; what is stored, and what '
        'is refused, is the same. Switch it off to see whether it is to blame '
        'for something.',
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options of this group known to `conf`."""
    groups.register(conf, GROUP, OPTS)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """This group's name and options."""
    return [(GROUP.name, OPTS)]
