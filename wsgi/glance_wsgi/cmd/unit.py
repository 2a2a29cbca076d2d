"""How systemd stops and reloads an Apache that has our daemon processes.

    python -m glance_wsgi.cmd.unit stop|reload

It is called by the unit alone, so it is no verb; see glance-wsgi.apache.j2.
"""

import sys

from glance_wsgi import errors
from glance_wsgi import install
from glance_wsgi import processes
from glance_wsgi import servers
from glance_wsgi.servers import mod_wsgi


def _apache() -> mod_wsgi.SystemDaemons:
    """The Apache that is installed to have them.

    :raises errors.NotInstalled: there is none
    """
    deployment = install.installed()
    parts = () if deployment is None else servers.load(deployment).parts
    for part in parts:
        if isinstance(part, mod_wsgi.SystemDaemons):
            return part
    raise errors.NotInstalled(
        'No Apache with mod_wsgi is installed.',
        'Run "systemctl daemon-reload".',
        'Its unit does the rest.',
    )


def stop(apache: mod_wsgi.SystemDaemons) -> None:
    """Let it finish what it has begun, imports too, and end.

    :raises errors.NotStopped: it takes longer than the mercy
    """
    parent = apache.parent()
    everything = [] if parent is None else processes.family(parent)
    mercy = apache.deployment.conf.server.task_mercy
    left = apache.finish(everything, mercy)
    if left:
        raise servers.not_stopped(
            left,
            f'After {mercy} s they still have requests or imports to finish.',
            'Start them again; the mercy is --task-mercy.',
        )


def main(word: str) -> int:
    """Stop or reload; what goes wrong becomes a line and an exit code."""
    try:
        apache = _apache()
        if word == 'stop':
            stop(apache)
        else:
            apache.reread()
    except errors.GlanceWSGIError as error:
        print(f'glance-wsgi: {error.line()}', file=sys.stderr)
        return error.code
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
