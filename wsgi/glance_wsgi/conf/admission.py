"""How many requests run in a process at a time.

Read by the application itself, from Glance's own configuration.
"""

from oslo_config import cfg

from glance_wsgi.conf import groups

GROUP = cfg.OptGroup('admission', title='How many requests run at a time')

OPTS = [
    cfg.IntOpt(
        'requests_at_once',
        default=2,
        min=0,
        metavar='NUMBER',
        help='Requests that each worker lets into Glance at a time, in the '
        'order in which they came. Python runs one thread of a process at a '
        'time, so more of them make all of them slower; where the database '
        'or Keystone is far away they mostly wait, and a worker can do with '
        'more. Transfers of image data have a line of their own, by which one '
        'begins at a time. The health check is not counted, nor is who waits '
        'for its client or for longer than Python mostly needs. With 0 all '
        'are let in, as without glance-wsgi.',
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options of this group known to `conf`."""
    groups.register(conf, GROUP, OPTS)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """This group's name and options."""
    return [(GROUP.name, OPTS)]
