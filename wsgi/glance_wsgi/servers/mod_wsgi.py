"""Apache with mod_wsgi: each application in daemon processes of its own.

https://modwsgi.readthedocs.io/en/develop/

Apache kills its daemon processes three seconds after it has told them to end,
whenever it reads its files again or stops (apr_pool_note_subprocess). So
neither is used to get rid of what still works: daemon processes are told to
end directly and take the time that they need, and Apache starts new ones.
"""

import fcntl
import importlib.util
import pathlib
import signal
import sys
import time
from functools import cached_property
from typing import Any

import psutil

from glance_wsgi import applications as apps
from glance_wsgi import errors
from glance_wsgi import platforms
from glance_wsgi import processes
from glance_wsgi import programs
from glance_wsgi import servers
from glance_wsgi import size
from glance_wsgi import state
from glance_wsgi.applications import Application
from glance_wsgi.render import File
from glance_wsgi.servers import apache
from glance_wsgi.servers import apache_children
from glance_wsgi.servers import system

# How a daemon process shows itself: display-name=%{GROUP} in the template. It
# has as much room for that as the path of Apache's program had.
_TITLE = '(wsgi:{name})'

# What is logged when an application could not be loaded.
_NOT_LOADED = 'Failed to exec Python script file'

_LOOK = 0.05  # seconds between two looks for a quiet moment


class ModWSGI(servers.Server):
    """See the module."""

    name = 'mod_wsgi'

    @cached_property
    def parts(self) -> tuple[servers.Part, ...]:
        return (self._daemons,)

    @cached_property
    def _daemons(self) -> 'Daemons':
        if self.deployment.places.system:
            return SystemDaemons(self.deployment)
        return Daemons(self.deployment)

    def log(self, application: Application) -> pathlib.Path:
        return self._daemons.error_log

    def check(self) -> None:
        apache.check_locations(self.deployment)


class Daemons(apache.Apache):
    """The Apache that has the daemon processes."""

    def version(self) -> str:
        return f'{super().version()}, mod_wsgi {self._module.name}'

    @cached_property
    def _module(self) -> pathlib.Path:
        chosen = self.deployment.conf.server.mod_wsgi
        if chosen:
            return _existing(pathlib.Path(chosen), '--mod-wsgi')
        return _of_virtualenv() or _of_distribution(self.installed)

    def site_file(self, applications: servers.Applications) -> File:
        server = self.deployment.conf.server
        return File(
            path=self.site,
            template='mod_wsgi.conf.j2',
            variables={
                **self.site_variables(applications),
                'module': self._module,
                'run': self.places.run,
                'virtualenv': self.deployment.python.parent.parent,
                # Where Apache is root itself, as the system's is.
                'user': self.places.daemon_user,
                'user_group': self.deployment.user.group,
                'shared': self.places.system,
                'listen_queue': size.LISTEN_QUEUE,
                'mercy': server.task_mercy,
            },
            owner=state.Owner.myself(),
        )

    def application_variables(
        self, application: Application
    ) -> dict[str, Any]:
        return {
            'name': application.name,
            'path': application.path,
            'processes': application.processes,
            'threads': application.threads,
            'script': application.script,
            'directory': application.script.parent,
            'file': application.script.name,
            'hand_off': self.hand_off(application),
        }

    def workers(self, application: Application) -> list[psutil.Process]:
        parent = self.parent()
        if parent is None:
            return []
        title = self._title(application.name)
        return [
            child
            for child in processes.children(parent)
            if processes.title(child).startswith(title)
        ]

    def _title(self, name: str) -> str:
        room = len(str(self.installed.program))
        return _TITLE.format(name=name)[:room]

    def renew(
        self, application: Application, old: list[psutil.Process]
    ) -> None:
        # The oldest one first, and no other before it has been replaced: the
        # rest serves. Being told twice does a process no harm.
        old = sorted(old, key=lambda item: (item.create_time(), item.pid))
        if self._all_loaded(application):
            processes.send(old[0], signal.SIGTERM)

    def _all_loaded(self, application: Application) -> bool:
        workers = self.workers(application)
        if len(workers) < application.processes:
            return False
        # Each touches the file once it has loaded the application.
        try:
            loaded = application.ready.stat().st_mtime
        except FileNotFoundError:
            return False
        return all(servers.began_before(worker, loaded) for worker in workers)

    def settled(self, application: Application) -> bool:
        script = application.script.stat().st_mtime
        workers = self.workers(application)
        return (
            super().settled(application)
            and self._all_loaded(application)
            and not any(servers.began_before(item, script) for item in workers)
        )

    def complaint(self, application: Application) -> str | None:
        text = programs.read_from(self.error_log, self.said_before)
        return programs.complaint(text) if _NOT_LOADED in text else None

    def awaited(self, applications: servers.Applications) -> list[str]:
        if self.parent() is None or self._is_loaded():
            return []
        if self._quiet():
            return []
        return [
            'apache: waits for a moment without transfers or imports, for '
            f'{self.deployment.conf.server.task_mercy} s at most'
        ]

    def load_files(self, applications: servers.Applications) -> None:
        # See the module: what takes longer than three seconds would be cut.
        try:
            self.wait_until_quiet()
            super().load_files(applications)
        except errors.NotStopped as error:
            error.outcome = 'The new files are there, and not in use yet.'
            raise

    def tell_to_read(self, parent: psutil.Process) -> None:
        while not apache_children.replace(parent, self._quiet):
            self.wait_until_quiet()

    def _quiet(self) -> bool:
        """Whether no transfer and no import runs just now."""
        return _wait_for_quiet(self.places.run, 0)

    def wait_until_quiet(self) -> None:
        timeout = self.deployment.conf.server.task_mercy
        if not _wait_for_quiet(self.places.run, timeout):
            raise errors.NotStopped(
                f'In {timeout} s there was no moment without a transfer or '
                'an import, which a change of the vhost would cut off.',
                'Try again, or stop and start: "glance-wsgi down" lets all '
                'of them finish, and so does a stop of the service.',
                'It all goes on.',
            )

    def finish(
        self, everything: list[psutil.Process], timeout: float
    ) -> list[psutil.Process]:
        deadline = time.monotonic() + timeout
        # Apache closes its sockets, then waits for its children; for at least
        # a second, in which it is made to stand still, so that it neither
        # replaces nor kills the daemon processes while they finish. It goes
        # on only when they have.
        parent = self.close()
        if parent is not None:
            processes.send(parent, signal.SIGSTOP)
            daemons = [
                child
                for child in processes.children(parent)
                if processes.title(child).startswith('(wsgi:')
            ]
            processes.ask_to_end(daemons)
            left = processes.wait_telling_again(
                daemons, timeout, processes.ask_to_end
            )
            if left:
                return left
            processes.send(parent, signal.SIGCONT)
        # Apache itself looks once a second.
        moment = max(deadline - time.monotonic(), 3 * servers.MOMENT)
        return processes.wait(everything, moment)

    def role(self, process: psutil.Process) -> str:
        title = processes.title(process)
        if not title.startswith('(wsgi:'):
            return super().role(process)
        shown, whole, _ = title[len('(wsgi:') :].split()[0].partition(')')
        if not whole:
            for name in apps.names(self.deployment):
                shown = name if name.startswith(shown) else shown
        return f'{shown} worker'


