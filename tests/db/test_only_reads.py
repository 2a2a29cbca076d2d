"""A check changes nothing, keeps nobody waiting, and waits for nobody."""

import contextlib
import pathlib
import subprocess

import pytest
import sqlalchemy
import toolkit
import upgrades

from glance_wsgi.db import counting
from glance_wsgi.db import glance
from glance_wsgi.db import own
from glance_wsgi.db import plan
from glance_wsgi.db import readonly
from glance_wsgi.errors import Exit

kinds = pytest.mark.parametrize(
    'database', ['sqlite', 'mariadb'], indirect=True
)
on_mariadb = pytest.mark.parametrize('database', ['mariadb'], indirect=True)


def everything(database):
    """All there is, to the byte; for SQLite with every file beside it."""
    if database.engine.name != 'sqlite':
        return upgrades.copies(database).take()
    folder = pathlib.Path(database.url.database).parent
    return {
        path.name: path.read_bytes() for path in folder.glob('glance.sqlite*')
    }


def check(database):
    """The exit code of a check by the command."""
    return subprocess.run(
        [
            *(toolkit.BIN / 'glance-wsgi', 'db', 'check'),
            f'--config-file={database.config}',
        ],
        capture_output=True,
        timeout=120,
    ).returncode


@pytest.mark.parametrize(
    ('database', 'log'),
    [('sqlite', 'DELETE'), ('sqlite', 'WAL'), ('mariadb', None)],
    indirect=['database'],
)
def test_a_dump_is_the_same_before_and_after_a_check(database, log):
    if log:
        database.execute(f'PRAGMA journal_mode = {log}')
    database.upgrade('liberty')
    database.add_rows()
    assert_unchanged_by_a_check(database, Exit.EXPAND_PENDING)
    expand, _ = glance.branches()
    database.upgrade(glance.scripts().revision_map.get_current_head(expand))
    own.sync(database.url)
    assert_unchanged_by_a_check(database, Exit.MIGRATE_PENDING)
    database.migrate_ocata()
    database.upgrade('heads')
    assert_unchanged_by_a_check(database, Exit.OK)


def assert_unchanged_by_a_check(database, code):
    """The check finds this, and leaves every byte as it was."""
    before = everything(database)
    assert check(database) == code
    assert everything(database) == before


@on_mariadb
def test_the_server_is_sent_nothing_but_questions(database, mariadb):
    database.upgrade('liberty')
    database.add_rows()
    database.upgrade('ocata_expand01')
    mariadb.execute("SET GLOBAL log_output = 'TABLE'")
    mariadb.execute('TRUNCATE mysql.general_log')
    mariadb.execute('SET GLOBAL general_log = 1')
    try:
        assert check(database) == 3
    finally:
        mariadb.execute('SET GLOBAL general_log = 0')
    sent = [
        text.decode() if isinstance(text, bytes) else text
        for (text,) in mariadb.execute(
            'SELECT argument FROM mysql.general_log '
            f"WHERE user_host LIKE '{database.url.username}%' "
            "AND command_type = 'Query'"
        )
    ]
    assert 'START TRANSACTION READ ONLY' in sent
    verbs = {text.upper().split()[0] for text in sent}
    assert verbs <= {
        *('SELECT', 'SHOW', 'DESCRIBE', 'SET'),
        *('START', 'COMMIT', 'ROLLBACK'),
    }
    assert not [text for text in sent if text.startswith('SET GLOBAL')]


@on_mariadb
def test_the_server_refuses_to_write_for_us(database):
    database.upgrade('liberty')

    def write(engine):
        with engine.begin() as connection:
            connection.exec_driver_sql('DELETE FROM images')

    with pytest.raises(Exception, match='READ ONLY'):
        readonly.ask(database.url, write)


@on_mariadb
def test_rows_that_others_have_locked_are_no_obstacle(database):
    database.upgrade('liberty')
    database.add_rows()
    database.upgrade('ocata_expand01')
    with database.engine.begin() as other:
        other.exec_driver_sql('UPDATE images SET size = 1')
        other.exec_driver_sql('DELETE FROM image_locations')
        found = plan.make(database.url)
    counts = {step.revision: step.rows for step in found}
    assert counts['train_migrate01'] == len(upgrades.IMAGES)


@kinds
def test_who_writes_or_changes_a_table_does_not_wait_for_us(database):
    """Between two questions nothing is locked."""
    database.upgrade('liberty')
    database.add_rows()

    def question(engine):
        for found in glance.data_migrations():
            with contextlib.suppress(AttributeError):
                counting.rows_left(engine, found)
        with database.engine.begin() as other:
            if engine.name == 'mysql':
                other.exec_driver_sql('SET SESSION lock_wait_timeout = 1')
            other.exec_driver_sql('UPDATE images SET size = 1')
            other.exec_driver_sql('ALTER TABLE images ADD COLUMN more INT')
        with engine.connect() as connection:
            return connection.execute(
                sqlalchemy.text('SELECT COUNT(more), COUNT(size) FROM images')
            ).one()

    assert readonly.ask(database.url, question) == (0, len(upgrades.IMAGES))


@kinds
def test_a_check_and_a_db_sync_go_on_side_by_side(database):
    database.upgrade('liberty')
    left = [len(plan.make(database.url))]
    sync = subprocess.Popen(
        [
            *(toolkit.BIN / 'glance-manage', '--config-file', database.config),
            *('db', 'sync'),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        while sync.poll() is None:
            left.append(len(plan.make(database.url)))
    finally:
        said, _ = sync.communicate(timeout=120)
    assert sync.returncode == 0, said
    assert left == sorted(left, reverse=True)
    # It was seen on its way, not only before and after.
    assert len(set(left)) > 2
    assert plan.make(database.url) == ()
