"""Turns on a real SQLite file, with the engine that Glance uses."""

import contextlib
import os
import shutil
import sqlite3

import pytest
import sqlalchemy
from oslo_db import exception
from oslo_db.sqlalchemy import engines

from glance_wsgi.db import sqlite


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'glance.sqlite'
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute('PRAGMA journal_mode = WAL')
        connection.execute('CREATE TABLE images (name TEXT)')
    return path


@pytest.fixture
def take_turns():
    """The function; what it does to SQLAlchemy as a whole is undone."""
    yield sqlite.take_turns
    sqlalchemy.event.remove(
        sqlalchemy.Engine, 'before_cursor_execute', sqlite._begin
    )
    sqlite._server = 0
    for _, connection in sqlite._kept.values():
        connection.close()
    sqlite._kept.clear()


@pytest.fixture
def transact(take_turns, file):
    """Begins a transaction in the database, and ends it."""
    engine = engines.create_engine(f'sqlite:///{file}')
    take_turns(None)

    def run():
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text('SELECT * FROM images')).all()

    return run


def log(file):
    """The log's inode; None if there is none."""
    try:
        return file.with_name(f'{file.name}-wal').stat().st_ino
    except FileNotFoundError:
        return None


def writes(file):
    """Whether somebody else could write now, without waiting."""
    with contextlib.closing(sqlite3.connect(file, timeout=0)) as other:
        try:
            other.execute("INSERT INTO images VALUES ('other')")
            other.commit()
        except sqlite3.OperationalError as error:
            assert 'locked' in str(error)
            return False
        return True


def application(file, seen):
    """Reads, and notes whether somebody else could write meanwhile."""
    engine = engines.create_engine(f'sqlite:///{file}')

    def serve(environ, start_response):
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text('SELECT * FROM images')).all()
            seen.append(writes(file))
        return [b'served']

    return serve


@pytest.mark.parametrize('method', ['POST', 'PUT', 'PATCH', 'DELETE'])
def test_a_request_that_may_write_has_its_turn_from_the_start(
    take_turns, file, method
):
    seen = []
    serve = take_turns(application(file, seen))
    assert serve({'REQUEST_METHOD': method}, None) == [b'served']
    assert seen == [False]


@pytest.mark.parametrize('method', ['GET', 'HEAD'])
def test_a_request_that_only_reads_keeps_nobody_waiting(
    take_turns, file, method
):
    seen = []
    take_turns(application(file, seen))({'REQUEST_METHOD': method}, None)
    assert seen == [True]


def test_what_runs_outside_of_requests_counts_as_a_writer(take_turns, file):
    seen = []
    serve = application(file, seen)
    take_turns(serve)({'REQUEST_METHOD': 'GET'}, None)
    serve({}, None)
    assert seen == [True, False]


def test_a_turn_ends_with_an_error_too(take_turns, file):
    def broken(environ, start_response):
        raise ZeroDivisionError

    seen = []
    serve = application(file, seen)
    with pytest.raises(ZeroDivisionError):
        take_turns(broken)({'REQUEST_METHOD': 'GET'}, None)
    serve({}, None)
    assert seen == [False]


def test_without_turns_a_writer_may_come_in_between(file):
    """What this is all about: oslo.db alone leaves that door open."""
    seen = []
    application(file, seen)({}, None)
    assert seen == [True]


def test_the_log_stays_while_a_process_serves(transact, file):
    """Made anew by root it would be root's, until that has given it away."""
    transact()
    assert log(file) is None  # as SQLite has it
    sqlite.serving()
    transact()
    before = log(file)
    assert before
    transact()
    assert log(file) == before


def test_a_process_that_may_fork_keeps_nothing_open(transact, file):
    sqlite.serving()
    child = os.fork()
    if not child:
        transact()
        os._exit(log(file) is not None)
    assert os.waitpid(child, 0)[1] == 0


def test_a_database_that_was_replaced_is_opened_anew(transact, file):
    sqlite.serving()
    transact()
    new = file.with_name('new')
    shutil.copy(file, new)
    new.rename(file)
    transact()
    facts = file.stat()
    assert sqlite._kept[str(file)][0] == (facts.st_dev, facts.st_ino)


def test_what_cannot_be_opened_is_told_by_who_uses_it(transact, file):
    sqlite.serving()
    file.unlink()
    file.mkdir()
    with pytest.raises(exception.DBError, match='unable to open'):
        transact()
