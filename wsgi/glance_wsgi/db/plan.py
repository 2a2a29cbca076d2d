"""Every operation that upgrades a database, in order, as data.

The order is that of a rolling upgrade: all tables are expanded, then rows are
migrated, then what nobody needs any more is removed.
"""

import dataclasses
import os
from collections.abc import Iterator

import sqlalchemy
from alembic import script
from sqlalchemy import exc

from glance_wsgi import errors
from glance_wsgi import upstream
from glance_wsgi.db import counting
from glance_wsgi.db import glance
from glance_wsgi.db import readonly
from glance_wsgi.db import refusals
from glance_wsgi.db.graph import Graph

EXPAND, MIGRATE, CONTRACT = PHASES = ('expand', 'migrate', 'contract')

# What is no answer to a question, and may be none a moment later.
LATER = (errors.DatabaseBusy, errors.DatabaseUnreachable)


@dataclasses.dataclass(frozen=True)
class Operation:
    """One step of an upgrade.

    :param phase: expand, migrate or contract
    :param revision: Glance's name of it
    :param release: the release that it was made for, such as 2024.1
    :param summary: what its author says that it does; may be empty
    :param empty: it does nothing, it is there for symmetry
    :param rows: what is still to be migrated; None in the other phases,
        where it can't be counted, and where it can't be known before the
        tables are expanded
    """

    phase: str
    revision: str
    release: str
    summary: str
    empty: bool
    rows: int | None = None


Plan = tuple[Operation, ...]


def next_phase(plan: Plan) -> str | None:
    """The phase that is to be run now; None if nothing is pending."""
    return plan[0].phase if plan else None


def make(url: sqlalchemy.URL) -> Plan:
    """Ask the database, and the installed Glance, what is to be done.

    :raises errors.DatabaseOfflineOnly: Glance has no phases for its kind
    :raises errors.DatabaseEmpty: it has no tables yet
    :raises errors.DatabaseLegacy: it has tables, but no Alembic revision
    :raises errors.DatabaseNewer: it has a revision that Glance doesn't know
    :raises errors.DatabaseBranched: its revisions don't belong together
    :raises errors.MigrationFailed: a data migration can't be asked
    """
    if not glance.online(url.get_backend_name()):
        raise errors.DatabaseOfflineOnly(
            f"Glance can't upgrade databases of the kind "
            f'"{url.get_backend_name()}" phase by phase.',
            'Stop every Glance that uses it, then run "glance-manage db '
            'sync", which needs no plan; or move to MariaDB.',
        )
    if url.get_backend_name() == 'sqlite' and _missing(str(url.database)):
        raise _empty(f'{url.database} does not exist.')
    return readonly.ask(url, lambda engine: _plan(url, engine))


def _missing(file: str) -> bool:
    folder = os.path.dirname(os.path.abspath(file))
    return os.access(folder, os.X_OK) and not os.path.exists(file)


def _empty(cause: str) -> errors.DatabaseEmpty:
    return errors.DatabaseEmpty(
        cause, 'Run "glance-manage db sync", which makes all tables.'
    )


def _plan(url: sqlalchemy.URL, engine: sqlalchemy.Engine) -> Plan:
    heads = _heads(url, engine)
    graph = Graph(glance.scripts(), glance.branches())
    _check(graph, heads)
    expand, contract = graph.pending(heads)
    migrations = data_migrations(graph, contract)
    return (
        *(_operation(EXPAND, made) for made in expand),
        *_migrate(url, engine, migrations, expanded=not expand),
        *(_operation(CONTRACT, made) for made in contract),
    )


def _heads(url: sqlalchemy.URL, engine: sqlalchemy.Engine) -> tuple[str, ...]:
    if heads := readonly.current_heads(engine):
        return heads
    shown = url.render_as_string(hide_password=True)
    with engine.connect() as connection:
        tables = sqlalchemy.inspect(connection).get_table_names()
        if 'migrate_version' in tables:
            version = connection.execute(
                sqlalchemy.text('SELECT version FROM migrate_version')
            ).scalar()
            raise _legacy(
                f'{shown} is under the version control of releases before '
                f'Ocata, at version {version}.'
            )
    if 'images' in tables:
        raise _legacy(f'{shown} has tables, but no revision.')
    raise _empty(f'{shown} is empty.')


def _legacy(cause: str) -> errors.DatabaseLegacy:
    return errors.DatabaseLegacy(
        cause,
        'Find out which release it is of, then name its revision: '
        '"glance-manage db version_control --version REVISION".',
    )


def _check(graph: Graph, heads: tuple[str, ...]) -> None:
    if unknown := graph.unknown(heads):
        raise errors.DatabaseNewer(
            f'The database is at revision {", ".join(unknown)}, which Glance '
            f'{upstream.version()} does not know.',
            'Install the Glance that the database was last used with, or a '
            'newer one.',
        )
    if not graph.reachable(heads):
        raise errors.DatabaseBranched(
            f'The database is at the revisions {", ".join(heads)} at once, '
            "which don't belong together.",
            'Restore a backup, or find out what its tables are and correct '
            'the table alembic_version.',
        )


def _operation(phase: str, made: script.Script) -> Operation:
    return Operation(
        phase=phase,
        revision=made.revision,
        release=glance.release(made.revision),
        summary=glance.first_line(made.doc or ''),
        empty=glance.empty(made.module.upgrade),
    )


def data_migrations(
    graph: Graph, contract: list[script.Script]
) -> list[glance.DataMigration]:
    """Those of every release that the database has not yet left behind.

    A release is left behind with its last contract revision. ``glance-manage
    db migrate`` looks at those of its own release only, and passes over the
    older ones.

    :param contract: the contract revisions that are pending
    :return: in the order of their releases; what is of a release without
        revisions is newer than all that have some
    """
    if not contract:
        return []
    expand_all, contract_all = graph.pending(())
    behind = _releases(contract_all) - _releases(contract).keys()
    order = {
        name: place
        for place, name in enumerate(_releases([*expand_all, *contract_all]))
    }

    def place(found: glance.DataMigration) -> tuple[int, str]:
        release = glance.release(found.revision)
        return order.get(release, len(order)), found.revision

    return sorted(
        (
            found
            for found in glance.data_migrations()
            if glance.release(found.revision) not in behind
        ),
        key=place,
    )


def _releases(made: list[script.Script]) -> dict[str, None]:
    # A set that keeps the order.
    return dict.fromkeys(glance.release(each.revision) for each in made)


def _migrate(
    url: sqlalchemy.URL,
    engine: sqlalchemy.Engine,
    migrations: list[glance.DataMigration],
    expanded: bool,
) -> Iterator[Operation]:
    for found in migrations:
        try:
            rows = counting.rows_left(engine, found)
        except Exception as error:
            if isinstance(error, exc.DBAPIError):
                problem = refusals.explain(url, error)
                if isinstance(problem, LATER):
                    raise problem from error
            if expanded:
                raise errors.MigrationFailed(
                    f'Glance does not know whether rows are to be migrated '
                    f'by {found.revision}: {type(error).__name__}: {error}.',
                    'Look whether the tables are those of their revision.',
                ) from error
            # It asks for a column that is yet to be added.
            rows = None
        if rows != 0:
            yield Operation(
                phase=MIGRATE,
                revision=found.revision,
                release=glance.release(found.revision),
                summary=found.summary,
                empty=found.empty,
                rows=rows,
            )