class SystemDaemons(system.SystemApache, Daemons):
    """Those of the system's own Apache."""

    def check_installable(self) -> None:
        super().check_installable()
        # It is one for all sites; ours is not loaded beside another one.
        other = self.running_configuration.module('wsgi_module')
        if other and not (other.exists() and other.samefile(self._module)):
            raise errors.ServerRefuses(
                f'Apache loads {other}, which is not the mod_wsgi for '
                f'{self.deployment.python}, {self._module}.',
                'Disable that one ("a2dismod wsgi"), or name it in '
                '--mod-wsgi.',
            )

    @property
    def unit_command(self) -> str:
        return f'{self.deployment.python} -m glance_wsgi.cmd.unit'


def _wait_for_quiet(run: pathlib.Path, timeout: float) -> bool:
    """Wait for a moment in which no transfer and no import runs.

    Whatever runs one holds a shared lock on its application's busy file:
    `glance_wsgi.lifecycle`.
    """
    deadline = time.monotonic() + timeout
    files = list(run.glob('*.busy'))
    while not all(_is_quiet(file) for file in files):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK)
    return True


def _is_quiet(file: pathlib.Path) -> bool:
    try:
        # For writing: NFS lets nobody else lock it.
        with open(file, 'r+b', opener=programs.open_own) as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # it is gone, or was none that an application has made
        return True
    return True


def _existing(module: pathlib.Path, option: str) -> pathlib.Path:
    if not module.is_file():
        raise errors.ServerMissing(
            f'{module} of {option} is no file.',
            'Give the path of mod_wsgi.so, or leave the option out.',
        )
    return module


def _of_virtualenv() -> pathlib.Path | None:
    """The module of PyPI's package mod_wsgi, if it is installed."""
    found = importlib.util.find_spec('mod_wsgi')
    for place in (found and found.submodule_search_locations) or ():
        for module in pathlib.Path(place, 'server').glob('mod_wsgi-*.so'):
            return module
    return None


def _of_distribution(installed: platforms.Apache) -> pathlib.Path:
    """The distribution's module, which knows the distribution's Python."""
    module = installed.modules / 'mod_wsgi.so'
    ours = f'{sys.version_info.major}.{sys.version_info.minor}'
    versions = [
        path.name.rpartition('-')[2]
        for path in installed.modules.glob('mod_wsgi.so-*')
    ]
    fits = not versions or ours in versions
    if module.exists() and sys.base_prefix == '/usr' and fits:
        return module
    raise errors.ServerMissing(
        f'There is no mod_wsgi for {sys.base_prefix}, Python {ours}.',
        'Install the package "mod_wsgi" from PyPI into this virtualenv, or, '
        "for the distribution's own Python, "
        f'"{platforms.current().install} {installed.mod_wsgi}".',
    )
