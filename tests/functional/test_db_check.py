"""``db sync --check``: what it prints, what it finds wrong, what it leaves.

The databases are real; what a plan has to say of each revision is shown in
``tests/db``.
"""

import contextlib
import json
import os
import pathlib
import re
import sqlite3
import subprocess

import databases
import pytest
import toolkit
import upgrades
import yaml

from glance_wsgi.errors import Exit


@pytest.fixture
def config(tmp_path):
    """Writes a configuration of Glance with this database."""

    def write(url, more=''):
        file = tmp_path / 'glance-api.conf'
        quoted = str(url).replace('$', '$$')
        file.write_text(f'[database]\nconnection = {quoted}\n{more}')
        return file

    return write


def check(file, *words, form='json', env=None):
    """``glance-wsgi-manage db sync --check`` with this configuration."""
    return subprocess.run(
        [
            *(toolkit.BIN / 'glance-wsgi-manage', f'--config-file={file}'),
            *(*words, 'db', 'sync', '--check', '--format', form),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **(env or {})},
    )


@pytest.fixture
def refused(config):
    """Checks that a database has no plan, and how that is said."""

    def refused(url, code, *saying):
        asked = check(config(url))
        assert asked.returncode == code, asked
        assert asked.stdout == ''
        (line,) = asked.stderr.splitlines()
        for part in (*saying, 'Nothing was changed.'):
            assert str(part) in line
        assert 'hunter2' not in line

    return refused


@pytest.fixture(scope='module')
def liberty(tmp_path_factory):
    """A database of Liberty; tests only read it."""
    with upgrades.sqlite(tmp_path_factory.mktemp('liberty')) as database:
        database.upgrade('liberty')
        yield database


# --- what it prints ---


def test_each_format_has_the_same_plan(liberty):
    rows = json.loads(check(liberty.config).stdout)
    assert rows[0]['revision'] == 'jobs01'
    assert rows[1] == {
        'phase': 'expand',
        'revision': 'mitaka01',
        'release': 'mitaka',
        'summary': 'add index on created_at and updated_at columns of '
        "'images' table",
        'empty': False,
        'rows': None,
    }
    assert yaml.safe_load(check(liberty.config, form='yaml').stdout) == rows
    table = check(liberty.config, form='table').stdout.splitlines()
    cells = [
        [cell.strip() for cell in row.split('|')[1:-1]] for row in table[3:-1]
    ]
    assert [row[1] for row in cells] == [row['revision'] for row in rows]
    value = check(liberty.config, form='value').stdout.splitlines()
    assert [line.split()[1] for line in value] == [
        row['revision'] for row in rows
    ]


@pytest.mark.parametrize(
    'words',
    [[], ['--debug'], ['--log-file', 'LOG'], ['--debug', '--use-json']],
)
def test_no_setting_of_logs_hides_the_plan_or_mixes_with_it(
    liberty, config, tmp_path, words
):
    log = tmp_path / 'glance.log'
    file = config(
        liberty.url,
        f'[DEFAULT]\ndebug = true\nlog_file = {log}\nuse_stderr = true\n'
        'use_json = true\ndefault_log_levels = sqlalchemy=DEBUG\n',
    )
    asked = check(file, *(str(log) if w == 'LOG' else w for w in words))
    assert asked.returncode == Exit.EXPAND_PENDING
    assert json.loads(asked.stdout)
    assert len(asked.stderr.splitlines()) == 1, asked.stderr
    assert not log.exists()


def test_the_verb_and_both_spellings_say_the_same(liberty):
    config = f'--config-file={liberty.config}'
    said = [
        subprocess.run(
            [toolkit.BIN / words[0], *words[1:], '--format', 'json'],
            capture_output=True,
            text=True,
            timeout=120,
        )
        for words in (
            ('glance-wsgi-manage', config, 'db', 'sync', '--check'),
            ('glance-wsgi-manage', config, 'db_sync', '--check'),
            ('glance-wsgi', 'db', 'check', config),
        )
    ]
    assert len({(one.returncode, one.stdout) for one in said}) == 1
    assert said[0].returncode == Exit.EXPAND_PENDING


# --- what it finds wrong ---


def test_a_server_that_is_stopped_is_unreachable(workspace, refused):
    with databases.MariaDB(workspace) as server:
        url = server.url('glance', 'hunter2', 'glance')
    refused(url, Exit.DATABASE_UNREACHABLE, 'No database answers')


def test_a_wrong_password_is_refused(mariadb, refused):
    with mariadb.database() as (name, _):
        refused(
            mariadb.url(name, 'hunter2', name),
            Exit.DATABASE_REFUSED,
            'password wrong',
        )


def test_a_user_without_any_right_on_its_tables_is_refused(mariadb, refused):
    with mariadb.database() as (name, url):
        mariadb.execute(f'CREATE TABLE {name}.alembic_version (a INT)')
        user = f"'{name}'@'localhost'"
        mariadb.execute(f'REVOKE ALL ON {name}.* FROM {user}')
        mariadb.execute(f'GRANT INSERT ON {name}.alembic_version TO {user}')
        refused(url, Exit.DATABASE_REFUSED, 'may not read')


