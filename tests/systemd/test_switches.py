"""From each server to each other one; Apache goes on with its other sites."""

import json
import subprocess

import machine
import pytest
import snapshots

ROUND = (
    'uwsgi',
    'apache-uwsgi',
    'mod_wsgi',
    'uwsgi',
    'mod_wsgi',
    'apache-uwsgi',
    'uwsgi',
)

# Asks for the page that Debian's own site has, until its input ends.
POLL = """
import json, select, sys, urllib.request
asked, failures = 0, []
while not select.select([sys.stdin], [], [], 0.02)[0]:
    asked += 1
    try:
        urllib.request.urlopen('http://127.0.0.1:80', timeout=10).read()
    except Exception as error:
        failures.append(f'{asked}: {error!r}')
print(json.dumps({'asked': asked, 'failures': failures}))
"""


@pytest.fixture(scope='module')
def switched(fresh):
    """A machine with the first server of the round installed."""
    before = snapshots.of(fresh)
    fresh.glance_wsgi('install', f'--server={ROUND[0]}')
    yield fresh
    fresh.glance_wsgi('uninstall')
    assert snapshots.differences(before, snapshots.of(fresh)) == []


@pytest.mark.parametrize('step', range(1, len(ROUND)))
def test_a_switch_leaves_the_other_sites_of_apache_alone(switched, step):
    polling = subprocess.Popen(
        switched.command('python3', '-c', POLL),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        said = switched.glance_wsgi('install', f'--server={ROUND[step]}')
    finally:
        seen = json.loads(polling.communicate()[0])
    assert said.stdout.endswith('Serving at http://127.0.0.1:9292.\n')
    machine.until(switched.serves, 'it serves', within=20)
    assert seen['failures'] == []
    assert seen['asked'] > 10


# A request that is not finished for some time after uWSGI has been told to
# listen elsewhere: the socket that it came by stays open as long.
HOLD = """
import pathlib, socket, sys, time
end = time.monotonic() + 100
there = socket.create_connection(('127.0.0.1', 5000))
head = b'POST /v3/auth/tokens HTTP/1.1\\r\\nHost: x\\r\\n'
there.sendall(head + b'Content-Length: 9\\r\\n\\r\\n{')
print(flush=True)
ini = pathlib.Path('/etc/glance-wsgi/vassals/keystone.ini')
before = ini.stat().st_mtime_ns
while ini.stat().st_mtime_ns == before and time.monotonic() < end:
    time.sleep(0.1)
time.sleep(float(sys.argv[1]))
there.sendall(b'       }')
there.recv(1)
"""


def test_apache_is_told_when_what_has_begun_is_finished(switched):
    holding = subprocess.Popen(
        switched.command('python3', '-c', HOLD, '60'), stdout=subprocess.PIPE
    )
    with holding:
        holding.stdout.readline()
        switched.glance_wsgi('install', '--server=apache-uwsgi')
    machine.until(switched.serves, 'it serves', within=20)
    state = switched('systemctl', 'is-active', 'apache2', check=False)
    assert state.stdout == 'active\n'
