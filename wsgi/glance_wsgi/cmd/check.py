"""``glance-wsgi check``: what is known to go wrong, before it does."""

import argparse
import collections
import pathlib
import sys
from typing import Any

from cliff import lister

from glance_wsgi import errors
from glance_wsgi import lint
from glance_wsgi import programs
from glance_wsgi.cmd import base
from glance_wsgi.lint import findings
from glance_wsgi.lint import reading
from glance_wsgi.lint.context import Context

COLUMNS = ('severity', 'rule', 'where', 'what', 'why', 'action')


class Check(base.Verb, lister.Lister):
    """Check configuration for values that are known to be bad.

    Without FILE: the deployment's own files. With FILE: any uWSGI ini files,
    Apache configurations, glance-api.conf or systemd units, whoever wrote
    them, or directories that have such files. Files that belong together are
    given together, since some of their values have to fit to each other.
    Nothing is changed, and nothing that a
    file names is run.
    """

    prefers_installed = True

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The parser with the options of this verb."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'files',
            metavar='FILE',
            nargs='*',
            type=pathlib.Path,
            help='A configuration file to check, or a directory: in it, what '
            'is no configuration is passed over. (default: those of the '
            'deployment)',
        )
        # The sentences of a finding are longer than a terminal is wide.
        parser.set_defaults(fit_width=True)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Check, and tell how it went in one line beside the table."""
        service = programs.ServiceUser.find()
        files = parsed_args.files
        ours = not files
        passed: list[pathlib.Path] = []
        if ours:
            deployment = self.meant(parsed_args)
            files = lint.targets(deployment)
            service = deployment.user
        else:
            absolute = [path.absolute() for path in files]
            files, passed = reading.known(absolute)
        context = Context()
        context.service = context.identity(service.name)
        context.certain = ours
        found = lint.lint(files, context)
        self.code = findings.exit_code(found)
        print(summary(len(files), found, len(passed)), file=sys.stderr)
        rows = [
            tuple(str(getattr(one, name)) for name in COLUMNS) for one in found
        ]
        return COLUMNS, rows

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Show; the exit code tells how bad the worst finding is."""
        self.code = errors.Exit.OK
        return super().run(parsed_args) or self.code


def summary(files: int, found: list[findings.Finding], passed: int = 0) -> str:
    """How many files were checked, or passed over, and what was found."""
    counted = collections.Counter(one.severity for one in found)
    parts = [
        _plural(counted[severity], str(severity))
        for severity in sorted(findings.Severity, reverse=True)
        if counted[severity]
    ]
    shown = ', '.join(parts) if parts else 'nothing found'
    over = f', passed over {passed}' if passed else ''
    return f'Checked {_plural(files, "file")}{over}: {shown}.'


def _plural(number: int, name: str) -> str:
    several = number != 1 and name != 'info'
    return f'{number} {name}{"s" if several else ""}'
