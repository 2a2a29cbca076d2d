"""``up`` can be run at any time; ``down`` stops exactly what it started."""

import contextlib
import json
import os
import pathlib
import pwd
import shutil
import signal
import sqlite3
import subprocess
import time

import images
import psutil
import pytest
import requests
import toolkit
import yaml

from glance_wsgi import programs
from glance_wsgi.errors import Exit

ROOT = os.geteuid() == 0
SERVICE_USER = programs.SERVICE_USER if ROOT else None
SOMEBODY = 'nobody'  # an ordinary user that every system has

needs_root = pytest.mark.skipif(
    not ROOT, reason='another user is involved: run the tests as root'
)

MORE = 'fast:file,cheap:file,more:file,web:http'

KILLABLE = (
    'emperor',
    'glance-api master',
    'glance-api worker',
    'keystone master',
    'keystone worker',
)

# Where "up" is interrupted, one after the other.
STEPS = {
    signal.SIGINT: ('secrets', 'db sync', 'keystone bootstrap', 'start'),
    signal.SIGKILL: (
        'configuration',
        'db sync',
        'keystone keys',
        'keystone database',
        'service and endpoints',
    ),
}

# Steps that take their time in a program; the database that it fills.
PROGRAMS = {
    'db sync': 'glance.sqlite',
    'keystone keys': None,
    'keystone database': 'keystone.sqlite',
    'keystone bootstrap': None,
}


def processes(deployment) -> dict[psutil.Process, str]:
    """All processes of a deployment with what each is for."""
    return {
        psutil.Process(row['pid']): row['name']
        for row in deployment.status()['processes']
    }


def assert_serves(deployment) -> None:
    """It says so, and a client with a token agrees."""
    assert deployment.status()['serving']
    with deployment.connect() as cloud:
        list(cloud.image.images(limit=1, paginated=False))


def assert_none_left(old, deployment) -> None:
    """Of the processes `old` only those run that still belong to it."""
    now = processes(deployment)
    gone = [process for process in old if process not in now]
    assert not psutil.wait_procs(gone, timeout=5)[1]


def eventually(question, timeout: float = 20) -> None:
    """Ask until the answer is yes."""
    deadline = time.monotonic() + timeout
    while not question():
        assert time.monotonic() < deadline, 'not in time'
        time.sleep(0.05)


# --- doing nothing ---


def test_a_second_up_changes_nothing_and_says_so(breakable):
    breakable.up()
    before = toolkit.snapshot(breakable.state_dir / 'etc')
    running = processes(breakable)
    said = breakable.up().stdout
    assert 'Nothing had to be changed' in said
    assert ' done ' not in said
    assert toolkit.snapshot(breakable.state_dir / 'etc') == before
    assert processes(breakable) == running


# --- what has crashed ---


@pytest.mark.parametrize('name', KILLABLE)
def test_up_repairs_after_any_process_was_killed(breakable, name):
    old = processes(breakable)
    victim = next(process for process in old if old[process] == name)
    victim.kill()
    breakable.up()
    assert_serves(breakable)
    assert not victim.is_running()
    assert_none_left(old, breakable)


@pytest.mark.parametrize(
    'names',
    [
        ('emperor', 'glance-api master'),
        ('glance-api master', 'keystone master', 'keystone worker'),
        KILLABLE,
    ],
    ids=len,
)
def test_up_repairs_after_several_were_killed_at_once(breakable, names):
    old = processes(breakable)
    for process, name in old.items():
        if name in names:
            # Those of one that was killed before may have ended by now.
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    breakable.up()
    assert_serves(breakable)
    assert_none_left(old, breakable)


# --- what was interrupted ---


def tables(file: pathlib.Path) -> int:
    """How many tables an SQLite database has by now."""
    try:
        with contextlib.closing(
            sqlite3.connect(f'file:{file}?mode=ro', uri=True)
        ) as connection:
            return len(connection.execute('PRAGMA table_list').fetchall())
    except sqlite3.Error:
        return 0


