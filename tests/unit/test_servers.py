"""How a server replaces its processes, with real ones that only wait."""

import contextlib
import fcntl
import os
import subprocess
import sys
import time
import types

import psutil
import pytest

from glance_wsgi import errors
from glance_wsgi import processes
from glance_wsgi import servers
from glance_wsgi import stopping
from glance_wsgi.servers import emperor
from glance_wsgi.servers import mod_wsgi
from glance_wsgi.servers import system

SLEEP = [sys.executable, '-c', 'import time; time.sleep(60)']


class Pool(servers.Part):
    """Two processes; told to, it replaces the first that is old."""

    def __init__(self, stubborn=False):
        super().__init__(None)
        self.stubborn = stubborn
        self.running = [subprocess.Popen(SLEEP) for _ in range(2)]
        self.asked = []
        self.fewest = 2

    def renew(self, application, old):
        self.asked.append(len(old))
        if self.stubborn:
            return
        for place, process in enumerate(self.running):
            if process.pid == old[0].pid:
                process.kill()
                process.wait()
                self.fewest = min(self.fewest, len(self.workers(None)))
                self.running[place] = subprocess.Popen(SLEEP)
                return

    def workers(self, application):
        found = [
            psutil.Process(process.pid)
            for process in self.running
            if process.returncode is None
        ]
        return [process for process in found if processes.alive(process)]

    def stop(self, timeout):
        for process in self.running:
            process.kill()
            process.wait()
        return []

    def processes(self):
        return [('worker', process) for process in self.workers(None)]

    version = files = test = start = settled = complaint = None


class Server(servers.Server):
    name = 'test'
    parts = ()
    log = None


@pytest.fixture
def deployment(tmp_path):
    """All that a server here asks for."""
    places = types.SimpleNamespace(stopping=tmp_path / 'stopping')
    return types.SimpleNamespace(places=places)


@pytest.fixture
def serve(monkeypatch, deployment):
    """Makes a server of one pool."""
    monkeypatch.setattr(servers, 'RENEW_INTERVAL', 0.01)
    made = []

    def make(**options):
        server = Server(deployment)
        server.parts = (Pool(**options),)
        made.append(server)
        return server

    yield make
    for server in made:
        server.stop(0)


def test_every_old_process_is_replaced_one_at_a_time(serve):
    server = serve()
    (pool,) = server.parts
    before = {process.pid for process in pool.running}
    told = []
    time.sleep(0.05)
    since = time.time()
    time.sleep(0.05)  # the system counts in hundredths
    server.reload(None, since, 10, told.append)
    assert not before & {process.pid for process in pool.running}
    assert pool.fewest == 1
    assert told == [2, 1]


def test_processes_that_are_new_enough_are_left_alone(serve):
    server = serve()
    (pool,) = server.parts
    server.reload(None, time.time() - 60, 10)
    assert pool.asked == []


def test_a_process_that_has_not_finished_in_time_is_named(serve):
    server = serve(stubborn=True)
    time.sleep(0.05)
    with pytest.raises(errors.NotStopped) as caught:
        server.reload(None, time.time(), 0.1)
    for process in server.parts[0].running:
        assert str(process.pid) in caught.value.cause
        assert process.poll() is None  # it goes on
    assert '--timeout' in caught.value.action


def test_stopping_begins_with_what_is_in_front(deployment):
    stopped = []

    def part(name):
        return types.SimpleNamespace(
            stop=lambda timeout: stopped.append((name, timeout)) or [name]
        )

    server = Server(deployment)
    server.parts = (part('behind'), part('in front'))
    assert server.stop(0) == ['in front', 'behind']
    assert stopped == [('in front', 0), ('behind', 0)]
    stopped.clear()
    server.stop(10)
    assert all(0 < timeout <= 10 for _, timeout in stopped)


def test_all_parts_can_see_that_they_are_being_stopped(
    deployment, monkeypatch
):
    monkeypatch.setenv(stopping.VARIABLE, str(deployment.places.stopping))
    look, seen = stopping.Stopping(), []
    server = Server(deployment)
    part = types.SimpleNamespace(stop=lambda _: seen.append(look()) or [])
    server.parts = (part, part)
    server.stop(10)
    assert seen == [True, True]
    assert not look()


def test_what_is_behind_is_told_when_the_time_is_up_in_front(deployment):
    """It would begin tasks again as soon as nobody stops it any more."""
    told = []

    class Late:
        def __init__(self, name):
            self.name = name

        def stop(self, timeout):
            told.append(self.name)
            raise servers.not_stopped([], f'{self.name} is late.', '')

    server = Server(deployment)
    server.parts = (Late('the last'), Late('the middle'), Late('in front'))
    with pytest.raises(errors.NotStopped, match='in front is late'):
        server.stop(5)
    assert told == ['in front', 'the middle', 'the last']


@contextlib.contextmanager
def locked(path, kind=fcntl.LOCK_SH):
    """What a process with a transfer does."""
    with path.open('w') as handle:
        fcntl.flock(handle, kind)
        yield


@pytest.fixture
def application(tmp_path):
    return types.SimpleNamespace(busy=tmp_path / 'glance-api.busy')


def test_an_application_that_never_was_busy_is_quiet(application):
    assert mod_wsgi._wait_for_quiet(application.busy.parent, 0)


def test_quiet_is_when_no_transfer_holds_the_lock(application):
    with locked(application.busy):
        began = time.monotonic()
        assert not mod_wsgi._wait_for_quiet(application.busy.parent, 0.2)
        assert time.monotonic() - began >= 0.2
    assert mod_wsgi._wait_for_quiet(application.busy.parent, 0)


