"""From every revision, the plan is what Glance's Alembic really executes.

A database is built by Glance itself to each revision from ``liberty`` on. From
there the plan is run one operation after the other, and compared with the
database after each: with what Alembic says that it has run, with the rows
that are left, and, at the end, with the tables of a new database.
"""

import pytest
import upgrades

from glance_wsgi.db import glance
from glance_wsgi.db import plan
from glance_wsgi.db import rows

kinds = pytest.mark.parametrize(
    'database', ['sqlite', 'mariadb'], indirect=True
)

OCATA, TRAIN = 'ocata_migrate01', 'train_migrate01'


def rows_to_migrate(database) -> dict[str, int | None]:
    """What is to be migrated, by questions of our own; None: unknown."""
    found = {
        TRAIN: database.scalar(
            'SELECT COUNT(*) FROM image_locations '
            """WHERE meta_data LIKE '%%"backend":%%'"""
        )
    }
    if ('images', 'visibility') not in database.columns():
        return {OCATA: None, **found}
    unknown = database.scalar(
        'SELECT COUNT(*) FROM images WHERE visibility IS NULL'
    )
    return {OCATA: unknown, **found}


def left_behind(database, executed: set[str]) -> set[str]:
    """Data migrations that are not looked at any more."""
    return {
        migration
        for migration, contract in (
            (OCATA, 'ocata_contract01'),
            (TRAIN, 'train_contract01'),
        )
        if contract in executed
    }


def assert_rows(found: plan.Plan, database, executed: set[str]) -> None:
    """The plan has the rows that there are, of the right releases."""
    planned = {
        step.revision: step.rows
        for step in found
        if step.phase == plan.MIGRATE
    }
    expected = rows_to_migrate(database)
    for name in left_behind(database, executed):
        del expected[name]
    assert planned == {
        name: count for name, count in expected.items() if count != 0
    }


def revisions_of(found: plan.Plan) -> list[str]:
    """Those that Alembic executes."""
    return [s.revision for s in found if s.phase != plan.MIGRATE]


def execute(database, step: plan.Operation, found: plan.Plan) -> list[str]:
    """Run one operation; the revisions that Alembic has executed for it."""
    if step.phase != plan.MIGRATE:
        return database.upgrade(step.revision)
    if step.revision == OCATA:
        database.migrate_ocata()
    else:
        one = tuple(each for each in found if each == step)
        assert list(rows.migrate(database.url, one)) == [
            (step.revision, step.rows)
        ]
    return []


def run_plan(database, executed: set[str], seen: dict) -> bool:
    """Run it, and compare it with the truth after each step.

    :param seen: the plan of each state that this has been done from; what
        comes after one of them is not run again
    :return: whether it has come to its end
    """
    first = plan.make(database.url)
    really = []
    found = first
    while found:
        assert_rows(found, database, executed | set(really))
        state = frozenset(database.heads()), *rows_to_migrate(database).items()
        if state in seen:
            assert found == seen[state]
            break
        seen[state] = found
        expected = revisions_of(found)
        step = found[0]
        ran = execute(database, step, found)
        assert ran in ([step.revision], [])
        really += ran
        found = plan.make(database.url)
        assert revisions_of(found) == expected[len(ran) :]
        assert step.revision not in [s.revision for s in found]
    assert really == revisions_of(first)[: len(really)]
    return not found


def chains() -> tuple[list[str], list[str]]:
    """The revisions that expand, from the first one on, and the others."""
    scripts = glance.scripts()
    expand, _ = glance.branches()
    head = scripts.revision_map.get_current_head(expand)
    first = [
        made.revision for made in scripts.iterate_revisions(head, 'base')
    ][::-1]
    everything = [made.revision for made in scripts.walk_revisions()][::-1]
    return first, [name for name in everything if name not in first]


def build(database, copies, with_rows: bool):
    """Stops at every revision; says where, and what has been executed."""
    expand, contract = chains()
    executed: list[str] = []
    before_branches = []
    for revision in expand:
        executed += database.upgrade(revision)
        if with_rows and revision == 'liberty':
            database.add_rows()
        if revision == 'mitaka02':
            before_branches = copies.take(), list(executed)
        yield revision, set(executed)
    # Each of the others from there, with only what it depends on.
    copy, executed = before_branches
    copies.put_back(copy)
    if with_rows:
        executed += database.upgrade('ocata_expand01')
        database.migrate_ocata()
    for revision in contract:
        executed += database.upgrade(revision)
        yield revision, set(executed)


@pytest.mark.parametrize('with_rows', [False, True], ids=['empty', 'rows'])
@kinds
def test_each_revision_has_the_plan_that_is_really_executed(
    database, with_rows
):
    copies = upgrades.copies(database)
    expand, contract = chains()
    visited, ends, seen = [], [], {}
    for revision, executed in build(database, copies, with_rows):
        assert database.heads() == {revision}
        copy = copies.take()
        if run_plan(database, executed, seen):
            assert database.heads() == {contract[-1]}
            ends.append(database.columns())
        visited.append(revision)
        copies.put_back(copy)
    assert visited == [*expand, *contract]
    database.upgrade('heads')
    assert all(columns == database.columns() for columns in ends)
    if with_rows:
        assert database.visibilities() == {
            'public': 'public',
            'private': 'private',
            'shared': 'shared',
            'unshared': 'private',
        }
