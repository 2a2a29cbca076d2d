"""Who is measured: our servers, and what people would have otherwise.

The others run with settings that their projects publish. What belongs to a
machine, addresses and paths, is this machine's; the rest is as published, also
how many processes there are.
"""

import abc
import configparser
import os
import pathlib
import subprocess
import sys

import api
import ground
import measures
import psutil
import toolkit

from glance_wsgi import applications
from glance_wsgi import programs
from glance_wsgi import servers
from glance_wsgi.deployment import Deployment

HERE = pathlib.Path(__file__).parent
TOP = HERE.parents[2]
SAMPLES = TOP / 'tests' / 'unit' / 'samples'
SETTINGS = HERE / 'settings'
CPUS = len(os.sched_getaffinity(0))

LOADED = 64 * 2**20
"""Bytes that no process is resident with before it has loaded Glance."""

KNOWN = 3600
"""Seconds for which a process knows whose a token is: with the default of 300
each of them asks Keystone in the middle of something that is measured."""

SMALL = 19
"""Images without data beside the large one: a list of 20."""

SMALL_NAME, LARGE_NAME = 'benchmark-small', 'benchmark-large'


class Contender(abc.ABC):
    """A server to be measured.

    :param ground: what it stands on
    :ivar image: the id of its large image
    """

    name: str
    processes: int
    """How many of its processes have loaded Glance."""

    kinds: tuple[str, ...] = ('api', 'bytes')
    """Which works it can do."""

    def __init__(self, ground: ground.Ground) -> None:
        self.ground = ground
        self.place = ground.place / self.name
        self.port = toolkit.free_port()
        self.url = f'http://127.0.0.1:{self.port}'
        self.image = ''

    @abc.abstractmethod
    def prepare(self) -> None:
        """Once in a run: files, database, images. It is not left running."""

    @abc.abstractmethod
    def start(self) -> None:
        """Start it; it may not answer yet."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Stop all of it."""

    @abc.abstractmethod
    def roots(self) -> list[psutil.Process]:
        """Its processes; their descendants may be left out."""

    def loaded(self) -> bool:
        """Whether all that will have Glance in them have it.

        One process may answer while others still load, or wait for their
        first request to do so.
        """
        found = measures.resident(self.roots())[: self.processes]
        return len(found) == self.processes and found[-1] > LOADED

    def ready_url(self) -> str:
        """What answers when it serves."""
        return f'{self.url}/healthcheck'

    def download_url(self) -> str:
        """Where the bytes of the large image are."""
        return f'{self.url}/v2/images/{self.image}/file'

    def images(self) -> api.Images:
        """Its API, with a new token."""
        return api.Images(self.url, self.ground.token())

    def _fill(self) -> None:
        """Let it have the images that everybody has."""
        self.start()
        try:
            api.wait(self.ready_url())
            images = self.images()
            for _ in range(SMALL):
                images.create(SMALL_NAME)
            self.image = images.create(LARGE_NAME)
            images.upload(self.image, self.ground.file)
            (stored,) = self.place.rglob(self.image)
            self.ground.keep_once(stored)
        except BaseException:
            print(f'{self.name} says:\n{self.said()}', file=sys.stderr)
            raise
        finally:
            self.stop()

    def said(self) -> str:
        """The end of its logs."""
        found = [
            programs.read_from(path, 0)[-2000:]
            for path in sorted(self.place.rglob('*.log'))
        ]
        return '\n'.join(found)


class Ours(Contender):
    """A deployment that "glance-wsgi up" has made."""

    def prepare(self) -> None:
        self.deployed = toolkit.Deployed(self.place)
        self.deployed.port = self.port
        self.deployed.write_own_settings(
            f'[keystone_authtoken]\ntoken_cache_time = {KNOWN}\n'
        )
        self.ground.callback(self.deployed.purge)
        self.database, url = self.ground.database()
        options = self.ground.place / f'{self.name}.conf'
        options.touch(0o600)
        options.write_text(f'[deployment]\ndatabase = {url}\n')
        self.deployed.up(
            f'--config-file={options}',
            f'--keystone={self.ground.keystone}',
            f'--server={self.name}',
            f'--service-user={self.name}',
            f'--region={self.name}',
            env=self.ground.administrator(),
        )
        self._deployment = Deployment(self.place)
        self._server = servers.load(self._deployment)
        self.processes = self._deployment.workers
        self.stop()
        self._fill()

    def start(self) -> None:
        self._server.start(applications.of(self._deployment))

    def stop(self) -> None:
        # Killed: what slow clients have begun would take minutes to finish.
        self._server.stop(0)

    def roots(self) -> list[psutil.Process]:
        return [process for _, process in self._server.processes()]


