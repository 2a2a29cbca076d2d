"""Downloads: whether the web server itself sends image data.

Read by Glance's processes, from Glance's own configuration.
"""

from oslo_config import cfg

GROUP = cfg.OptGroup('downloads', title='How image data is sent')

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
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options of this group known to `conf`."""
    # A copy: oslo.config keeps the values in it, for all who registered it.
    conf.register_group(cfg.OptGroup(GROUP.name, GROUP.title))
    conf.register_opts(OPTS, group=GROUP.name)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """This group's name and options."""
    return [(GROUP.name, OPTS)]
