"""``glance-wsgi size``: how large a deployment should be, and why."""

import argparse
import dataclasses
from typing import Any

from cliff import lister

from glance_wsgi import errors
from glance_wsgi import size
from glance_wsgi.cmd import base

COLUMNS = ('setting', 'value', 'why')

OPTIONS = ('db_connections', 'slow_clients', 'workers', 'threads')


class Size(base.Verb, lister.Lister):
    """Recommend workers, threads, connections, memory, disk and timeouts.

    These are the numbers that "up" and "install" use on a machine with so
    many CPUs and so much memory. Nothing is changed.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The parser with the options of this verb."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--cpus',
            metavar='NUMBER',
            help='CPUs of the machine. (default: those of this one)',
        )
        parser.add_argument(
            '--memory',
            metavar='MIB',
            help='Memory of the machine, in MiB. (default: that of this one)',
        )
        base.add_options(parser, OPTIONS)
        # The reasons are longer than a terminal is wide.
        parser.set_defaults(fit_width=True)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Compute."""
        deployment = self.find(
            parsed_args.state_dir,
            parsed_args.config_file,
            base.overrides(parsed_args),
        )
        machine = size.Machine.here()
        if parsed_args.cpus is not None:
            cpus = _number('--cpus', parsed_args.cpus)
            machine = dataclasses.replace(machine, cpus=cpus)
        if parsed_args.memory is not None:
            memory = _number('--memory', parsed_args.memory) * size.MIB
            machine = dataclasses.replace(machine, memory=memory)
        wanted = deployment.conf.server
        found = deployment.size_on(machine)
        return COLUMNS, list(size.explain(found, wanted))


def _number(option: str, text: str) -> int:
    """A whole number, 1 at least.

    :raises errors.BadOption: it is none
    """
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise errors.BadOption(
            f'The option {option} "{text}" is no number from 1 on.',
            f'Give {option} a whole number, 1 or more.',
        )
    return int(text)
