"""The examples of the documentation do what they are there for."""

import os
import pathlib
import subprocess
import sys

import pytest
import toolkit

EXAMPLES = pathlib.Path(__file__).parents[2] / 'doc' / 'source' / 'examples'


def run(*words, **more):
    """A program that finds ours on PATH; its result."""
    return subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        timeout=280,
        env={
            **os.environ,
            'PATH': f'{toolkit.BIN}:{os.environ["PATH"]}',
            'LC_ALL': 'C.UTF-8',
            **more,
        },
    )


@pytest.fixture
def restart(tmp_path):
    """A command in place of a restart, and how often it has been run."""
    file = tmp_path / 'restarts'
    command = tmp_path / 'restart'
    command.write_text(f'#!/bin/sh\necho restarted >> {file}\n')
    command.chmod(0o755)

    def count():
        return len(file.read_text().splitlines()) if file.exists() else 0

    return command, count


def shell(database, command):
    """The example for a shell."""
    return run('sh', EXAMPLES / 'upgrade.sh', database.config, command)


def ansible(database, command):
    """The example for Ansible."""
    return run(
        *('ansible-playbook', '-i', 'localhost,', '-c', 'local'),
        *('-e', f'config={database.config}', '-e', f'restart={command}'),
        # Not whatever interpreter PATH happens to have.
        *('-e', f'ansible_python_interpreter={sys.executable}'),
        EXAMPLES / 'upgrade.yaml',
        ANSIBLE_HOME=str(database.config.parent),
        ANSIBLE_REMOTE_TEMP=str(database.config.parent),
    )


tools = pytest.mark.parametrize('tool', [shell, ansible])


def assert_current(database):
    """The command says so, and the rows of the past have been migrated."""
    asked = run(
        *('glance-wsgi-manage', '--config-file', database.config),
        *('db', 'sync', '--check'),
    )
    assert asked.returncode == 0, asked


@pytest.mark.parametrize(
    ('tool', 'database'),
    [(shell, 'sqlite'), (shell, 'mariadb'), (ansible, 'mariadb')],
    indirect=['database'],
)
def test_an_old_database_is_upgraded_with_one_restart(tool, database, restart):
    command, restarts = restart
    database.upgrade_to_rocky()
    done = tool(database, command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert restarts() == 1
    assert_current(database)
    assert not database.scalar(
        """SELECT COUNT(*) FROM image_locations
           WHERE meta_data NOT LIKE '%%"store":%%'"""
    )


@tools
@pytest.mark.parametrize('database', ['sqlite'], indirect=True)
def test_a_new_database_gets_its_tables_and_then_nothing_is_done(
    tool, database, restart
):
    command, restarts = restart
    for _ in range(2):
        done = tool(database, command)
        assert done.returncode == 0, done.stdout + done.stderr
        assert_current(database)
    assert restarts() == 0


@tools
@pytest.mark.parametrize('database', ['sqlite'], indirect=True)
def test_a_database_that_can_not_be_upgraded_ends_it(tool, database, restart):
    command, restarts = restart
    file = pathlib.Path(database.url.database)
    file.write_text('no database\n' * 100)
    done = tool(database, command)
    assert done.returncode != 0
    assert 'used as an SQLite file' in done.stdout + done.stderr
    assert restarts() == 0
