"""The engine that runs Glance's tasks: how often it shows that it lives.

Read by the engine itself, from Glance's own configuration.
"""

from oslo_config import cfg

from glance_wsgi.conf import groups

GROUP = cfg.OptGroup('task_engine', title='How tasks are run')

OPTS = [
    cfg.IntOpt(
        'task_heartbeat',
        default=10,
        min=1,
        metavar='SECONDS',
        help='How often a process that runs imports or other tasks shows in '
        'the database that it lives. One that is silent for six times as '
        'long is taken for dead, and others continue its tasks; on its own '
        'node that is seen within three times that. Fewer seconds find a dead '
        'node earlier, cost more queries, and give a database less time to be '
        'restarted in.',
    ),
    cfg.IntOpt(
        'task_attempts',
        default=3,
        min=1,
        metavar='NUMBER',
        help='How often a task is begun, when the process that runs it dies, '
        'until it fails. With 1 nothing is ever begun again; an image that '
        'kills the process that converts it does so this many times.',
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options of this group known to `conf`."""
    groups.register(conf, GROUP, OPTS)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """This group's name and options."""
    return [(GROUP.name, OPTS)]
