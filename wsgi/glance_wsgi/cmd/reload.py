"""``glance-wsgi reload``: new configuration and code, and nothing lost."""

import argparse
import os
import time

from glance_wsgi import errors
from glance_wsgi import install
from glance_wsgi import servers
from glance_wsgi import state
from glance_wsgi import steps
from glance_wsgi.cmd import base
from glance_wsgi.cmd.down import seconds


class Reload(base.Verb):
    """Let a running Images v2 API take new configuration and code.

    The configuration is written anew and tried first; if it can't be loaded,
    what serves stays as it is. Then the processes are replaced one at a time:
    each finishes the requests and imports that it has begun while the others
    serve.
    """

    interrupts = base.ENDS

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The parser with the options of this verb."""
        parser = super().get_parser(prog_name)
        # The one that is installed, if there is one.
        parser.set_defaults(state_dir=None)
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
        if self._is_installed(parsed_args):
            return self._reload_installed(parsed_args.timeout)
        deployment = self.existing(parsed_args)
        timeout = parsed_args.timeout
        if timeout is None:
            timeout = float(deployment.conf.server.task_mercy)
        up = steps.Up(deployment)
        self._left = {}
        began = time.monotonic()
        with deployment.state.lock():
            up.check_running()
            changed = up.configuration(try_unchanged=True)
            print('configuration', 'changed' if changed else 'unchanged')
            self._tell_awaited(up.awaited())
            up.start()
            up.reload(timeout, self._tell)
        print(f'Reloaded in {time.monotonic() - began:.1f} s.')
        return 0

    def _is_installed(self, parsed_args: argparse.Namespace) -> bool:
        """Whether the person means what is installed."""
        known = install.facts()
        if known is None or self._runs_itself(parsed_args):
            return False
        given = parsed_args.state_dir
        named = given and str(state.StateDir(given).path)
        return named in (None, known['state_dir'])

    def _runs_itself(self, parsed_args: argparse.Namespace) -> bool:
        """Whether something runs that "up" has started."""
        deployment = self.find(parsed_args.state_dir)
        if deployment.marker is None:
            return False
        return bool(servers.load(deployment).processes())

    def _reload_installed(self, timeout: float | None) -> int:
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
            if timeout is None:
                timeout = float(deployment.conf.server.task_mercy)
            later = install.Installation(deployment).reload(
                timeout, self._tell, self._tell_awaited
            )
        print(f'Reloaded in {time.monotonic() - began:.1f} s.')
        if later:
            print('The service itself has changed: "glance-wsgi install".')
        return 0

    def _tell_awaited(self, lines: list[str]) -> None:
        for line in lines:
            print(line, flush=True)

    def _tell(self, name: str, left: int) -> None:
        self.go_on()
        if self._left.get(name) != left:
            print(f'{name}: {left} to be replaced', flush=True)
        self._left[name] = left
