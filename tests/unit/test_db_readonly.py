"""Real SQLite files that are asked, and stay as they are."""

import contextlib
import sqlite3

import pytest
import sqlalchemy

from glance_wsgi import errors
from glance_wsgi.db import readonly


@pytest.fixture
def file(tmp_path):
    file = tmp_path / 'a#b?c.sqlite'
    run(file, 'CREATE TABLE t (a)', 'INSERT INTO t VALUES (1), (2)')
    return file


def run(file, *statements):
    with contextlib.closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def url(file):
    return sqlalchemy.URL.create('sqlite', database=str(file))


def select(engine):
    with engine.connect() as connection:
        found = connection.execute(sqlalchemy.text('SELECT a FROM t'))
        return found.rowcount, found.all()


def state(file):
    return {path.name: path.read_bytes() for path in file.parent.iterdir()}


@pytest.mark.parametrize('mode', ['DELETE', 'WAL'])
def test_a_file_is_read_and_nothing_is_left_beside_it(file, mode):
    run(file, f'PRAGMA journal_mode = {mode}')
    before = state(file)
    assert readonly.ask(url(file), select) == (2, [(1,), (2,)])
    assert state(file) == before
    assert list(before) == [file.name]


@pytest.mark.parametrize('mode', ['DELETE', 'WAL'])
def test_a_file_can_not_be_written(file, mode):
    run(file, f'PRAGMA journal_mode = {mode}')

    def write(engine):
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text('DELETE FROM t'))

    before = state(file)
    with pytest.raises(errors.DatabaseRefused, match='readonly'):
        readonly.ask(url(file), write)
    assert state(file) == before


def test_what_a_writer_has_committed_in_its_log_is_seen(file):
    run(file, 'PRAGMA journal_mode = WAL')
    with contextlib.closing(sqlite3.connect(file)) as writer:
        writer.execute('INSERT INTO t VALUES (3)')
        writer.commit()
        assert readonly.ask(url(file), select)[0] == 3


def test_who_begins_to_write_meanwhile_makes_it_ask_again(file):
    run(file, 'PRAGMA journal_mode = WAL')
    seen = []
    with contextlib.ExitStack() as stack:

        def question(engine):
            seen.append(select(engine)[0])
            if len(seen) == 1:
                writer = stack.enter_context(
                    contextlib.closing(sqlite3.connect(file))
                )
                writer.execute('INSERT INTO t VALUES (3)')
                writer.commit()
            return seen[-1]

        assert readonly.ask(url(file), question) == 3
    assert seen == [2, 3]


def test_a_writer_goes_on_between_two_questions(file):
    def question(engine):
        first = select(engine)
        with contextlib.closing(sqlite3.connect(file, timeout=0)) as writer:
            writer.execute('INSERT INTO t VALUES (3)')
            writer.commit()
        return first[0], select(engine)[0]

    assert readonly.ask(url(file), question) == (2, 3)


def test_a_locked_file_is_busy(file, monkeypatch):
    monkeypatch.setattr(readonly, 'PATIENCE', 0.1)
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute('BEGIN EXCLUSIVE')
        with pytest.raises(errors.DatabaseBusy, match='locked'):
            readonly.ask(url(file), select)


def test_a_driver_that_is_not_installed_is_named():
    there = sqlalchemy.make_url('mysql+mysqldb://u:hunter2@h/n')
    with pytest.raises(errors.DatabaseUnsupported, match='mysqldb') as caught:
        readonly.ask(there, select)
    assert 'hunter2' not in str(caught.value)


@pytest.mark.parametrize('query', ['nonsense=1', 'read_timeout=x'])
def test_what_the_driver_does_not_know_is_named(query):
    there = sqlalchemy.make_url(f'mysql+pymysql://u:hunter2@h/n?{query}')
    with pytest.raises(errors.DatabaseUnsupported) as caught:
        readonly.ask(there, select)
    assert 'hunter2' not in str(caught.value)


def test_rows_are_given_out_one_by_one_in_parts_or_all_at_once(file):
    def question(engine):
        with engine.connect() as connection:
            found = connection.execute(sqlalchemy.text('SELECT a FROM t'))
            one = found.fetchone()
            part = found.fetchmany(1)
            rest = found.fetchall()
            again = connection.execute(sqlalchemy.text('SELECT a FROM t'))
            return one, part, rest, len(again.partitions(1).__next__())

    assert readonly.ask(url(file), question) == ((1,), [(2,)], [], 1)
