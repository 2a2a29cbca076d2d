"""Database URLs, and what real SQLite files say."""

import contextlib
import os
import sqlite3
import subprocess
import sys

import pytest

from glance_wsgi import db
from glance_wsgi import errors

URL = 'mysql+pymysql://glance:hunter2@db.example.org:3307/glance'


@pytest.mark.parametrize(
    'url',
    [
        URL,
        f'{URL}?charset=utf8mb4',
        'mysql+pymysql://u@h/n',
        'mysql+pymysql://u:p%40ss%24@[::1]/n',
        'sqlite:////var/lib/x.sqlite',
        'sqlite:////var/lib/x.sqlite?timeout=60',
    ],
)
def test_a_supported_url_is_read(url):
    assert db.parse(url).database


@pytest.mark.parametrize(
    'url',
    [
        '',
        'mariadb',
        'sqlite://',
        'sqlite:///:memory:',
        'sqlite:///relative.sqlite',
        'mysql://u:hunter2@h/n',
        'mysql+mysqldb://u:hunter2@h/n',
        'postgresql://u:hunter2@h/n',
        'nonsense+driver://u:hunter2@h/n',
        'mysql+pymysql://u:hunter2@h',
        'mysql+pymysql://u:hunter2@h/',
        'mysql+pymysql://u:hunter2@h:port/n',
        '://u:hunter2@h/n',
    ],
)
def test_any_other_url_is_refused_without_showing_its_password(url):
    with pytest.raises(errors.DatabaseUnsupported) as caught:
        db.parse(url)
    assert 'hunter2' not in str(caught.value)
    assert 'mysql+pymysql://' in str(caught.value) or 'sqlite://' in str(
        caught.value
    )


@pytest.fixture
def file(tmp_path):
    return tmp_path / 'glance.sqlite'


def url(file):
    return f'sqlite:///{file}?timeout=60'


def at_revision(file, *revisions):
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute('CREATE TABLE alembic_version (version_num TEXT)')
        connection.executemany(
            'INSERT INTO alembic_version VALUES (?)',
            [(revision,) for revision in revisions],
        )
        connection.commit()


def test_the_file_of_a_url_is_found_whatever_comes_behind_it(file):
    assert db.sqlite_file(url(file)) == file
    assert db.sqlite_file(URL) is None


def test_a_file_that_is_missing_has_no_revision_and_is_not_made(file):
    assert db.current_revisions(url(file)) == ()
    assert not file.exists()


def test_an_empty_database_has_no_revision(file):
    sqlite3.connect(file).close()
    file.touch()
    assert db.current_revisions(url(file)) == ()


def test_the_revisions_of_a_database_are_read(file):
    at_revision(file, 'b', 'a')
    assert db.current_revisions(url(file)) == ('a', 'b')


def test_a_file_that_is_no_database_is_refused_and_left_alone(file):
    file.write_bytes(b'certainly no database' * 100)
    with pytest.raises(errors.DatabaseRefused, match=str(file)):
        db.current_revisions(url(file))
    assert file.read_bytes().startswith(b'certainly')


def test_a_directory_in_place_of_the_file_is_refused(tmp_path):
    with pytest.raises(errors.DatabaseRefused, match=str(tmp_path)):
        db.current_revisions(url(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read everything')
def test_a_file_that_may_not_be_read_is_refused(file):
    at_revision(file, 'a')
    file.chmod(0)
    with pytest.raises(errors.DatabaseRefused):
        db.current_revisions(url(file))


def test_a_server_that_is_not_there_is_named_without_the_password():
    there = 'mysql+pymysql://glance:hunter2@127.0.0.1:1/glance'
    with pytest.raises(errors.DatabaseUnreachable) as caught:
        db.current_revisions(there)
    assert '127.0.0.1:1' in str(caught.value)
    assert 'hunter2' not in str(caught.value)


def test_readers_may_go_on_while_somebody_writes(file):
    at_revision(file, 'a')
    db.prepare_sqlite(url(file))
    with (
        contextlib.closing(sqlite3.connect(file, timeout=0)) as writer,
        contextlib.closing(sqlite3.connect(file, timeout=0)) as reader,
    ):
        writer.execute('BEGIN IMMEDIATE')
        writer.execute("INSERT INTO alembic_version VALUES ('b')")
        rows = reader.execute('SELECT * FROM alembic_version').fetchall()
        assert rows == [('a',)]
        writer.rollback()


def test_other_databases_need_no_preparation():
    db.prepare_sqlite(URL)


def test_what_a_killed_writer_has_left_is_rolled_back(tmp_path):
    file = tmp_path / 'hot.sqlite'
    script = f"""if True:
        import os, sqlite3
        connection = sqlite3.connect({str(file)!r}, isolation_level=None)
        connection.execute('CREATE TABLE t (x)')
        connection.execute('PRAGMA cache_size = 1')
        connection.execute('BEGIN')
        for number in range(5000):
            connection.execute('INSERT INTO t VALUES (?)', ('x' * 100,))
        os._exit(9)
    """
    subprocess.run([sys.executable, '-c', script])
    journal = tmp_path / 'hot.sqlite-journal'
    assert journal.exists()
    db.roll_back(file)
    assert not journal.exists()
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert connection.execute('SELECT count(*) FROM t').fetchone() == (0,)