def test_waiting_for_a_quiet_moment_ends_with_the_transfer(application):
    code = (
        'import fcntl, sys, time; file = open(sys.argv[1], "w"); '
        'fcntl.flock(file, fcntl.LOCK_SH); print(flush=True); time.sleep(0.3)'
    )
    command = [sys.executable, '-c', code, application.busy]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as transfer:
        transfer.stdout.readline()
        assert mod_wsgi._wait_for_quiet(application.busy.parent, 10)


def test_looking_for_a_quiet_moment_does_not_keep_the_lock(application):
    application.busy.touch()
    assert mod_wsgi._wait_for_quiet(application.busy.parent, 0)
    with application.busy.open() as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize('what', ['load_files', 'reread'])
def test_apache_does_not_read_its_files_while_a_transfer_runs(
    application, monkeypatch, what
):
    deployed = types.SimpleNamespace(
        conf=types.SimpleNamespace(server=types.SimpleNamespace(task_mercy=0)),
        places=types.SimpleNamespace(run=application.busy.parent),
    )
    apache = object.__new__(mod_wsgi.SystemDaemons)
    apache.deployment = deployed
    told = []
    monkeypatch.setattr(
        mod_wsgi.apache.Apache, 'let_read', lambda *words: told.append(words)
    )
    for method, result in (
        ('parent', psutil.Process()),
        ('_wait_for_addresses', None),
        ('_check_accepted', None),
        ('_read_at', 0),
    ):
        monkeypatch.setattr(
            system.SystemApache, method, lambda self, result=result: result
        )
    read = {
        'load_files': lambda: apache.load_files((application,)),
        'reread': apache.reread,
    }[what]
    with locked(application.busy), pytest.raises(errors.NotStopped):
        read()
    assert not told
    read()
    assert len(told) == 1


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Where a distribution has its modules, and its Python is ours."""
    monkeypatch.setattr(sys, 'base_prefix', '/usr')
    return types.SimpleNamespace(modules=tmp_path, mod_wsgi='some-package')


def test_the_distributions_module_serves_the_distributions_python(modules):
    ours = f'{sys.version_info.major}.{sys.version_info.minor}'
    module = modules.modules / 'mod_wsgi.so'
    real = modules.modules / f'mod_wsgi.so-{ours}'
    real.touch()
    module.symlink_to(real)
    assert mod_wsgi._of_distribution(modules) == module


@pytest.mark.parametrize('there', ['none', 'another version', 'another base'])
def test_a_module_of_another_python_is_refused(modules, monkeypatch, there):
    if there != 'none':
        (modules.modules / 'mod_wsgi.so').touch()
    if there == 'another version':
        (modules.modules / 'mod_wsgi.so-3.1').touch()
    if there == 'another base':
        monkeypatch.setattr(sys, 'base_prefix', '/opt/python')
    with pytest.raises(errors.ServerMissing) as caught:
        mod_wsgi._of_distribution(modules)
    assert 'some-package' in caught.value.action
    assert 'PyPI' in caught.value.action


def test_the_module_of_the_virtualenv_is_the_one_beside_the_package(
    tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    server = tmp_path / 'mod_wsgi' / 'server'
    server.mkdir(parents=True)
    (tmp_path / 'mod_wsgi' / '__init__.py').touch()
    assert mod_wsgi._of_virtualenv() is None
    module = server / 'mod_wsgi-py311.cpython-311-x86_64-linux-gnu.so'
    module.touch()
    assert mod_wsgi._of_virtualenv() == module


def test_a_process_is_known_by_the_title_that_its_template_gives_it():
    """Of mod_wsgi's own making: display-name=%{GROUP}."""
    title = mod_wsgi._TITLE.format(name='glance-api')
    command = ['bash', '-c', f'exec -a "{title}" sleep 60']
    with subprocess.Popen(command) as process:
        found = psutil.Process(process.pid)
        deadline = time.monotonic() + 10
        while not processes.title(found).startswith('(wsgi:'):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        part = mod_wsgi.Daemons(None)
        assert part.role(found) == 'glance-api worker'
        os.kill(process.pid, 9)


def test_a_transfer_is_not_looked_for_in_what_is_no_file(application):
    """The service user owns the directory, and root looks there."""
    victim = application.busy.with_name('victim')
    with locked(victim, fcntl.LOCK_EX):
        application.busy.symlink_to(victim)
        assert mod_wsgi._wait_for_quiet(application.busy.parent, 0)
    application.busy.unlink()
    # Whoever opens it to read waits for somebody who writes.
    os.mkfifo(application.busy)
    assert mod_wsgi._wait_for_quiet(application.busy.parent, 0)


@pytest.fixture
def uwsgi(tmp_path):
    """A part whose run directory is that of a test."""
    made = object.__new__(emperor.Emperor)
    made.deployment = types.SimpleNamespace(
        places=types.SimpleNamespace(run=tmp_path)
    )
    return made


def test_workers_are_renewed_by_a_letter_in_a_pipe(uwsgi, tmp_path):
    os.mkfifo(tmp_path / 'glance-api.fifo')
    reader = os.open(tmp_path / 'glance-api.fifo', os.O_RDONLY | os.O_NONBLOCK)
    with open(reader, 'rb') as fifo:
        uwsgi.renew(types.SimpleNamespace(name='glance-api'), [])
        assert fifo.read() == b'c'


@pytest.mark.parametrize('how', ['symlink_to', 'hardlink_to'])
def test_no_letter_is_written_to_what_is_no_pipe(uwsgi, tmp_path, how):
    """The service user owns the directory, and root writes there."""
    victim = tmp_path / 'victim'
    victim.write_text('precious')
    getattr(tmp_path / 'glance-api.fifo', how)(victim)
    uwsgi.renew(types.SimpleNamespace(name='glance-api'), [])
    assert victim.read_text() == 'precious'
