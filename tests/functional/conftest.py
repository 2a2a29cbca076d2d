"""Fixtures: real deployments, each with its own directory and ports."""

import functools
import http.server
import os
import shutil

import beside
import databases
import hypothesis
import images
import loopback
import pytest
import taskdb
import toolkit

# Each case is some requests to a real server.
hypothesis.settings.register_profile(
    'functional',
    deadline=None,
    max_examples=40,
    suppress_health_check=list(hypothesis.HealthCheck),
)
# For the environments "fuzz", which take their time.
hypothesis.settings.register_profile(
    'fuzz', hypothesis.settings.get_profile('functional'), max_examples=10_000
)
hypothesis.settings.load_profile('functional')


def pytest_configure(config):
    toolkit.SERVER = config.getoption('--server')


@pytest.fixture(scope='session')
def workspace():
    """Where the deployments of all tests are."""
    with toolkit.workspace() as path:
        yield path


@pytest.fixture(scope='session')
def deployed(workspace):
    """One deployment with all defaults, shared by tests that only use it."""
    deployment = toolkit.Deployed(workspace / 'shared')
    deployment.write_own_settings(toolkit.LOCAL_SETTINGS)
    try:
        # Careful people's umask must not close it to the service user.
        deployment.up(umask=0o077)
        yield deployment
    finally:
        deployment.purge()


@pytest.fixture
def fresh(workspace, request):
    """A place for a deployment that a test may break; not up yet."""
    name = ''.join(c for c in request.node.name if c.isalnum() or c == '_')
    deployment = toolkit.Deployed(workspace / name[:30])
    yield deployment
    deployment.purge()
    shutil.rmtree(deployment.state_dir, ignore_errors=True)


@pytest.fixture(scope='session')
def cloud(deployed):
    """openstacksdk, connected to the shared deployment."""
    with deployed.connect() as connection:
        yield connection


@pytest.fixture(scope='module')
def member(deployed):
    """openstacksdk, as the account that uses images."""
    with deployed.connect('glance-wsgi-member') as connection:
        yield connection


@pytest.fixture(scope='module')
def own(deployed, tmp_path_factory):
    """openstacksdk on the same Glance, which sends everything itself."""
    log = tmp_path_factory.mktemp('own') / 'log'
    with beside.served(deployed, beside.GUNICORN, log) as cloud:
        yield cloud


@pytest.fixture
def image(cloud):
    """A queued image of the shared deployment."""
    image = images.create(cloud)
    yield image
    cloud.image.delete_image(image.id, ignore_missing=True)


class _Files(loopback.Handler, http.server.SimpleHTTPRequestHandler):
    """The files of a directory."""


@pytest.fixture
def web(tmp_path):
    """A web server: what is written into web.directory is at web.url."""
    handler = functools.partial(_Files, directory=tmp_path)
    with loopback.Server(handler) as server:
        server.directory = tmp_path
        yield server


@pytest.fixture(scope='session')
def breakable(workspace):
    """A deployment that tests may break, as long as "up" mends it."""
    with toolkit.serving(workspace / 'breakable') as deployment:
        yield deployment


@pytest.fixture(scope='session')
def mariadb(workspace):
    """A MariaDB of our own, on a unix socket that everybody may use."""
    missing = [
        name
        for name in ('mysqld', 'mysql', 'mysql_install_db')
        if shutil.which(name, path=f'{os.environ["PATH"]}:/usr/sbin') is None
    ]
    if missing:
        pytest.skip(
            f'no {missing[0]}: apt-get install mariadb-server-core '
            'mariadb-client-core'
        )
    with databases.MariaDB(workspace) as server:
        yield server


@pytest.fixture(params=['sqlite', 'mariadb'])
def database(request, tmp_path):
    """A database of each kind, with Glance's tables and ours."""
    if request.param == 'sqlite':
        made = taskdb.TaskDatabase(taskdb.sqlite(tmp_path))
        yield made
        made.dispose()
        return
    server = request.getfixturevalue('mariadb')
    with server.database() as (_, url):
        made = taskdb.TaskDatabase(url)
        yield made
        made.dispose()
