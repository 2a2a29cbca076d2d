"""Drives the installed ``glance-wsgi`` as a person does."""

import collections
import contextlib
import json
import os
import pathlib
import pwd
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

import openstack
import psutil
import yaml

from glance_wsgi import programs

SERVER = 'uwsgi'
"""The server of all deployments that name no other; set by --server."""

BIN = pathlib.Path(sys.prefix, 'bin')

METHODS = 'glance-direct,web-download,copy-image,glance-download'

# Test servers are on ports of loopback, which web-download and locations
# refuse unless they are told that those are fine.
LOCAL_SETTINGS = f"""
[DEFAULT]
enabled_import_methods = [{METHODS}]
[import_filtering_opts]
allowed_hosts = [127.0.0.1]
allowed_ports = []
"""


def free_port() -> int:
    """A TCP port of loopback that nobody listens on.

    Not one that the system hands out by itself: until it is used, any
    outgoing connection could get it.
    """
    for port in random.sample(range(20000, 32000), 100):
        with contextlib.closing(socket.socket()) as probe:
            try:
                probe.bind(('127.0.0.1', port))
            except OSError:
                continue
            return port
    raise AssertionError('no free port')


def gate_options() -> tuple[str, ...]:
    """What "up" is told for a gate, beside what it is told anyway."""
    return (
        '--profile=gate',
        f'--remote-listen=127.0.0.1:{free_port()}',
        f'--source-listen=127.0.0.1:{free_port()}',
    )


@contextlib.contextmanager
def workspace():
    """A directory that the service user may enter; pytest's it may not."""
    path = pathlib.Path(
        tempfile.mkdtemp(prefix='glance-wsgi-test-', dir='/var/tmp')
    )
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def directory(path: pathlib.Path) -> pathlib.Path:
    """Make a directory that is the service user's."""
    path.mkdir(mode=0o750)
    if not os.geteuid():
        shutil.chown(path, programs.SERVICE_USER, programs.SERVICE_USER)
    return path


def until(happened, what: str, within: float = 60, every: float = 0.1) -> None:
    """Probe until something has happened; fail if it does not."""
    deadline = time.monotonic() + within
    while not happened():
        assert time.monotonic() < deadline, f'not in {within} s: {what}'
        time.sleep(every)


def as_user(name: str | None) -> dict:
    """What subprocess needs to run something as this user."""
    if name is None:
        return {}
    entry = pwd.getpwnam(name)
    return {'user': entry.pw_uid, 'group': entry.pw_gid, 'extra_groups': []}


@contextlib.contextmanager
def watched_arguments():
    """The arguments of every process that is seen meanwhile, as one text."""
    seen: set[str] = set()
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.02):
            for place in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
                with contextlib.suppress(OSError):
                    seen.add(place.read_text(errors='replace'))

    def text() -> str:
        return '\n'.join(seen).replace('\0', ' ')

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield text
    finally:
        done.set()
        watcher.join()


def leaked(secrets, texts) -> list[str]:
    """The beginnings of those secrets that are in one of the texts.

    Not the texts: a failed test would show all that is secret in them.
    """
    return [
        secret[:4] for secret in secrets if any(secret in t for t in texts)
    ]


def alive(process: psutil.Process) -> bool:
    """Whether it still runs; a zombie waits for its parent only."""
    try:
        return process.is_running() and process.status() != 'zombie'
    except psutil.NoSuchProcess:
        return False


def waiting(word: str) -> list[str]:
    """What the threads wait for of each process that has a word in its line.

    By the names of the kernel's functions: proc(5), "wchan".
    """
    found = []
    for process in psutil.process_iter(['cmdline', 'status']):
        line = ' '.join(process.info['cmdline'] or ())
        if word not in line:
            continue
        places = collections.Counter()
        for task in pathlib.Path(f'/proc/{process.pid}/task').glob('*/wchan'):
            with contextlib.suppress(OSError):
                places[task.read_text()] += 1
        found.append(
            f'{process.pid} {process.info["status"]} {line}: {dict(places)}'
        )
    return found


def snapshot(path: pathlib.Path) -> dict:
    """Every file below `path`: its rights, owner, time and contents."""
    found = {}
    for place in sorted((path, *path.rglob('*'))):
        if os.path.lexists(place):
            facts = place.lstat()
            found[str(place)] = (
                facts.st_mode,
                facts.st_uid,
                None if place.is_dir() else facts.st_mtime_ns,
                place.read_bytes() if place.is_file() else None,
            )
    return found


