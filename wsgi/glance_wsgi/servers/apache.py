"""An Apache of the deployment's own: what its two ways to host share.

https://httpd.apache.org/docs/2.4/stopping.html

It runs as the service user, beside any Apache that the system has, and reads
nothing of that one's configuration.
"""

import abc
import pathlib
import re
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import psutil

from glance_wsgi import applications as apps
from glance_wsgi import deployment
from glance_wsgi import errors
from glance_wsgi import platforms
from glance_wsgi import processes
from glance_wsgi import programs
from glance_wsgi import servers
from glance_wsgi import size
from glance_wsgi import state
from glance_wsgi.applications import Application
from glance_wsgi.data import tickets
from glance_wsgi.render import File
from glance_wsgi.servers import sending

MODULES = (
    'mpm_event',
    'log_config',
    'unixd',
    'authz_core',
    'alias',
    'env',
    'headers',
    'setenvif',
    'reqtimeout',
)
TLS_MODULES = ('socache_shmcb', 'ssl')

XSENDFILE = 'xsendfile'
"""The module by which Apache sends the files that Glance names."""

_PLAIN = re.compile(r'[\w./+:@~=-]+', re.ASCII)

_START_TIMEOUT = 20.0  # seconds until the pid file is there
_ORPHAN_TIMEOUT = 5.0  # seconds in which children without a parent may end


