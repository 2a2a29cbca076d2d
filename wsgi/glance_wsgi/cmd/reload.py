"""``glance-wsgi reload``: new configuration and code, and nothing lost."""

import argparse
import os
import time

from glance_wsgi import errors
from glance_wsgi import install
from glance_wsgi import servers
from glance_wsgi import steps
from glance_wsgi.cmd import base
from glance_wsgi.cmd.down import seconds
from glance_wsgi.deployment import Deployment


class Reload(base.Verb):
    """Let a running Images v2 API take new configuration and code.

    The configuration is written anew and tried first; if it can't be loaded,
    what serves stays as it is. Then the processes are replaced one at a time:
    each finishes the requests and imports that it has begun while the others
    serve.
    """

    interrupts = base.ENDS
    prefers_installed = True

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The parser with the options of this verb."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--server',
            metavar='SERVER',
            help='Refuse to, unless this is the server that hosts it. '
            '"reload" changes to no other one; "up" and "install" do.',
        )
        parser.add_argument(
            '--timeout',
            metavar='SECONDS',
            type=seconds,
            help='How long the old processes of one application may take to '
            'finish. What is not finished by then goes on, and a second '
            '"reload" waits for it. (default: the task_mercy of the '
            'deployment)',
        )
        return parser

    _left: dict[str, int]

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Write, try, replace; a line for each."""
        os.umask(0o022)
        if self.means_installed(parsed_args):
            return self._reload_installed(parsed_args)
        deployment = self.existing(parsed_args)
        _check_server(deployment, parsed_args.server)
        timeout = parsed_args.timeout
        if timeout is None:
            timeout = float(deployment.conf.server.task_mercy)
        up = steps.Up(deployment)
        self._left = {}
        began = time.monotonic()
        with deployment.state.lock():
            since = time.time()
            up.check_running()
            changed = up.configuration(try_unchanged=True)
            print('configuration', 'changed' if changed else 'unchanged')
            base.tell(up.awaited())
            up.start(self._tell, timeout)
            up.reload(since, timeout, self._tell)
        print(f'Reloaded in {time.monotonic() - began:.1f} s.')
        return 0

    def _reload_installed(self, parsed_args: argparse.Namespace) -> int:
        install.check_root()
        self._left = {}
        began = time.monotonic()
        with install.alone():
            # Not before: a command that was killed may have left another one.
            deployment = install.installed()
            if deployment is None:
                raise errors.NotInstalled(
                    'Nothing is installed: the first "install" was killed.',
                    'Run it again.',
                    'What it had begun has been put back.',
                )
            _check_server(deployment, parsed_args.server)
            timeout = parsed_args.timeout
            if timeout is None:
                timeout = float(deployment.conf.server.task_mercy)
            later = install.Installation(deployment).reload(
                timeout, self._tell, base.tell
            )
        print(f'Reloaded in {time.monotonic() - began:.1f} s.')
        if later:
            print('The service itself has changed: "glance-wsgi install".')
        return 0

    def _tell(self, name: str, left: int) -> None:
        self.go_on()
        if self._left.get(name) != left:
            print(f'{name}: {left} to be replaced', flush=True)
        self._left[name] = left


def _check_server(deployment: Deployment, wanted: str | None) -> None:
    """It is hosted by the server that the person believes it is.

    :raises errors.ServerUnknown: there is none of that name
    :raises errors.BadOption: it is another one
    """
    if wanted is None:
        return
    wanted = servers.load(deployment, wanted).name
    name = servers.load(deployment).name
    if wanted != name:
        raise errors.BadOption(
            f'It is {name} that hosts this deployment, not {wanted}.',
            f'Leave --server out, or give it {name}; to change to {wanted} '
            'is what "install" is for, and "up" after "down".',
        )