class UWSGI(Ours):
    name = 'uwsgi'


class ApacheUWSGI(Ours):
    name = 'apache-uwsgi'


class ModWSGI(Ours):
    name = 'mod_wsgi'


class Program(Contender):
    """One that is a command, which runs until it is told to stop."""

    _running: subprocess.Popen | None = None
    as_root = False
    """Whether it starts as whoever runs the benchmark, and gives that up."""

    @abc.abstractmethod
    def command(self) -> list[str | pathlib.Path]:
        """The program and its arguments."""

    def environment(self) -> dict[str, str]:
        """Its own variables."""
        return {}

    def start(self) -> None:
        with (self.place / 'output.log').open('a') as output:
            self._running = subprocess.Popen(
                self.command(),
                env=programs.environment(self.place, self.environment()),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd='/',
                start_new_session=True,
                **({} if self.as_root else self._user),
            )

    @property
    def _user(self) -> dict:
        return self.ground.user.popen_arguments()

    def stop(self) -> None:
        if self._running is not None:
            measures.kill(self.roots(), 10)
            self._running.wait()
            self._running = None

    def roots(self) -> list[psutil.Process]:
        if self._running is None or self._running.poll() is not None:
            return []
        return [psutil.Process(self._running.pid)]


class Stock(Program):
    """Glance from PyPI, with a configuration as its documentation has it."""

    prefix = pathlib.Path(sys.prefix)
    """The virtualenv that it is in."""

    def prepare(self) -> None:
        self.place.mkdir()
        self.ground.give(self.place)
        for name in ('store', 'staging', 'tasks', 'locks'):
            path = self.place / name
            path.mkdir(0o700)
            self.ground.give(path)
        self.database, url = self.ground.database()
        self.config = self.place / 'glance-api.conf'
        self.config.touch(0o600)
        self.config.write_text(
            (SETTINGS / 'glance-api.conf')
            .read_text()
            .format(
                place=self.place,
                port=self.port,
                processes=self.processes,
                prefix=self.prefix,
                database=url,
                keystone=self.ground.keystone,
                password=self.ground.glance_password,
                known=KNOWN,
            )
        )
        self.ground.give(self.config)
        subprocess.run(
            [
                self.prefix / 'bin' / 'glance-manage',
                f'--config-file={self.config}',
                'db',
                'sync',
            ],
            check=True,
            capture_output=True,
            cwd='/',
            **self._user,
        )
        self.configure()
        self._fill()

    def configure(self) -> None:
        """Write what the server reads."""

    def environment(self) -> dict[str, str]:
        return {'OS_GLANCE_CONFIG_DIR': str(self.place)}

    def _template(self, name: str, **more: object) -> pathlib.Path:
        """A file of its own, from one of `SETTINGS`."""
        path = self.place / name
        text = (SETTINGS / name).read_text()
        values = {
            'place': self.place,
            'port': self.port,
            'processes': self.processes,
            'prefix': self.prefix,
            'user': self.ground.user.name,
        }
        path.write_text(text % (values | more))
        return path


class PublishedUWSGI(Stock):
    """uWSGI alone, by an ini file that is published."""

    processes = CPUS
    sample: pathlib.Path

    # Where something is, and as whom it runs, is no matter of speed. uWSGI
    # from PyPI has its plugins in it.
    machine = (
        *('plugins', 'plugins-dir', 'virtualenv', 'uid', 'gid', 'logto2'),
        *('wsgi-file', 'module', 'http-socket'),
    )

    def configure(self) -> None:
        published = configparser.ConfigParser(interpolation=None)
        published.read_string(self.sample.read_text())
        settings = dict(published['uwsgi'])
        if settings['processes'].isdigit():
            self.processes = int(settings['processes'])
        lines = [
            '[uwsgi]',
            *(
                f'{name} = {value}'
                for name, value in settings.items()
                if name not in self.machine
            ),
            f'http-socket = 127.0.0.1:{self.port}',
            f'home = {self.prefix}',
            'module = glance.wsgi.api:application',
        ]
        (self.place / 'uwsgi.ini').write_text('\n'.join(lines) + '\n')

    def command(self) -> list[str | pathlib.Path]:
        program = self.prefix / 'bin' / 'uwsgi'
        return [program, '--ini', self.place / 'uwsgi.ini']


