"""Turns on a real SQLite file, with the engine that Glance uses."""

import contextlib
import sqlite3

import pytest
import sqlalchemy
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