def glance_wsgi(
    *words, check=True, env=None, program=None, user=None, umask=-1
):
    """Run the command line; its result with text of both outputs.

    :param check: fail the test if it does not exit with 0
    :param user: the name of the user who runs it; only root may choose
    """
    result = subprocess.run(
        [program or BIN / 'glance-wsgi', *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        # A reload waits for transfers, which takes no such time: this ends a
        # hang before pytest does, so that it can be told what it waits for.
        timeout=300,
        cwd='/',
        umask=umask,
        **as_user(user),
    )
    if check:
        assert result.returncode == 0, result.stdout + result.stderr
    return result


class Deployed:
    """A deployment in a directory of its own, on free ports."""

    def __init__(
        self, state_dir: pathlib.Path, user: str | None = None
    ) -> None:
        self.state_dir = state_dir
        self.user = user
        self.port = free_port()
        self.keystone_port = free_port()
        self.endpoint = f'http://127.0.0.1:{self.port}'

    def write_own_settings(self, text: str) -> None:
        """Settings of Glance beside those that glance-wsgi writes."""
        etc = self.state_dir / 'etc'
        etc.mkdir(parents=True, exist_ok=True)
        (etc / 'glance-api.local.conf').write_text(text)

    def up(self, *words, **options):
        """``glance-wsgi up`` on this deployment's ports."""
        return self(
            'up',
            f'--listen=127.0.0.1:{self.port}',
            f'--keystone-listen=127.0.0.1:{self.keystone_port}',
            f'--server={SERVER}',
            *words,
            **options,
        )

    def __call__(self, verb, *words, **options):
        """Any verb on this deployment."""
        try:
            return glance_wsgi(
                verb,
                f'--state-dir={self.state_dir}',
                *words,
                **{'user': self.user, **options},
            )
        except subprocess.TimeoutExpired as error:
            raise AssertionError(
                f'{verb} does not end; what runs, and where its threads wait: '
                f'{waiting(str(self.state_dir))}'
            ) from error

    @property
    def log(self) -> pathlib.Path:
        """Where the Images API writes its log."""
        name = 'apache' if SERVER == 'mod_wsgi' else 'glance-api'
        return self.state_dir / 'log' / f'{name}.log'

    def status(self) -> dict:
        """What ``status -f json`` says, also when it is not serving."""
        return json.loads(self('status', '-f', 'json', check=False).stdout)

    def processes(self, name: str) -> list[psutil.Process]:
        """Its processes whose name in ``status`` begins with `name`."""
        return [
            psutil.Process(row['pid'])
            for row in self.status()['processes']
            if row['name'].startswith(name)
        ]

    def account(self, name: str = 'glance-wsgi') -> dict:
        """A cloud of clouds.yaml: an account, and where it is one."""
        text = (self.state_dir / 'clouds.yaml').read_text()
        return yaml.safe_load(text)['clouds'][name]

    def connect(
        self, name: str = 'glance-wsgi'
    ) -> openstack.connection.Connection:
        """openstacksdk, as one of the accounts of clouds.yaml."""
        return openstack.connect(load_envvars=False, **self.account(name))

    def environment(self) -> dict[str, str]:
        """What the ``openstack`` command needs to find the deployment."""
        return {
            'OS_CLIENT_CONFIG_FILE': str(self.state_dir / 'clouds.yaml'),
            'OS_CLOUD': 'glance-wsgi',
        }

    def purge(self) -> None:
        """Stop at once and remove everything."""
        if (self.state_dir / 'deployment.json').exists():
            self('down', '--purge', '--timeout=0', check=False)


@contextlib.contextmanager
def serving(state_dir: pathlib.Path, *words, settings=LOCAL_SETTINGS):
    """A deployment that serves while the block runs, and is purged then.

    :param words: arguments of "up"
    :param settings: Glance's, beside those that glance-wsgi writes
    """
    deployment = Deployed(state_dir)
    deployment.write_own_settings(settings)
    try:
        deployment.up(*words)
        yield deployment
    finally:
        deployment.purge()


@contextlib.contextmanager
def another_region(cloud, url):
    """A region whose Images API is somewhere else."""
    (service,) = cloud.identity.services(type='image')
    region = cloud.identity.create_region(id='another')
    endpoint = cloud.identity.create_endpoint(
        service_id=service.id, interface='public', region_id=region.id, url=url
    )
    try:
        yield region.id
    finally:
        cloud.identity.delete_endpoint(endpoint)
        cloud.identity.delete_region(region)
