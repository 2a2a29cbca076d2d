"""uWSGI's Emperor, which supervises one vassal for each application.

https://uwsgi-docs.readthedocs.io/en/latest/Emperor.html

The program is the ``uwsgi`` binary that PyPI's package "uWSGI" compiles. Its
sibling "pyuwsgi" is an extension module: on reload it executes the base
Python again, outside the virtualenv, and the service is gone.
"""

import os
import pathlib
import re
import signal
import stat
import subprocess
import tempfile
import time
from typing import Any

import psutil

from glance_wsgi import deployment
from glance_wsgi import errors
from glance_wsgi import processes
from glance_wsgi import programs
from glance_wsgi import render
from glance_wsgi import servers
from glance_wsgi import size
from glance_wsgi import state
from glance_wsgi.applications import Application
from glance_wsgi.places import Places
from glance_wsgi.render import File

# What uWSGI logs first, and when a worker could not load the application.
_ATTEMPT = '*** Starting uWSGI'
_NO_APPLICATION = 'failed loading app in worker'

REDIRECT = 'redirect'
"""The vassal that leads people to HTTPS."""

_TEST_TIMEOUT = 30.0  # seconds for a start without serving
_START_TIMEOUT = 10.0  # seconds until the Emperor's pid file is there
_ORPHAN_TIMEOUT = 10.0  # seconds in which orphans of a crash end themselves


def socket(places: Places, application: Application) -> pathlib.Path:
    """Where Apache, in front, reaches an application."""
    return places.run / f'{application.name}.sock'


