"""Fixtures: a network, hosts in it, and a Keystone that is there already."""

import contextlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import types

import pytest
import yaml

SYSTEMD = pathlib.Path(__file__).parents[1] / 'systemd'
sys.path.insert(0, str(SYSTEMD))

import fleet  # noqa: E402
import network  # noqa: E402


@pytest.fixture(scope='session')
def workspace():
    """Where the files of all hosts are."""
    if why := fleet.obstacle():
        pytest.skip(why)
    path = pathlib.Path(
        tempfile.mkdtemp(prefix='glance-wsgi-playbooks-', dir='/var/tmp')
    )
    path.chmod(0o755)  # services of the hosts find their wheel in it
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope='session')
def net(workspace):
    """The network."""
    made = network.Network()
    yield made
    made.remove()


@pytest.fixture(scope='session')
def keystone(net, workspace):
    """The accounts of a Keystone: of an administrator, and of a member."""
    place = workspace / 'keystone'
    program = net.command(fleet.BIN / 'glance-wsgi')
    named = f'--state-dir={place}'
    listening = f'--keystone-listen={network.GATEWAY}:5000'
    try:
        subprocess.run([*program, 'up', named, listening], check=True)
        clouds = yaml.safe_load((place / 'clouds.yaml').read_text())['clouds']
        yield types.SimpleNamespace(
            admin=clouds['glance-wsgi']['auth'],
            member=clouds['glance-wsgi-member']['auth'],
        )
    finally:
        subprocess.run([*program, 'down', named, '--timeout=0'])


@pytest.fixture(scope='module')
def hosts(net, workspace, keystone):
    """Three hosts on which nothing is deployed."""
    place = workspace / 'hosts'
    place.mkdir()
    below = fleet.layers(net, workspace)
    made = fleet.Fleet(net, place, below, fleet.wheel(place))
    made.variables = {
        'glance_wsgi_keystone_admin': keystone.admin,
        'smoke_member': keystone.member,
    }
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture
def clients(net, keystone):
    """Has clients at work while a block runs; then what they have seen."""

    @contextlib.contextmanager
    def at_work(word, number):
        script = pathlib.Path(__file__).with_name('clients.py')
        auth = json.dumps(keystone.member)
        seen = types.SimpleNamespace()
        with subprocess.Popen(
            net.command(sys.executable, script, word, auth, number),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout.readline() == 'begun\n'
            yield seen
            vars(seen).update(json.loads(process.communicate()[0]))

    return at_work