class Apache(servers.Part):
    """See the module."""

    modules: tuple[str, ...] = ()
    """The modules that the site needs besides `MODULES`."""

    def __init__(self, deployed: deployment.Deployment) -> None:
        super().__init__(deployed)
        self.said_before = 0

    @abc.abstractmethod
    def site_file(self, applications: servers.Applications) -> File:
        """The file with the virtual hosts."""

    @property
    def installed(self) -> platforms.Apache:
        """Where this system has its Apache."""
        return platforms.current().apache

    @property
    def _conf(self) -> pathlib.Path:
        return self.places.etc / 'apache' / 'apache.conf'

    @property
    def site(self) -> pathlib.Path:
        """Where the virtual hosts are."""
        return self.places.etc / 'apache' / 'site.conf'

    @property
    def _pidfile(self) -> pathlib.Path:
        """Of its first process."""
        return self.places.run / 'apache.pid'

    @property
    def _session(self) -> pathlib.Path:
        return self.places.run / 'apache.session'

    @property
    def request_log(self) -> pathlib.Path:
        """The access log."""
        return self.places.log / 'access.log'

    @property
    def uid(self) -> int | None:
        """The user of its first process; None if that is yet to be made."""
        owner = self.deployment.user.owner
        return None if owner is None else owner.uid

    @property
    def listening(self) -> list[str]:
        """Addresses that it is told to listen on by others than us."""
        return []

    @property
    def error_log(self) -> pathlib.Path:
        """What Apache, and Python in it, have to say."""
        return self.places.log / 'apache.log'

    def version(self) -> str:
        package = self.installed.package
        try:
            said = subprocess.run(
                [self.installed.program, '-v'],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            raise errors.ServerMissing(
                f"{self.installed.program} can't be run: {error}.",
                f'Install the package {package} '
                f'("{platforms.current().install} {package}").',
            ) from error
        found = re.search(r'Apache/([\d.]+)', said)
        return f'apache {found[1] if found else said.strip()}'

    def files(self, applications: servers.Applications) -> list[File]:
        return [self._conf_file(applications), self.site_file(applications)]

    def _conf_file(self, applications: servers.Applications) -> File:
        capacity = sum(item.processes * item.threads for item in applications)
        tls = TLS_MODULES if self.deployment.encrypted else ()
        return File(
            path=self._conf,
            template='apache.conf.j2',
            variables={
                'run': self.places.run,
                'pidfile': self._pidfile,
                'server_name': self._server_name,
                'modules': (*self.all_modules, *tls),
                'modules_directory': self.installed.modules,
                'threads_per_child': size.THREADS_PER_CHILD,
                'children': size.apache_children(capacity),
                'listen_queue': size.LISTEN_QUEUE,
                'log': self.error_log,
                'site': self.site,
            },
            owner=state.Owner.myself(),
        )

    @property
    def all_modules(self) -> tuple[str, ...]:
        """The modules that it needs, besides those for TLS."""
        sends = (XSENDFILE,) if self.sends else ()
        return (*MODULES, *self.modules, *sends)

    @property
    def sends(self) -> bool:
        """Whether it is to send image data by itself, and can."""
        module = self.installed.modules / f'mod_{XSENDFILE}.so'
        wanted = self.deployment.conf.transfers.hand_off_downloads
        return wanted and module.exists()

    def hand_off(self, application: Application) -> dict[str, Any] | None:
        """Which files Apache sends for an application; None for none."""
        # They are told to the application, separated by blanks.
        named = [
            str(path)
            for path in application.data
            if _PLAIN.fullmatch(str(path))
        ]
        if not named or not self.sends:
            return None
        who = self.places.socket_group or sending.SAME_USER
        return {
            'words': ' '.join([who, *named]),
            'directories': [f'{path}/{tickets.DIRECTORY}' for path in named],
        }

    @property
    def _server_name(self) -> str:
        # Nothing depends on it, since each address has one virtual host; an
        # IPv6 address is not allowed to be one.
        host = self.deployment.conf.deployment.public_host
        host = host or self.deployment.listen.host
        return 'localhost' if ':' in host else host

    def site_variables(
        self, applications: servers.Applications
    ) -> dict[str, Any]:
        """What the virtual hosts of both ways have in common."""
        server = self.deployment.conf.server
        redirect = self.deployment.redirect_listen
        return {
            'sites': _sites(applications, self.application_variables),
            'server_name': self._server_name,
            'tls': self.deployment.tls,
            'redirect': redirect
            and {
                'listen': str(redirect),
                'target': self.deployment.endpoint.removesuffix(
                    self.deployment.path
                ),
            },
            'client_timeout': server.client_timeout,
            'answer_timeout': server.answer_timeout,
            'access_log': server.access_log,
            'error_log': self.error_log,
            'request_log': self.request_log,
            'listening': self.listening,
        }

    @abc.abstractmethod
    def application_variables(
        self, application: Application
    ) -> dict[str, Any]:
        """What the virtual host needs to know of an application."""

    def test(self, applications: servers.Applications) -> None:
        result = self._control('-t')
        if result.returncode:
            raise errors.ServerRefuses(
                f'Apache refuses {self.site}: {said(result)}.',
                'Correct what it names.',
            )

    def _control(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run Apache's program with our files, as who will serve."""
        return subprocess.run(
            [self.installed.program, '-f', self._conf, *words],
            cwd='/',
            env=programs.environment(self.places.run),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors='replace',
            umask=0o077,
            **self.deployment.user.popen_arguments(),
        )

    def parent(self) -> psutil.Process | None:
        """Apache's first process, which starts all others."""
        if self.uid is None:
            return None
        # Apache removes its own pid file as soon as it begins to end.
        return processes.remembered(
            self._session, self.uid
        ) or processes.from_pidfile(self._pidfile, self.uid)

    def start(self, applications: servers.Applications) -> bool:
        self._let_it_end()
        if self.parent() is not None:
            if self._is_loaded():
                return False
            self.test(applications)
            self.load_files(applications)
            return True
        self.said_before = programs.size(self.error_log)
        orphans = [process for _, process in self.processes()]
        processes.terminate(orphans, _ORPHAN_TIMEOUT)
        self._spawn()
        self._wait(self._is_loaded, 'did not start')
        return True

    def _let_it_end(self) -> None:
        # A "down" did not wait for all that has begun.
        parent = self.parent()
        if parent is not None and not processes.listening(parent):
            self.stop(self.deployment.conf.server.task_mercy)

    def _spawn(self) -> None:
        """Start its first process."""
        # It detaches itself once it has read its files and bound its sockets,
        # or ends with what is wrong.
        # One that a crash has left may have the number of another process.
        self._pidfile.unlink(missing_ok=True)
        result = self._control('-k', 'start')
        if result.returncode:
            raise errors.NotReady(
                f'Apache did not start: {said(result)}.',
                f'See {self.error_log}.',
            )
        self._wait(lambda: self.parent() is not None, 'did not start')
        parent = self.parent()
        if parent is not None:
            processes.remember(self._session, parent)

    def _wait(self, happened: Callable[[], bool], what: str) -> None:
        """Wait for something that Apache does.

        :raises errors.NotReady: it does not
        """
        deadline = time.monotonic() + _START_TIMEOUT
        while not happened():
            if time.monotonic() > deadline:
                raise errors.NotReady(
                    f'Apache {what}.', f'See {self.error_log}.'
                )
            time.sleep(0.02)

    @property
    def own_files(self) -> tuple[pathlib.Path, ...]:
        """What it reads of ours when it is told to."""
        return (self._conf, self.site)

    def _is_loaded(self) -> bool:
        if self.parent() is None:
            return False
        read = self._read_at()
        files = (*self.own_files, *self.deployment.certificate_files)
        return all(read >= file.stat().st_mtime_ns for file in files)

    def _read_at(self) -> int:
        """When it has read its files, in nanoseconds; 0 if it has ended."""
        # It writes its pid file anew each time, and removes it at the end.
        try:
            return self._pidfile.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def load_files(self, applications: servers.Applications) -> None:
        """Let the running Apache read its files again.

        Its children finish the requests that they have.
        """
        parent = self.parent()
        if parent is not None:
            self.let_read(parent, self._is_loaded)

    def let_read(
        self, parent: psutil.Process, happened: Callable[[], bool]
    ) -> None:
        """Tell its first process to read its files again: apachectl graceful.

        :param happened: whether it has
        """
        self.tell_to_read(parent)
        self._wait(happened, 'did not read its files again')

    def tell_to_read(self, parent: psutil.Process) -> None:
        """Tell it so, without a look at whether it does."""
        processes.send(parent, signal.SIGUSR1)

    def renew(
        self, application: Application, old: list[psutil.Process]
    ) -> None:
        """Nothing: its processes have no application in them."""

    def workers(self, application: Application) -> list[psutil.Process]:
        return []

    def settled(self, application: Application) -> bool:
        return self._is_loaded()

    def complaint(self, application: Application) -> str | None:
        return None

    def stop(self, timeout: float) -> list[psutil.Process]:
        everything = [process for _, process in self.processes()]
        if timeout:
            left = self.finish(everything, timeout)
        else:
            left = processes.kill(everything)
        if left:
            raise servers.not_stopped(
                left,
                f'After {timeout:.0f} s they still have requests or imports '
                'to finish.',
                servers.STOP_ACTION,
            )
        for file in (self._pidfile, self._session):
            file.unlink(missing_ok=True)
        return everything

    def finish(
        self, everything: list[psutil.Process], timeout: float
    ) -> list[psutil.Process]:
        """Take no new requests, finish those that have begun, end.

        It may be asked for again.

        :param timeout: seconds
        :return: the processes that still have something to finish
        """
        self.close()
        return processes.wait(everything, timeout)

    def close(self) -> psutil.Process | None:
        """Have it take no new requests; its parent, if it still runs.

        It is told only once: at the second time it waits for its children no
        longer, but ends them (server/mpm/event/event.c, "shutdown_pending").
        """
        parent = self.parent()
        if parent is not None and processes.listening(parent):
            processes.send(parent, signal.SIGWINCH)
            processes.wait_until_deaf(parent)
        return parent

    def processes(self) -> list[tuple[str, psutil.Process]]:
        owner = self.deployment.user.owner
        if owner is None:
            return []
        return [
            (self.role(process), process)
            for process in processes.session(
                self._session, owner.uid, self.places.run
            )
        ]

    def role(self, process: psutil.Process) -> str:
        """What a process of this Apache is for."""
        parent = self.parent()
        return 'apache' if process == parent else 'apache child'


LONGEST_SOCKET = 107
"""Bytes that the path of a unix socket may have: unix(7)."""


def check_locations(deployed: deployment.Deployment) -> None:
    """Refuse two applications in the same place, and sockets nobody can bind.

    :raises errors.BadAddress: two are in one place
    :raises errors.StateNotReachable: the paths of the sockets are too long
    """
    # The longest name that mod_wsgi gives to one; ours are shorter.
    socket = deployed.places.run / 'mod_wsgi.4194304.99.9.sock'
    if len(bytes(socket)) > LONGEST_SOCKET:
        raise errors.StateNotReachable(
            f'The path {socket} is too long for a unix socket.',
            f'Choose a directory whose path has {LONGEST_SOCKET - 31} bytes '
            'or less.',
        )
    places = apps.locations(deployed)
    if twice := sorted({one for one in places if places.count(one) > 1}):
        listen, path = twice[0]
        raise errors.BadAddress(
            f'Two applications would be at {listen}{path or "/"}.',
            'Give each another port; for Glance and Keystone on one, --path '
            'and --keystone-path different paths.',
        )


def _sites(
    applications: servers.Applications, variables: Any
) -> list[dict[str, Any]]:
    """The virtual hosts: one for each address, with its applications."""
    sites: dict[str, dict[str, Any]] = {}
    for application in applications:
        site = sites.setdefault(
            application.listen,
            {'listen': application.listen, 'paths': [], 'applications': []},
        )
        site['applications'].append(variables(application))
        site['paths'].append(application.path)
    for site in sites.values():
        # Something at the root leaves nothing over that is not found.
        site['paths'] = site['paths'] if all(site['paths']) else []
        # The longest path first: the first that fits is taken.
        site['applications'].sort(key=lambda item: -len(item['path']))
    return list(sites.values())


def said(result: subprocess.CompletedProcess[str]) -> str:
    """What is wrong, as Apache says it."""
    lines = (result.stderr or result.stdout).strip().splitlines()
    wanted = [line for line in lines if 'Syntax OK' not in line]
    return ' '.join(wanted).rstrip('.') or f'exit code {result.returncode}'
