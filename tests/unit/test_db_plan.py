"""Plans for real SQLite files of our making."""

import contextlib
import sqlite3

import pytest
import sqlalchemy

from glance_wsgi import errors
from glance_wsgi.db import counting
from glance_wsgi.db import glance
from glance_wsgi.db import plan
from glance_wsgi.db import rows

EXPANDED = """
CREATE TABLE images (id TEXT, visibility TEXT, is_public INTEGER);
CREATE TABLE image_members (image_id TEXT, deleted INTEGER);
CREATE TABLE image_locations (id INTEGER, meta_data TEXT);
"""


@pytest.fixture
def database(tmp_path):
    """Makes a file with these revisions and tables; returns its URL."""

    def make(*heads, sql=EXPANDED):
        file = tmp_path / 'glance.sqlite'
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute('CREATE TABLE alembic_version (version_num)')
            connection.executemany(
                'INSERT INTO alembic_version VALUES (?)',
                [(head,) for head in heads],
            )
            connection.executescript(sql)
        return sqlalchemy.make_url(f'sqlite:///{file}')

    return make


def expand_head():
    return glance.scripts().revision_map.get_current_head('expand')


def contract_head():
    return glance.scripts().revision_map.get_current_head('contract')


def test_nothing_is_pending_at_head(database):
    found = plan.make(database(contract_head()))
    assert found == ()
    assert plan.next_phase(found) is None


def test_the_phases_come_in_their_order(database):
    found = plan.make(database('liberty', sql=''))
    phases = [step.phase for step in found]
    assert phases == sorted(phases, key=plan.PHASES.index)
    assert set(phases) == set(plan.PHASES)
    assert plan.next_phase(found) == plan.EXPAND


def test_each_operation_says_what_it_is(database):
    found = {
        step.revision: step for step in plan.make(database('rocky_contract02'))
    }
    assert found['wallaby_expand01'] == plan.Operation(
        phase='expand',
        revision='wallaby_expand01',
        release='wallaby',
        summary='add image_id, request_id, user columns to tasks table"',
        empty=False,
    )
    assert found['2023_1_contract01'].empty
    assert found['2023_1_contract01'].release == '2023.1'
    assert found['2024_1_expand01'].rows is None


def test_rows_are_counted_however_many_releases_are_skipped(database):
    url = database(
        'rocky_contract02',
        expand_head(),
        sql=EXPANDED
        + """INSERT INTO image_locations VALUES
            (1, '{"backend": "fast"}'), (2, '{"backend": "cheap"}'),
            (3, '{"store": "fast"}'), (4, '{}');""",
    )
    found = plan.make(url)
    assert found[0].revision == 'train_migrate01'
    assert (found[0].phase, found[0].rows) == (plan.MIGRATE, 2)
    assert found[0].summary.startswith("Replace 'backend' with 'store'")
    assert all(step.phase == plan.CONTRACT for step in found[1:])


def test_rows_are_counted_where_glance_looks_for_one(database):
    url = database(
        expand_head(),
        sql=EXPANDED
        + """INSERT INTO images VALUES ('a', NULL, 1), ('b', NULL, 0),
            ('c', 'public', 1);""",
    )
    (found,) = (s for s in plan.make(url) if s.phase == plan.MIGRATE)
    assert (found.revision, found.rows) == ('ocata_migrate01', 2)


def test_without_such_rows_contract_is_next(database):
    found = plan.make(database('rocky_contract02', expand_head()))
    assert plan.next_phase(found) == plan.CONTRACT


def test_rows_of_a_release_that_is_left_behind_are_not_asked_for(database):
    url = database(
        'train_contract01',
        expand_head(),
        sql=EXPANDED
        + """INSERT INTO image_locations VALUES (1, '{"backend": "a"}');""",
    )
    assert plan.next_phase(plan.make(url)) == plan.CONTRACT


def test_rows_of_a_column_that_is_yet_to_come_are_unknown(database):
    url = database('mitaka02', sql='CREATE TABLE images (is_public INTEGER)')
    found = [s for s in plan.make(url) if s.phase == plan.MIGRATE]
    assert ('ocata_migrate01', None) in [(s.revision, s.rows) for s in found]


def test_a_column_that_should_be_there_is_missed(database):
    url = database(expand_head(), sql='CREATE TABLE images (id TEXT)')
    with pytest.raises(errors.MigrationFailed, match='ocata_migrate01'):
        plan.make(url)