class Emperor(servers.Part):
    """See the module.

    :param behind: whether Apache is in front, which reaches the applications
        by unix sockets, encrypts and logs the requests
    """

    def __init__(
        self, deployed: deployment.Deployment, behind: bool = False
    ) -> None:
        super().__init__(deployed)
        self.behind = behind
        self._said_before: dict[str, int] = {}

    @property
    def _program(self) -> pathlib.Path:
        return programs.program('uwsgi')

    @property
    def _emperor_ini(self) -> pathlib.Path:
        """The Emperor's own configuration."""
        return self.places.etc / 'uwsgi-emperor.ini'

    def _pidfile(self, name: str) -> pathlib.Path:
        return self.places.run / f'{name}.pid'

    def _started(self, name: str) -> pathlib.Path:
        return self.places.run / f'{name}.started'

    def _vassal_ini(self, name: str) -> pathlib.Path:
        return self.vassals / f'{name}.ini'

    def _fifo(self, name: str) -> pathlib.Path:
        return self.places.run / f'{name}.fifo'

    @property
    def vassals(self) -> pathlib.Path:
        """The directory that the Emperor watches."""
        return self.places.vassals

    def log(self, name: str) -> pathlib.Path:
        """Where an application and its workers write."""
        return self.places.log / f'{name}.log'

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
        return f'uwsgi {result.stdout.strip()}'

    def files(self, applications: servers.Applications) -> list[File]:
        redirect = self.deployment.redirect_listen
        return [
            self._emperor_file(),
            *(self._vassal_file(application) for application in applications),
            *([self._redirect_file()] if redirect and not self.behind else ()),
        ]

    def _file(
        self, template: str, target: pathlib.Path, /, **variables: Any
    ) -> File:
        name = target.stem.removeprefix('uwsgi-')
        common = {
            'pidfile': self._pidfile(name),
            'started': self._started(name),
            'log': self.log(name),
            'listen_queue': size.listen_queue(size.somaxconn()),
        }
        return File(
            path=target,
            template=template,
            variables={**common, **variables},
            owner=state.Owner.myself(),
        )

    def _emperor_file(self) -> File:
        return self._file(
            'uwsgi-emperor.ini.j2',
            self._emperor_ini,
            vassals=self.vassals,
            mercy=self.deployment.conf.server.task_mercy,
        )

    def _redirect_file(self) -> File:
        return self._file(
            'uwsgi-redirect.ini.j2',
            self._vassal_ini(REDIRECT),
            listen=str(self.deployment.redirect_listen),
            # The root of the encrypted server, whatever path follows.
            target=self.deployment.endpoint.removesuffix(self.deployment.path),
        )

    def _vassal_file(self, application: Application) -> File:
        options = self.deployment.conf.server
        behind = self.behind
        return self._file(
            'uwsgi-app.ini.j2',
            self._vassal_ini(application.name),
            name=application.name,
            script=application.script,
            path=application.path,
            virtualenv=self.deployment.python.parent.parent,
            socket=socket(self.places, application)
            if behind
            else application.listen,
            socket_group=self.places.socket_group if behind else None,
            tls=None if behind else self.deployment.tls,
            processes=application.processes,
            threads=application.threads,
            offload=self._offloads(application),
            fifo=self._fifo(application.name),
            # Behind Apache the client is Apache, which waits for slow clients
            # itself and may be slow because of them.
            socket_timeout=(
                options.answer_timeout if behind else options.client_timeout
            ),
            chunk_limit=options.chunk_limit,
            mercy=options.task_mercy,
            access_log='none' if behind else options.access_log,
        )

    def _offloads(self, application: Application) -> bool:
        """Whether it may send image data by itself."""
        # Its offload threads can't encrypt; Apache in front does without.
        alone = not self.behind and self.deployment.tls is None
        return alone and bool(application.data)

    def test(self, applications: servers.Applications) -> None:
        # A start of each application's server, on sockets and with files that
        # nobody knows, and without the application: "no-server" ends it when
        # everything is set up.
        with tempfile.TemporaryDirectory() as directory:
            place = pathlib.Path(directory)
            owner = self.deployment.user.owner
            if owner is not None and not os.geteuid():
                os.chown(place, owner.uid, owner.gid)
            for file in self.files(applications):
                if self.places.is_vassal(file.path):
                    self._test(file, place)

    def _test(self, file: File, place: pathlib.Path) -> None:
        name = file.path.stem
        private = {
            'socket': place / f'{name}.sock',
            'listen': place / f'{name}.sock',
            'pidfile': place / f'{name}.pid',
            'started': place / f'{name}.started',
            'fifo': place / f'{name}.fifo',
            'log': place / f'{name}.log',
        }
        text = render.render(file.template, {**file.variables, **private})
        ini = place / file.path.name
        state.write_file(ini, text, state.Owner.myself(), mode=0o644)
        result = subprocess.run(
            [
                *('timeout', str(_TEST_TIMEOUT)),
                *(self._program, '--ini', ini, '--no-server'),
            ],
            cwd='/',
            env=programs.environment(place),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors='replace',
            **self.deployment.user.popen_arguments(),
        )
        if result.returncode:
            text = result.stderr + programs.read_from(private['log'], 0)
            # Its last words are about removing what it has not made.
            said = re.sub(r'^(unlink\(\)|VACUUM):.*\n?', '', text, flags=re.M)
            raise errors.ServerRefuses(
                f'uWSGI refuses {file.path}: {programs.complaint(said)}.',
                'Correct the option that it names.',
            )

    def _process(self, name: str) -> psutil.Process | None:
        owner = self.deployment.user.owner
        if owner is None:
            return None
        return processes.from_pidfile(self._pidfile(name), owner.uid)

    def _vassal_names(self) -> list[str]:
        return sorted(path.stem for path in self.vassals.glob('*.ini'))

    def start(self, applications: servers.Applications) -> bool:
        self._said_before = {
            item.name: programs.size(self.log(item.name))
            for item in applications
        }
        files = self.files(applications)
        self._remove_vassals_but({file.path.stem for file in files})
        emperor = self._process('emperor')
        if emperor is not None:
            if not self._emperor_outdated(emperor):
                return self._renew_certificates(applications)
            self.stop(self.deployment.conf.server.task_mercy)
        self._spawn()
        return True

    def _remove_vassals_but(self, wanted: set[str]) -> None:
        # The Emperor stops an application whose file is gone.
        for name in set(self._vassal_names()) - wanted:
            self._vassal_ini(name).unlink()

    def _emperor_outdated(self, emperor: psutil.Process) -> bool:
        """Whether the Emperor must be started again for its own files."""
        changed = self._emperor_ini.stat().st_mtime
        return servers.began_before(emperor, changed)

    def awaited(self, applications: servers.Applications) -> list[str]:
        emperor = self._process('emperor')
        if emperor is None:
            return []
        if self._emperor_outdated(emperor):
            who = 'nobody is served'
        elif any(map(self._still_ends, applications)):
            who = 'new requests wait'
        else:
            return []
        return [
            f'uwsgi: {who} until the transfers and imports in flight have '
            f'ended, for {self.deployment.conf.server.task_mercy} s at most'
        ]

    def _still_ends(self, application: Application) -> bool:
        """Whether a master from before its files of now has to end first."""
        master = self._process(application.name)
        if master is None:
            return False
        changed = max(
            file.stat().st_mtime
            for file in (
                self._vassal_ini(application.name),
                *self._certificate(),
            )
        )
        # A master that takes them over is the same process as before.
        return servers.began_before(
            master, changed
        ) and not self._started_after(application, changed)

    def _started_after(self, application: Application, moment: float) -> bool:
        try:
            return self._started(application.name).stat().st_mtime >= moment
        except FileNotFoundError:
            return False

    def _has_ini(self, application: Application) -> bool:
        ini = self._vassal_ini(application.name)
        return self._started_after(application, ini.stat().st_mtime)

    def _renew_certificates(self, applications: servers.Applications) -> bool:
        # A master reads them when it starts. The Emperor reloads it when its
        # file has been touched.
        old = [
            application
            for application in applications
            if self._process(application.name) is not None
            and not self._has_certificate(application)
        ]
        for application in old:
            os.utime(self._vassal_ini(application.name))
        return bool(old)

    def _has_certificate(self, application: Application) -> bool:
        return all(
            self._started_after(application, file.stat().st_mtime)
            for file in self._certificate()
        )

    def _certificate(self) -> list[pathlib.Path]:
        """What its masters read; empty where they serve plain HTTP."""
        return [] if self.behind else self.deployment.certificate_files

    def _clear_orphans(self) -> None:
        # After the Emperor has been killed its vassals end by themselves,
        # but not at once, and until then they hold the port.
        orphans = [process for _, process in self.processes()]
        processes.kill(processes.wait(orphans, _ORPHAN_TIMEOUT))

    def _spawn(self) -> None:
        """Start the Emperor, which starts the rest."""
        self._clear_orphans()
        log = self.log('emperor')
        subprocess.Popen(
            [self._program, '--ini', self._emperor_ini],
            cwd='/',
            env=programs.environment(self.places.run),
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

    def renew(
        self, application: Application, old: list[psutil.Process]
    ) -> None:
        # A chain reload: one worker after the other, each when the one before
        # it accepts requests again. Asked for while one is under way, it is
        # ignored.
        # https://uwsgi-docs.readthedocs.io/en/latest/MasterFIFO.html
        try:
            handle = programs.open_own(
                self._fifo(application.name), os.O_WRONLY, stat.S_ISFIFO
            )
        except OSError:  # nobody reads: it is ending, or not there yet
            return
        with open(handle, 'wb', buffering=0) as fifo:
            fifo.write(b'c')

    def workers(self, application: Application) -> list[psutil.Process]:
        return self._workers(application.name)

    def _workers(self, name: str) -> list[psutil.Process]:
        vassal = self._process(name)
        return [] if vassal is None else processes.children(vassal)

    def settled(self, application: Application) -> bool:
        workers = self.workers(application)
        if not workers:
            return False
        script = application.script.stat().st_mtime
        return self._has_ini(application) and not any(
            servers.began_before(worker, script) for worker in workers
        )

    def complaint(self, application: Application) -> str | None:
        # What it said in earlier starts may have been mended since.
        said = self._said_before.get(application.name, 0)
        text = programs.read_from(self.log(application.name), said)
        # An attempt that was on its way may have said its reason before, too.
        attempt = text.partition(_ATTEMPT)[2]
        if _NO_APPLICATION not in attempt:
            return None
        return programs.complaint(attempt)

    def stop(self, timeout: float) -> list[psutil.Process]:
        everything = [process for _, process in self.processes()]
        if not timeout:
            return self._kill(everything)
        emperor = self._process('emperor')
        self._ask_to_end(emperor)
        vassals = [process for process in everything if process != emperor]
        left = processes.wait_telling_again(
            vassals, timeout, self._tell_workers
        )
        if left:
            raise servers.not_stopped(
                left,
                f'After {timeout:.0f} s they still have requests or imports '
                'to finish.',
                servers.STOP_ACTION,
            )
        if emperor is not None:
            # It looks after its vassals once a second and takes one off its
            # list each time. They are gone: there is nothing to wait for.
            processes.kill([emperor])
            self._pidfile('emperor').unlink(missing_ok=True)
        self._clear_fifos()
        return everything

    def _tell_workers(self, left: list[psutil.Process]) -> None:
        # Their masters have told them once. What workers have started, such
        # as a conversion, must not be told: it would end at once.
        for name in self._vassal_names():
            for worker in self._workers(name):
                processes.send(worker, signal.SIGHUP)

    def _clear_fifos(self) -> None:
        # uWSGI's "vacuum" leaves them.
        for name in self._vassal_names():
            self._fifo(name).unlink(missing_ok=True)

    def _kill(self, everything: list[psutil.Process]) -> list[psutil.Process]:
        # The Emperor first, which would start again what dies before it.
        emperor = self._process('emperor')
        if emperor is not None:
            processes.kill([emperor])
        left = processes.kill(everything)
        if left:
            raise servers.not_stopped(
                left, 'They do not even end when killed.', servers.STOP_ACTION
            )
        return everything

    def _ask_to_end(self, emperor: psutil.Process | None) -> None:
        if emperor is not None:
            processes.send(emperor, signal.SIGTERM)
            return
        # Without an Emperor the vassals are ending already; the signal is
        # for one that is not.
        for name in self._vassal_names():
            vassal = self._process(name)
            if vassal is not None:
                processes.send(vassal, signal.SIGINT)

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
