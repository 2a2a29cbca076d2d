"""The private names of Glance that a plan is made of.

Glance has no public way to ask which migrations it has. These names are the
same in all supported versions; ``tests/functional/test_db_contract.py`` pins
them on each.
"""

import ast
import dataclasses
import functools
import importlib
import inspect
import pkgutil
import re
import textwrap
import types
from collections.abc import Callable
from typing import Any

import sqlalchemy
from alembic import config as alembic_config
from alembic import script

from glance_wsgi import upstream

_NAME = re.compile(r'(.*?)(?:_(?:expand|migrate|contract))?\d*')
_DATA = re.compile(r'.*_migrate\d+')


@dataclasses.dataclass(frozen=True)
class DataMigration:
    """One module of Glance that migrates rows, not tables.

    :param revision: its name in the manner of Alembic's revisions
    :param has_migrations: whether a row is still to be migrated
    :param migrate: does it, and says how many rows it has migrated
    """

    revision: str
    summary: str
    empty: bool
    has_migrations: Callable[[sqlalchemy.Engine], bool]
    migrate: Callable[[sqlalchemy.Engine], int]


@functools.cache
def scripts() -> script.ScriptDirectory:
    """Glance's Alembic revisions; they do not change while we run."""
    config = alembic_config.Config()
    config.set_main_option('script_location', str(upstream.migrations()))
    return script.ScriptDirectory.from_config(config)


def branches() -> tuple[str, str]:
    """What Glance calls the branches of its two phases of revisions."""
    from glance.db import migration

    return migration.EXPAND_BRANCH, migration.CONTRACT_BRANCH


@functools.cache
def data_migrations() -> tuple[DataMigration, ...]:
    """All of them, of all releases, by name."""
    from glance.db.sqlalchemy.alembic_migrations import data_migrations

    names = sorted(
        found.name for found in pkgutil.iter_modules(data_migrations.__path__)
    )
    return tuple(
        _data_migration(
            name, importlib.import_module(f'{data_migrations.__name__}.{name}')
        )
        for name in names
    )


def _data_migration(name: str, module: types.ModuleType) -> DataMigration:
    named = _DATA.match(name)
    text = module.__doc__ or module.migrate.__doc__ or ''
    return DataMigration(
        revision=named[0] if named else name,
        summary=first_line(text),
        empty=empty(module.has_migrations) and empty(module.migrate),
        has_migrations=module.has_migrations,
        migrate=module.migrate,
    )


def online(backend: str) -> bool:
    """Whether Glance upgrades a database of this kind phase by phase.

    :param backend: SQLAlchemy's name of it, such as "mysql"
    """
    from glance.cmd import manage

    # All that Glance looks at; a real engine would need its driver.
    kind = types.SimpleNamespace(name=backend)
    try:
        manage.DbCommands()._validate_engine(
            types.SimpleNamespace(engine=kind)
        )
    except SystemExit:
        return False
    return True


def release(revision: str) -> str:
    """The release that a revision was made for: 2024.1, rocky."""
    named = _NAME.fullmatch(revision)
    return (named[1] if named else revision).replace('_', '.')


def first_line(docstring: str) -> str:
    """The summary of a docstring; empty if that is."""
    return next(iter(docstring.strip().splitlines()), '')


@functools.cache
def empty(function: Callable[..., Any]) -> bool:
    """Whether a function only returns, and does nothing before.

    Glance has such migrations, so that each release has one of each phase.
    """
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except OSError:
        return False
    (made,) = ast.parse(source).body
    assert isinstance(made, ast.FunctionDef)
    return all(
        isinstance(statement, ast.Pass)
        or (
            isinstance(statement, ast.Expr | ast.Return)
            and isinstance(statement.value, ast.Constant | None)
        )
        for statement in made.body
    )