def test_postgresql_has_no_phases(refused):
    refused(
        'postgresql://glance:hunter2@h/glance',
        Exit.DATABASE_OFFLINE_ONLY,
        'postgresql',
    )


def test_an_empty_file_is_an_empty_database(tmp_path, refused):
    file = tmp_path / 'glance.sqlite'
    file.touch()
    refused(f'sqlite:///{file}', Exit.DATABASE_EMPTY, file)
    assert file.read_bytes() == b''


def test_a_text_file_is_no_database(tmp_path, refused):
    file = tmp_path / 'glance.sqlite'
    file.write_text('no database\n' * 100)
    refused(f'sqlite:///{file}', Exit.DATABASE_REFUSED, file)


def at(folder, *heads):
    """An SQLite file with these rows in alembic_version."""
    file = folder / 'glance.sqlite'
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute('CREATE TABLE alembic_version (version_num)')
        for head in heads:
            connection.execute(
                f"INSERT INTO alembic_version VALUES ('{head}')"
            )
        connection.commit()
    return file


def test_a_future_revision_is_not_known(tmp_path, refused):
    file = at(tmp_path, '2099_1_expand01')
    refused(f'sqlite:///{file}', Exit.DATABASE_NEWER, '2099_1_expand01')


def test_two_revisions_that_do_not_belong_together_are_named(
    tmp_path, refused
):
    file = at(tmp_path, 'mitaka01', 'rocky_expand01')
    refused(
        f'sqlite:///{file}',
        Exit.DATABASE_BRANCHED,
        'mitaka01, rocky_expand01',
    )


def test_tables_without_a_revision_are_legacy(tmp_path, refused):
    file = tmp_path / 'glance.sqlite'
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute('CREATE TABLE images (id)')
    refused(f'sqlite:///{file}', Exit.DATABASE_LEGACY, 'no revision')


def test_a_locked_file_is_busy(tmp_path, refused):
    file = at(tmp_path, 'mitaka01')
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute('BEGIN EXCLUSIVE')
        refused(f'sqlite:///{file}', Exit.DATABASE_BUSY, 'locked')


def test_a_locked_table_of_mariadb_is_busy(mariadb, refused):
    with mariadb.database() as (name, url):
        mariadb.execute(f'CREATE TABLE {name}.alembic_version (a INT)')
        mariadb.execute(f'LOCK TABLES {name}.alembic_version WRITE')
        try:
            refused(url, Exit.DATABASE_BUSY, 'locked')
        finally:
            mariadb.execute('UNLOCK TABLES')


# --- what it leaves ---


def test_a_user_who_may_only_select_is_enough_and_can_not_write(
    mariadb, tmp_path
):
    with upgrades.mariadb(mariadb, tmp_path) as database:
        database.upgrade('ocata_expand01')
        name = database.url.database
        reader = f"'{name}_r'@'localhost'"
        mariadb.execute(f"CREATE USER {reader} IDENTIFIED BY 'secret'")
        mariadb.execute(f'GRANT SELECT ON {name}.* TO {reader}')
        try:
            url = mariadb.url(f'{name}_r', 'secret', name)
            database.config.write_text(f'[database]\nconnection = {url}\n')
            before = upgrades.copies(database).take()
            asked = check(database.config)
            assert asked.returncode == Exit.EXPAND_PENDING, asked
            assert upgrades.copies(database).take() == before
        finally:
            mariadb.execute(f'DROP USER {reader}')


# --- who uses it ---


def test_a_deployment_shows_that_nothing_is_pending(deployed):
    place = f'--state-dir={deployed.state_dir}'
    asked = toolkit.glance_wsgi('db', 'check', place, '-f', 'json')
    assert asked.stdout.strip() == '[]'
    assert deployed.status()['database upgrade'] == 'none'


def test_up_brings_an_old_database_to_head_with_its_rows(fresh, workspace):
    folder = workspace / 'adopted'
    folder.mkdir()
    with upgrades.sqlite(folder) as database:
        database.upgrade_to_rocky()
        for path in (folder, pathlib.Path(database.url.database)):
            path.chmod(0o777)
        fresh.up(f'--database={database.url}')
        status = fresh.status()
        assert status['database upgrade'] == 'none'
        assert status['database revision'].endswith('contract01')
        log = (fresh.state_dir / 'log' / 'deploy.log').read_text()
        phases = re.findall(r'^\$ \S*/(\S+).* db (\w+)', log, re.MULTILINE)
        assert phases[:3] == [
            ('glance-wsgi-manage', 'expand'),
            ('glance-wsgi', 'migrate'),
            ('glance-wsgi-manage', 'contract'),
        ]
        assert database.scalar(
            'SELECT COUNT(*) FROM image_locations '
            """WHERE meta_data = '{"store": "fast"}'"""
        ) == len(upgrades.IMAGES)


def test_up_leaves_a_database_alone_that_it_can_not_upgrade(fresh, workspace):
    file = at(workspace, 'mitaka01', 'rocky_expand01')
    asked = fresh.up(f'--database=sqlite:///{file}', check=False)
    assert asked.returncode == Exit.DATABASE_BRANCHED, asked
    assert not fresh.state_dir.exists()
