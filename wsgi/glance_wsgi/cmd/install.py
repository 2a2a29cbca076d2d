"""``glance-wsgi install``: the web server as a service of the system."""

import argparse
import os
import sys

from glance_wsgi import install
from glance_wsgi import systemd
from glance_wsgi.cmd import base
from glance_wsgi.deployment import Deployment
from glance_wsgi.deployment import default_state_dir


class Install(base.Verb):
    """Install the web server that hosts Glance into the system.

    It hosts the deployment that "up" has made in --state-dir, which must not
    run by itself, or else the Glance in --glance-config-dir. All of it is
    tried before it stays; whatever goes wrong puts every file back. Options
    that are not given keep the values that they were installed with.
    """

    interrupts = base.ENDS
    prefers_installed = True

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The parser with every option of a deployment."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--dry-run',
            action='store_true',
            help='Show how each file would change, and write nothing.',
        )
        base.add_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Check, then install or show."""
        install.check_root()
        # The service user reads what we write; secrets are closed one by one.
        os.umask(0o022)
        if parsed_args.dry_run:
            wanted = install.Installation(self._deployment(parsed_args))
            wanted.check()
            _show(wanted.preview())
            return 0
        with install.alone():
            wanted = install.Installation(self._deployment(parsed_args))
            wanted.check()
            _show(wanted.install(base.tell))
        print(_summary(wanted.deployment))
        return 0

    def _deployment(self, parsed_args: argparse.Namespace) -> Deployment:
        known = install.facts() or {'state_dir': default_state_dir()}
        found = self.find(
            parsed_args.state_dir or known['state_dir'],
            parsed_args.config_file,
            base.overrides(parsed_args),
            install.options_file(),
        )
        return install.in_system(found)


def _show(outcomes: list[install.Outcome]) -> None:
    for outcome in outcomes:
        print(f'{outcome.word:10}{outcome.path}')
        sys.stdout.writelines(outcome.diff)


def _summary(deployment: Deployment) -> str:
    if not systemd.booted():
        return (
            'systemd does not run this machine, so nothing was started: '
            'start or reload the web server now.'
        )
    return f'Serving at {deployment.endpoint}.'
