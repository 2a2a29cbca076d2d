"""uWSGI alone: an Emperor that supervises one vassal for each application.

https://uwsgi-docs.readthedocs.io/en/latest/Emperor.html

The program is the ``uwsgi`` binary that PyPI's package "uWSGI" compiles. Its
sibling "pyuwsgi" is an extension module: on reload it executes the base
Python again, outside the virtualenv, and the service is gone.
"""

import hashlib
import pathlib
import signal
import subprocess
import time

import psutil

from glance_wsgi import deployment
from glance_wsgi import errors
from glance_wsgi import processes
from glance_wsgi import programs
from glance_wsgi import servers
from glance_wsgi import state
from glance_wsgi import upstream
from glance_wsgi.applications import Application
from glance_wsgi.render import File

SOMAXCONN = pathlib.Path('/proc/sys/net/core/somaxconn')
LISTEN_QUEUE = 1024

# What uWSGI logs when a worker could not load the application.
_NO_APPLICATION = 'no app loaded. GAME OVER'

_START_TIMEOUT = 10.0  # seconds until the Emperor's pid file is there
_ORPHAN_TIMEOUT = 10.0  # seconds in which orphans of a crash end themselves


class UWSGI(servers.Server):
    """See the module."""

    name = 'uwsgi'

    def __init__(self, deployed: deployment.Deployment) -> None:
        super().__init__(deployed)
        self._said_before: dict[str, int] = {}

    @property
    def _program(self) -> pathlib.Path:
        return programs.program('uwsgi')

    @property
    def _emperor_ini(self) -> pathlib.Path:
        return self.deployment.state.etc / 'uwsgi-emperor.ini'

    def _pidfile(self, name: str) -> pathlib.Path:
        return self.deployment.state.run / f'{name}.pid'

    def _started(self, name: str) -> pathlib.Path:
        return self.deployment.state.run / f'{name}.started'

    def _vassal_ini(self, name: str) -> pathlib.Path:
        return self.deployment.state.vassals / f'{name}.ini'

    def log(self, application: Application) -> pathlib.Path:
        return self.deployment.state.log / f'{application.name}.log'

    def version(self) -> str:
        try:
            result = subprocess.run(
                [self._program, '--version'],
                capture_output=True,
                text=True,
                check=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise errors.ServerMissing(
                f"{self._program} can't be run: {error}.",
                'Install uWSGI 2.0.30 or newer from PyPI into this '
                'virtualenv.',
            ) from error
        return result.stdout.strip()

    def files(self, applications: tuple[Application, ...]) -> list[File]:
        return [
            self._emperor_file(),
            *(self._vassal_file(application) for application in applications),
        ]

    def _emperor_file(self) -> File:
        return File(
            path=self._emperor_ini,
            template='uwsgi-emperor.ini.j2',
            variables={
                'vassals': self.deployment.state.vassals,
                'pidfile': self._pidfile('emperor'),
                'log': self.deployment.state.log / 'emperor.log',
                'mercy': self.deployment.conf.server.task_mercy,
            },
            owner=state.Owner.myself(),
        )

    def _vassal_file(self, application: Application) -> File:
        options = self.deployment.conf.server
        return File(
            path=self._vassal_ini(application.name),
            template='uwsgi-app.ini.j2',
            variables={
                'name': application.name,
                'module': application.module,
                'environment': application.environment,
                'digest': _digest(application.files),
                'virtualenv': self.deployment.python.parent.parent,
                'listen': application.listen,
                'listen_queue': min(LISTEN_QUEUE, int(SOMAXCONN.read_text())),
                'processes': application.processes,
                'threads': application.threads,
                'pidfile': self._pidfile(application.name),
                'started': self._started(application.name),
                'log': self.log(application),
                'client_timeout': options.client_timeout,
                'chunk_limit': options.chunk_limit,
                'mercy': options.task_mercy,
            },
            owner=state.Owner.myself(),
        )

    def _process(self, name: str) -> psutil.Process | None:
        owner = self.deployment.user.owner
        if owner is None:
            return None
        return processes.from_pidfile(self._pidfile(name), owner.uid)

    def _vassal_names(self) -> list[str]:
        return sorted(
            path.stem for path in self.deployment.state.vassals.glob('*.ini')
        )

    def start(self, applications: tuple[Application, ...]) -> bool:
        self._said_before = {
            item.name: _size(self.log(item)) for item in applications
        }
        self._remove_vassals_but({item.name for item in applications})
        emperor = self._process('emperor')
        if emperor is not None:
            if not self._emperor_outdated(emperor):
                return False
            self.stop(self.deployment.conf.server.task_mercy)
        self._clear_orphans()
        self._spawn()
        return True

    def _remove_vassals_but(self, wanted: set[str]) -> None:
        # The Emperor stops an application whose file is gone.
        for name in set(self._vassal_names()) - wanted:
            self._vassal_ini(name).unlink()

    def _emperor_outdated(self, emperor: psutil.Process) -> bool:
        changed = self._emperor_ini.stat().st_mtime
        return bool(changed > emperor.create_time() + processes.CLOCK_SLACK)

    def _clear_orphans(self) -> None:
        # After the Emperor has been killed its vassals end by themselves,
        # but not at once, and until then they hold the port.
        orphans = [process for _, process in self.processes()]
        processes.kill(processes.wait(orphans, _ORPHAN_TIMEOUT))

    def _spawn(self) -> None:
        log = self.deployment.state.log / 'emperor.log'
        subprocess.Popen(
            [self._program, '--ini', self._emperor_ini],
            cwd='/',
            env=programs.environment(self.deployment.state.run),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            umask=0o077,
            **self.deployment.user.popen_arguments(),
        )
        deadline = time.monotonic() + _START_TIMEOUT
        while self._process('emperor') is None:
            if time.monotonic() > deadline:
                raise errors.NotReady(
                    'The uWSGI Emperor did not start.', f'See {log}.'
                )
            time.sleep(0.02)

    def settled(self, application: Application) -> bool:
        vassal = self._process(application.name)
        if vassal is None:
            return False
        try:
            started = self._started(application.name).stat().st_mtime
        except FileNotFoundError:
            return False
        return started >= self._vassal_ini(application.name).stat().st_mtime

    def complaint(self, application: Application) -> str | None:
        # What it said in earlier starts may have been mended since.
        said = self._said_before.get(application.name, 0)
        try:
            with self.log(application).open(errors='replace') as file:
                file.seek(said)
                text = file.read()
        except OSError:
            return None
        if _NO_APPLICATION not in text:
            return None
        return programs.complaint(text)

    def stop(self, timeout: float) -> list[psutil.Process]:
        everything = [process for _, process in self.processes()]
        if not timeout:
            return self._kill(everything)
        emperor = self._process('emperor')
        self._ask_to_end(emperor)
        vassals = [process for process in everything if process != emperor]
        left = processes.wait(vassals, timeout)
        if left:
            raise _not_stopped(
                left,
                f'After {timeout:.0f} s they still have requests or imports '
                'to finish.',
            )
        if emperor is not None:
            # It looks after its vassals once a second and takes one off its
            # list each time. They are gone: there is nothing to wait for.
            processes.kill([emperor])
            self._pidfile('emperor').unlink(missing_ok=True)
        return everything

    def _kill(self, everything: list[psutil.Process]) -> list[psutil.Process]:
        # The Emperor first, which would start again what dies before it.
        emperor = self._process('emperor')
        if emperor is not None:
            processes.kill([emperor])
        left = processes.kill(everything)
        if left:
            raise _not_stopped(left, 'They do not even end when killed.')
        return everything

    def _ask_to_end(self, emperor: psutil.Process | None) -> None:
        if emperor is not None:
            emperor.send_signal(signal.SIGTERM)
            return
        # Without an Emperor the vassals are ending already; the signal is
        # for one that is not.
        for name in self._vassal_names():
            vassal = self._process(name)
            if vassal is not None:
                vassal.send_signal(signal.SIGINT)

    def processes(self) -> list[tuple[str, psutil.Process]]:
        found: dict[int, tuple[str, psutil.Process]] = {}
        for name in self._vassal_names():
            vassal = self._process(name)
            if vassal is not None:
                for process in processes.family(vassal):
                    role = 'master' if process.pid == vassal.pid else 'worker'
                    found[process.pid] = (f'{name} {role}', process)
        emperor = self._process('emperor')
        if emperor is not None:
            for process in processes.family(emperor):
                found.setdefault(process.pid, ('emperor', process))
        return list(found.values())


def _not_stopped(
    left: list[psutil.Process], why: str
) -> errors.GlanceWSGIError:
    numbers = ', '.join(str(process.pid) for process in left)
    return errors.NotStopped(
        f'Processes {numbers} have not ended. {why}',
        'Wait and try again, or give --timeout 0 to kill them.',
    )


def _size(file: pathlib.Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _digest(files: tuple[File, ...]) -> str:
    digest = hashlib.sha256(upstream.fingerprint().encode())
    for file in files:
        digest.update(file.path.read_bytes())
    return digest.hexdigest()
