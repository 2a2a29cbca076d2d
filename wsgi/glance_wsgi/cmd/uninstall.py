"""``glance-wsgi uninstall``: what was there before ``install``."""

import argparse

from cliff import command

from glance_wsgi import install
from glance_wsgi.cmd import base


class Uninstall(base.Verb):
    """Put back what was there before the first "install".

    Running requests and imports are finished first. The deployment, its data
    and the logs stay.
    """

    interrupts = base.ENDS

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The parser without options: there is one installation."""
        return command.Command.get_parser(self, prog_name)

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Stop it, and put everything back."""
        install.check_root()
        with install.alone():
            deployment, kept = install.uninstall()
        print('Everything is as it was before "install".')
        if kept:
            print(
                'But these modules of Apache stay, since another site needs '
                f'some by now: {", ".join(kept)}.'
            )
        if deployment is not None:
            print(f'The logs are left in {deployment.places.log}.')
        return 0
