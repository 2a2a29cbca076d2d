"""Databases for the tests: one MariaDB for all of them, in memory."""

import contextlib
import os
import pathlib
import sys

import pytest

FUNCTIONAL = pathlib.Path(__file__).parents[1] / 'functional'
sys.path.insert(0, str(FUNCTIONAL))

import databases  # noqa: E402
import upgrades  # noqa: E402


@pytest.fixture(scope='session')
def mariadb(tmp_path_factory):
    """A MariaDB whose files are in memory where that is possible."""
    memory = pathlib.Path('/dev/shm')
    place = (
        memory if os.access(memory, os.W_OK) else tmp_path_factory.mktemp('db')
    )
    with databases.MariaDB(place) as server:
        yield server


@pytest.fixture
def database(request, tmp_path):
    """An empty database of the kind that the test is parametrized with."""
    with contextlib.ExitStack() as stack:
        if request.param == 'sqlite':
            yield stack.enter_context(upgrades.sqlite(tmp_path))
        else:
            server = request.getfixturevalue('mariadb')
            yield stack.enter_context(upgrades.mariadb(server, tmp_path))