def interrupted_up(deployment, step: str, number: signal.Signals) -> int:
    """Run ``up`` until it is in the middle of `step`, then signal it.

    SIGKILL goes to the programs that it runs as well, as when the machine
    loses its power.
    """
    command = [
        toolkit.BIN / 'glance-wsgi',
        'up',
        f'--state-dir={deployment.state_dir}',
        f'--listen=127.0.0.1:{deployment.port}',
        f'--keystone-listen=127.0.0.1:{deployment.keystone_port}',
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        said = ''
        while step not in said.rpartition('\n')[2]:
            read = run.stdout.read(1)
            assert read, f'{said}: {run.stderr.read()}'
            said += read
        if step in PROGRAMS:
            eventually(psutil.Process(run.pid).children)
        file = PROGRAMS.get(step)
        if file:
            eventually(
                lambda: tables(deployment.state_dir / 'data' / file) > 5
            )
        programs = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(number)
        if number == signal.SIGKILL and step in PROGRAMS:
            for program in programs:
                program.kill()
        complaint = run.communicate(timeout=60)[1]
    assert 'Traceback' not in complaint
    return run.returncode


@pytest.mark.parametrize('number', STEPS, ids=lambda number: number.name)
def test_an_up_that_was_interrupted_can_be_run_again(fresh, number):
    expected = Exit.INTERRUPTED if number == signal.SIGINT else -number
    for step in STEPS[number]:
        assert interrupted_up(fresh, step, number) == expected
        if step in ('secrets', 'db sync', 'start'):
            status = fresh('status', '-f', 'json', check=False)
            serving = json.loads(status.stdout)['serving']
            assert serving == (status.returncode == Exit.OK), status
            # What was started before the interrupt may serve by now.
            assert not serving or step == 'start', status
    fresh.up()
    assert_serves(fresh)
    old = processes(fresh)
    fresh('down', '--purge', '--timeout=0')
    assert not fresh.state_dir.exists()
    assert not [process for process in old if toolkit.alive(process)]


# --- what has changed ---


def test_own_settings_take_effect_with_the_next_up(breakable):
    old = processes(breakable)
    breakable.write_own_settings(
        toolkit.LOCAL_SETTINGS + '[DEFAULT]\nenable_image_import = false\n'
    )
    assert processes(breakable) == old
    breakable.up()
    assert_serves(breakable)
    now = processes(breakable)
    assert {now[p] for p in set(now) - set(old)} == {'glance-api worker'}
    breakable.write_own_settings(toolkit.LOCAL_SETTINGS)


def stores(deployment) -> str:
    """What the API says of its stores."""
    with deployment.connect() as cloud:
        return cloud.image.get('/info/stores').text


def test_flags_take_effect_and_stay(breakable):
    breakable.up(f'--stores={MORE}', '--threads=3')
    assert_serves(breakable)
    assert '"more"' in stores(breakable)
    vassals = breakable.state_dir / 'etc' / 'vassals'
    assert 'threads = 3' in (vassals / 'glance-api.ini').read_text()
    before = toolkit.snapshot(breakable.state_dir / 'etc')
    said = breakable('up').stdout
    assert 'Nothing had to be changed' in said
    assert breakable.endpoint in said
    assert toolkit.snapshot(breakable.state_dir / 'etc') == before


def test_another_listen_takes_effect_with_the_next_up(breakable):
    left = breakable.endpoint
    breakable.port = toolkit.free_port()
    breakable.endpoint = f'http://127.0.0.1:{breakable.port}'
    breakable.up()
    assert_serves(breakable)
    with pytest.raises(requests.ConnectionError):
        requests.get(f'{left}/healthcheck', timeout=5)
    with breakable.connect() as cloud:
        assert cloud.image.get_endpoint().startswith(breakable.endpoint)


def test_files_that_were_deleted_are_written_again(breakable):
    flags = ('--task-mercy=1234', '--threads=3', f'--stores={MORE}')
    breakable.up(*flags)
    names = [
        'clouds.yaml',
        'etc/glance-wsgi.conf',
        'etc/glance/glance-api.conf',
        'etc/wsgi/glance-api.wsgi',
        'etc/keystone/keystone.conf',
        'etc/uwsgi-emperor.ini',
        'etc/vassals/keystone.ini',
    ]
    files = [breakable.state_dir / name for name in names]
    before = [(f.read_text(), f.stat().st_mode) for f in files]
    for file in files:
        file.unlink()
    # The options went with etc/glance-wsgi.conf.
    breakable.up(*flags)
    assert [(f.read_text(), f.stat().st_mode) for f in files] == before
    assert_serves(breakable)


def test_passwords_that_were_deleted_are_made_again(breakable):
    file = breakable.state_dir / 'etc' / 'secrets.json'
    before = json.loads(file.read_text())
    file.unlink()
    breakable.up()
    after = json.loads(file.read_text())
    assert set(after) == set(before)
    assert not set(after.values()) & set(before.values())
    assert_serves(breakable)


def test_a_wrong_password_in_keystone_is_mended(breakable):
    with breakable.connect() as cloud:
        glance = cloud.identity.find_user('glance')
        cloud.identity.update_user(glance, password='forgotten')
    assert 'service and endpoints   done' in breakable.up().stdout
    assert_serves(breakable)


# --- stopping ---


@contextlib.contextmanager
def running(*words, user):
    """A program that is none of ours."""
    with subprocess.Popen(
        list(map(str, words)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **toolkit.as_user(user),
    ) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            process.kill()


def test_down_stops_exactly_what_up_started(breakable, deployed):
    breakable.up()
    ours = processes(breakable)
    port = toolkit.free_port()
    uwsgi = toolkit.BIN / 'uwsgi'
    listen = f'--http-socket=127.0.0.1:{port}'
    with running(uwsgi, '--master', listen, user=SERVICE_USER) as foreign:
        eventually(foreign.children)
        said = breakable('down').stdout
        assert f'Stopped {len(ours)} processes.' in said
        assert not [process for process in ours if toolkit.alive(process)]
        assert toolkit.alive(foreign)
        assert foreign.children()
    assert_serves(deployed)
    status = breakable('status', check=False)
    assert status.returncode == Exit.NOT_SERVING
    assert not breakable.status()['processes']
    assert 'Nothing was running.' in breakable('down').stdout


def put_pid(deployment, process: psutil.Process, age: float) -> None:
    """Name a process in every pid file, written `age` seconds ago."""
    run = deployment.state_dir / 'run'
    for name in ('emperor', 'glance-api', 'keystone'):
        file = run / f'{name}.pid'
        file.write_text(f'{process.pid}\n')
        if SERVICE_USER:
            shutil.chown(file, SERVICE_USER)
        os.utime(file, (time.time() - age,) * 2)


@needs_root
def test_a_process_of_another_user_in_a_pid_file_survives(breakable):
    breakable('down')
    with running('sleep', '600', user=SOMEBODY) as foreign:
        put_pid(breakable, foreign, age=-1)
        assert not breakable.status()['processes']
        assert 'Nothing was running.' in breakable('down').stdout
        assert toolkit.alive(foreign)


def test_images_and_reused_pids_outlive_down_and_up(breakable):
    breakable.up()
    data = images.random_bytes(images.KIB)
    with breakable.connect() as cloud:
        image = images.create(cloud)
        images.upload(cloud, image, data)
    breakable('down')
    with running('sleep', '600', user=SERVICE_USER) as foreign:
        # The number was that of one of ours, which has ended.
        put_pid(breakable, foreign, age=100)
        assert not breakable.status()['processes']
        assert 'Nothing was running.' in breakable('down').stdout
        breakable.up()
        assert toolkit.alive(foreign)
    with breakable.connect() as cloud:
        images.assert_holds(cloud, image, data)
        cloud.image.delete_image(image)


def test_a_purge_keeps_the_data_of_what_still_answers(breakable):
    breakable.up()
    run = breakable.state_dir / 'run'
    times = {file: file.stat().st_mtime for file in run.glob('*.pid')}
    try:
        # As if the clock had been set forward since.
        for file in times:
            os.utime(file, (1000, 1000))
        result = breakable('down', '--purge', check=False)
    finally:
        for file, written in times.items():
            os.utime(file, (written, written))
    assert result.returncode == Exit.NOT_STOPPED
    assert breakable.endpoint in result.stderr
    assert_serves(breakable)


# --- status ---


@pytest.mark.parametrize('kind', ['table', 'json', 'yaml', 'value'])
def test_status_has_every_format(deployed, kind):
    said = deployed('status', '-f', kind).stdout
    if kind == 'json':
        said = json.loads(said)
    elif kind == 'yaml':
        said = yaml.safe_load(said)
    else:
        assert deployed.endpoint in said
        assert 'glance-api worker' in said
        return
    assert said['serving'] is True
    assert said['endpoint'] == deployed.endpoint
    assert said['processes'][0]['memory_bytes'] > 0
    assert said['glance-api health'] == 'OK'


# --- who may do and see what ---


def owners(deployment) -> set[str]:
    """The names of the users whose processes a deployment has."""
    return {
        pwd.getpwuid(uid).pw_name
        for process in processes(deployment)
        for uid in process.uids()
    }


@needs_root
def test_nothing_runs_as_root(deployed):
    assert owners(deployed) == {SERVICE_USER}


def test_secrets_are_in_closed_files_only(deployed):
    etc = deployed.state_dir / 'etc'
    secrets = list(json.loads((etc / 'secrets.json').read_text()).values())
    for place in ('fernet-keys', 'credential-keys'):
        for key in (etc / 'keystone' / place).iterdir():
            secrets.append(key.read_text())
    service = pwd.getpwnam(SERVICE_USER).pw_uid if ROOT else os.geteuid()
    closed = set()
    for file in deployed.state_dir.rglob('*'):
        if not file.is_file():
            continue
        content = file.read_bytes()
        if any(secret.encode() in content for secret in secrets):
            closed.add(file.name)
            facts = file.stat()
            assert facts.st_mode & 0o077 == 0, file
            people = file.name in ('secrets.json', 'clouds.yaml')
            assert facts.st_uid == (os.geteuid() if people else service)
    assert {'secrets.json', 'clouds.yaml', 'glance-api.conf'} <= closed
    for file in (deployed.state_dir / 'data').rglob('*.sqlite*'):
        assert file.stat().st_mode & 0o077 == 0, file


def test_no_secret_is_in_a_log_or_in_arguments(deployed):
    with deployed.connect() as cloud:
        token = cloud.auth_token
        list(cloud.image.images(limit=1, paginated=False))
        cloud.image.get('/images', headers={'X-Auth-Token': 'bad-token-1'})
    etc = deployed.state_dir / 'etc'
    secrets = list(json.loads((etc / 'secrets.json').read_text()).values())
    with toolkit.watched_arguments() as arguments:
        deployed.up()
    logs = [f.read_text() for f in (deployed.state_dir / 'log').iterdir()]
    assert any('/v2/images' in log for log in logs)
    secrets += [token, token[:64], 'bad-token-1']
    assert toolkit.leaked(secrets, [*logs, arguments()]) == []


@needs_root
def test_an_ordinary_user_needs_no_root(workspace):
    home = workspace / 'home'
    home.mkdir(mode=0o700)
    shutil.chown(home, SOMEBODY, pwd.getpwnam(SOMEBODY).pw_gid)
    deployment = toolkit.Deployed(home / 'state', SOMEBODY)
    environment = {'HOME': str(home)}
    try:
        with toolkit.watched_arguments() as arguments:
            deployment.up(env=environment)
        assert owners(deployment) == {SOMEBODY}
        with deployment.connect() as cloud:
            image = images.create(cloud)
            images.upload(cloud, image, b'12345')
            images.assert_holds(cloud, image, b'12345')
        file = deployment.state_dir / 'etc' / 'secrets.json'
        secrets = json.loads(file.read_text()).values()
        assert toolkit.leaked(secrets, [arguments()]) == []
        for place in home.rglob('*'):
            assert place.owner() == SOMEBODY
        number = len(processes(deployment))
        said = deployment('down').stdout
        assert f'Stopped {number} processes.' in said
    finally:
        deployment.purge()
        shutil.rmtree(home)
