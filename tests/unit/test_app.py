"""What a web server meets when it loads the entry module."""

import subprocess
import sys

import pytest
import sqlalchemy

from glance_wsgi import admission
from glance_wsgi import app
from glance_wsgi import errors
from glance_wsgi import lifecycle
from glance_wsgi import policies
from glance_wsgi.data import downloads
from glance_wsgi.data import filestore
from glance_wsgi.db import encryption
from glance_wsgi.db import reading
from glance_wsgi.db import sqlite
from glance_wsgi.servers import uwsgi_continue

LOAD = 'import glance_wsgi.api'


def test_an_unsupported_glance_is_not_served(tmp_path, monkeypatch):
    folder = tmp_path / 'glance-34.0.0.dist-info'
    folder.mkdir()
    (folder / 'METADATA').write_text('Name: glance\nVersion: 34.0.0\n')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(errors.GlanceUnsupported, match=r'34\.0\.0'):
        app.build()


def test_a_configuration_that_is_missing_ends_the_import(tmp_path):
    result = subprocess.run(
        [sys.executable, '-c', LOAD],
        env={'OS_GLANCE_CONFIG_DIR': str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert result.returncode != 0
    assert 'Error' in result.stderr.splitlines()[-1]


@pytest.fixture(autouse=True)
def libraries(monkeypatch):
    """What is changed for good stays as it is, for other tests."""
    monkeypatch.setattr(filestore, 'install', lambda pipelined: None)
    monkeypatch.setattr(policies, 'remember', lambda application: application)
    monkeypatch.setattr(encryption, 'share', lambda application: application)
    monkeypatch.setattr(reading, 'read_at_once', lambda wrapped: wrapped)
    # Whose options these are is not loaded.
    monkeypatch.setattr(downloads, 'directories', lambda conf: ())


@pytest.fixture
def steps(monkeypatch):
    """The names of the steps, as each is put around the application."""
    order = []

    def around(module, name):
        def step(application):
            order.append(name)
            return (name, application)

        monkeypatch.setattr(module, name, step)

    around(sqlite, 'take_turns')
    around(admission, 'in_line')
    around(uwsgi_continue, 'answer')
    around(lifecycle, 'watch')
    monkeypatch.setattr(app, '_glance', lambda: 'glance')
    return order


def test_every_step_is_around_those_before_it(steps):
    """What counts requests sees all of each, whoever answers it."""
    assert app.build() == (
        'watch',
        ('answer', ('in_line', ('take_turns', 'glance'))),
    )
    assert steps == ['take_turns', 'in_line', 'answer', 'watch']


def test_outside_of_the_known_servers_only_the_turns_are_taken(monkeypatch):
    """Whatever the server is: their own tests are elsewhere."""

    def glance(environ, start_response):
        return [environ['REQUEST_METHOD'].encode()]

    monkeypatch.setattr(app, '_glance', lambda: glance)
    try:
        application = app.build()
    finally:
        sqlalchemy.event.remove(
            sqlalchemy.Engine, 'before_cursor_execute', sqlite._begin
        )
    environ = {'REQUEST_METHOD': 'GET', 'wsgi.input': None}
    assert application(environ, None) == [b'GET']


def test_a_worker_does_not_load_what_only_commands_need():
    """It would have it in memory for good, and start later."""
    code = 'import sys; import glance_wsgi.app; print(*sys.modules)'
    result = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.partition('.')[0] for name in result.stdout.split()}
    assert not loaded & {'alembic', 'cliff', 'openstack', 'rich'}