@pytest.mark.parametrize(
    ('heads', 'sql', 'error', 'saying'),
    [
        ((), '', errors.DatabaseEmpty, 'is empty'),
        ((), 'CREATE TABLE other (a)', errors.DatabaseEmpty, 'is empty'),
        ((), EXPANDED, errors.DatabaseLegacy, 'no revision'),
        (
            (),
            'CREATE TABLE migrate_version (version);'
            'INSERT INTO migrate_version VALUES (42);',
            errors.DatabaseLegacy,
            'version 42',
        ),
        (
            ('2099_1_expand01',),
            EXPANDED,
            errors.DatabaseNewer,
            '2099_1_expand01',
        ),
        (
            ('liberty', 'mitaka01'),
            EXPANDED,
            errors.DatabaseBranched,
            'liberty, mitaka01',
        ),
    ],
)
def test_a_database_without_a_plan_says_why(
    database, heads, sql, error, saying
):
    with pytest.raises(error, match=saying):
        plan.make(database(*heads, sql=sql))


def test_a_file_that_is_missing_is_empty_and_is_not_made(tmp_path):
    file = tmp_path / 'none.sqlite'
    with pytest.raises(errors.DatabaseEmpty, match='does not exist'):
        plan.make(sqlalchemy.make_url(f'sqlite:///{file}'))
    assert not file.exists()


@pytest.mark.parametrize(
    'kind', ['postgresql', 'postgresql+psycopg2', 'mssql']
)
def test_other_kinds_need_no_driver_to_be_refused(kind):
    url = sqlalchemy.make_url(f'{kind}://u:hunter2@h/n')
    with pytest.raises(errors.DatabaseOfflineOnly) as caught:
        plan.make(url)
    assert 'hunter2' not in str(caught.value)


def test_rows_are_migrated_as_glance_does_it(database):
    url = database(
        'rocky_contract02',
        expand_head(),
        sql=EXPANDED
        + """INSERT INTO image_locations VALUES (1, '{"backend": "fast"}');""",
    )
    done = list(rows.migrate(url, plan.make(url)))
    assert done == [('train_migrate01', 1)]
    with contextlib.closing(sqlite3.connect(url.database)) as connection:
        (text,) = connection.execute(
            'SELECT meta_data FROM image_locations'
        ).fetchone()
    assert text == '{"store": "fast"}'
    assert plan.next_phase(plan.make(url)) == plan.CONTRACT


def test_a_data_migration_that_fails_is_named(database):
    """Glance's own one for Ocata forgets an argument."""
    url = database(
        expand_head(),
        sql=EXPANDED + "INSERT INTO images VALUES ('a', NULL, 1);",
    )
    with pytest.raises(errors.MigrationFailed, match='TypeError') as caught:
        list(rows.migrate(url, plan.make(url)))
    assert 'ocata_migrate01' in str(caught.value)


def test_rows_that_are_found_in_another_way_are_not_counted(database):
    found = glance.DataMigration(
        revision='r_migrate01',
        summary='',
        empty=False,
        has_migrations=lambda engine: True,
        migrate=lambda engine: 0,
    )
    engine = sqlalchemy.create_engine(database(expand_head()))
    assert counting.rows_left(engine, found) is None
    engine.dispose()


def test_a_data_migration_that_leaves_rows_over_has_failed(database):
    url = database(expand_head())
    idle = glance.DataMigration(
        revision='train_migrate01',
        summary='',
        empty=False,
        has_migrations=lambda engine: (
            engine.connect().execute(sqlalchemy.text('SELECT 1')).rowcount == 1
        ),
        migrate=lambda engine: 0,
    )
    with pytest.raises(errors.MigrationFailed, match='left 1 rows'):
        rows._migrate(url, idle)


@pytest.mark.parametrize(
    ('revision', 'release'),
    [
        ('liberty', 'liberty'),
        ('mitaka02', 'mitaka'),
        ('rocky_expand02', 'rocky'),
        ('ocata_migrate01', 'ocata'),
        ('2024_1_contract01', '2024.1'),
        ('2031_2_migrate13', '2031.2'),
    ],
)
def test_the_release_is_in_the_name_of_a_revision(revision, release):
    assert glance.release(revision) == release


def test_what_only_returns_is_empty():
    def documented():
        """Says much."""

    def returns():
        """Says much."""

        return False

    def does():
        print()

    def asks():
        return print()

    assert glance.empty(documented)
    assert glance.empty(returns)
    assert not glance.empty(does)
    assert not glance.empty(asks)
    assert not glance.empty(eval('lambda: 1'))
