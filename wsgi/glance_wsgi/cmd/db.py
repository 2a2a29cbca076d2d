"""``glance-wsgi db check`` and ``db migrate``: upgrades of the database."""

import argparse
import dataclasses
import sys
from typing import Any

import sqlalchemy
from cliff import columns
from cliff import lister

from glance_wsgi import db
from glance_wsgi import errors
from glance_wsgi import hosted
from glance_wsgi.cmd import base
from glance_wsgi.db import own
from glance_wsgi.db import plan
from glance_wsgi.db import rows
from glance_wsgi.db import settings

CODES = {
    plan.EXPAND: errors.Exit.EXPAND_PENDING,
    plan.MIGRATE: errors.Exit.MIGRATE_PENDING,
    plan.CONTRACT: errors.Exit.CONTRACT_PENDING,
}

COMMANDS = {
    plan.EXPAND: 'glance-wsgi-manage db expand',
    plan.MIGRATE: 'glance-wsgi db migrate',
    plan.CONTRACT: 'glance-manage db contract',
}


class _Optional(columns.FormattableColumn):
    """A cell that is empty for people where there is nothing to say."""

    def human_readable(self) -> str:
        return '' if self._value is None else str(self._value)


class DatabaseVerb(base.Verb):
    """A verb on the database of a deployment, or of any other Glance."""

    prefers_installed = True

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The parser with the ways to name a database."""
        parser = super().get_parser(prog_name)
        for flag, metavar, what in (
            ('--config-file', 'FILE', 'file'),
            ('--config-dir', 'DIR', 'directory'),
        ):
            parser.add_argument(
                flag,
                metavar=metavar,
                action='append',
                default=[],
                help="Read the database's URL from this configuration "
                f'{what} of Glance, instead of a deployment. Can be given '
                'more than once.',
            )
        return parser

    def database(self, parsed_args: argparse.Namespace) -> sqlalchemy.URL:
        """The database that the person named."""
        files, directories = parsed_args.config_file, parsed_args.config_dir
        if not files and not directories:
            return db.parse(hosted.database(self.meant(parsed_args)))
        conf = settings.new()
        words = [
            *(f'--config-file={file}' for file in files),
            *(f'--config-dir={directory}' for directory in directories),
        ]
        settings.read(conf, words, 'glance-wsgi')
        return settings.database(conf)


def say(line: str) -> None:
    """A line beside the output, which is for programs too."""
    print(f'glance-wsgi: {line}', file=sys.stderr)


class Check(DatabaseVerb, lister.Lister):
    """List what is to be done to upgrade the database; change nothing.

    The exit code says which phase is next: 3 expand, 4 migrate, 5 contract.
    It is 0 if the database is up to date.
    """

    made: plan.Plan = ()

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Make the plan."""
        url = self.database(parsed_args)
        theirs = plan.make(url)
        self.made = (*own.pending(url), *theirs)
        names = tuple(
            field.name for field in dataclasses.fields(plan.Operation)
        )
        return names, [
            (*dataclasses.astuple(step)[:-1], _Optional(step.rows))
            for step in self.made
        ]

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Show the plan; the exit code is the phase that is next."""
        code = super().run(parsed_args)
        if code != errors.Exit.OK:
            return code
        phase = plan.next_phase(self.made)
        if phase is None:
            say('The database is up to date.')
            return errors.Exit.OK
        say(f'{len(self.made)} operations pending; next: "{COMMANDS[phase]}".')
        return CODES[phase]


class Migrate(DatabaseVerb, lister.Lister):
    """Migrate the rows that an upgrade needs migrated, of every release.

    This is the phase between "db expand" and "db contract". "glance-manage db
    migrate" only knows the data migrations of its own release.
    """

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, str], list[tuple[str, int]]]:
        """Run what the plan has of this phase."""
        url = self.database(parsed_args)
        pending = plan.make(url)
        if plan.next_phase(pending) == plan.EXPAND:
            self.early = True
            return ('revision', 'rows'), []
        return ('revision', 'rows'), list(rows.migrate(url, pending))

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Migrate; tables that are not expanded yet are left alone."""
        self.early = False
        code = super().run(parsed_args)
        if self.early:
            say(f'Nothing was changed; run "{COMMANDS[plan.EXPAND]}" first.')
            return errors.Exit.EXPAND_PENDING
        return code