class Devstack(PublishedUWSGI):
    """https://opendev.org/openstack/devstack: lib/apache, lib/glance."""

    name = 'devstack'
    sample = SAMPLES / 'devstack-uwsgi.ini'


class Docs(PublishedUWSGI):
    """https://docs.openstack.org/glance/latest/admin/apache-httpd.html"""

    name = 'glance-docs'
    sample = SETTINGS / 'glance-docs-uwsgi.ini'


class Kolla(PublishedUWSGI):
    """https://opendev.org/openstack/kolla-ansible: roles/glance."""

    name = 'kolla-ansible'
    sample = SAMPLES / 'kolla-uwsgi.ini'


class PlainModWSGI(Stock):
    """A daemon process group, as Glance's documentation shows one.

    https://docs.openstack.org/glance/latest/admin/apache-httpd.html
    """

    name = 'plain-mod_wsgi'
    processes = 4
    as_root = True
    modules = pathlib.Path('/usr/lib/apache2/modules')

    def configure(self) -> None:
        self._template('application.wsgi')
        user = self.ground.user.name
        self._template(
            'plain-mod_wsgi.conf',
            modules=self.modules,
            account='' if os.geteuid() else f'user={user} group={user}',
        )

    def command(self) -> list[str | pathlib.Path]:
        config = self.place / 'plain-mod_wsgi.conf'
        return ['/usr/sbin/apache2', '-f', config, '-D', 'FOREGROUND']


class Gunicorn(Stock):
    """With threads, as its documentation counts processes and threads.

    https://docs.gunicorn.org/en/stable/design.html#how-many-workers
    https://docs.gunicorn.org/en/stable/settings.html#threads
    """

    name = 'gunicorn'
    processes = 2 * CPUS + 1

    def command(self) -> list[str | pathlib.Path]:
        return [
            self.prefix / 'bin' / 'gunicorn',
            '--worker-class=gthread',
            f'--workers={self.processes}',
            f'--threads={2 * CPUS}',
            f'--bind=127.0.0.1:{self.port}',
            'glance.wsgi.api:application',
        ]


class Eventlet(Stock):
    """The server that Glance had until its version 32, of Glance 30.

    It is in a virtualenv of its own, with the libraries of its series; that
    is kept, inside this one, for the next run.
    """

    name = 'eventlet'
    processes = CPUS
    prefix = pathlib.Path(sys.prefix, 'glance30')
    series = '2025.1'

    def prepare(self) -> None:
        if not (self.prefix / 'installed').exists():
            self._install()
        super().prepare()

    def _install(self) -> None:
        # As tools/up.sh does it, with another series.
        script = (
            f'. {TOP}/tools/common.sh && choose_place && new_venv "$1" && '
            'install "$1/bin/python" "$2" -q glance PyMySQL'
        )
        python = pathlib.Path(sys.executable).resolve()
        subprocess.run(
            ['bash', '-c', script, self.name, self.prefix, self.series],
            check=True,
            env={**os.environ, 'PYTHON': str(python)},
        )
        (self.prefix / 'installed').touch()

    def command(self) -> list[str | pathlib.Path]:
        program = self.prefix / 'bin' / 'glance-api'
        return [program, f'--config-file={self.config}']


class Limit(Program):
    """What this machine can do at most: no Python, no authorisation.

    nginx sends the file, and a work of its own writes and hashes it.
    """

    name = 'limit'
    processes = CPUS
    kinds = ('bytes', 'limit')
    as_root = True

    def prepare(self) -> None:
        self.place.mkdir()
        config = (SETTINGS / 'nginx.conf').read_text()
        user = '' if os.geteuid() else f'user {self.ground.user.name};'
        values = {
            'place': self.place,
            'port': self.port,
            'processes': self.processes,
            'root': self.ground.place,
            'user': user,
        }
        (self.place / 'nginx.conf').write_text(config % values)

    def command(self) -> list[str | pathlib.Path]:
        config = self.place / 'nginx.conf'
        error_log = self.place / 'nginx.log'
        return ['/usr/sbin/nginx', '-c', config, '-e', error_log]

    def download_url(self) -> str:
        return f'{self.url}/{self.ground.file.name}'

    def ready_url(self) -> str:
        return self.download_url()


ALL: dict[str, type[Contender]] = {
    contender.name: contender
    for contender in (
        *(UWSGI, ApacheUWSGI, ModWSGI),
        *(Devstack, Docs, Kolla, PlainModWSGI, Gunicorn, Eventlet),
        Limit,
    )
}

OURS = tuple(
    name for name, contender in ALL.items() if issubclass(contender, Ours)
)
