"""The ways to host: one module each, found by name as stevedore plugins.

A way to host is made of parts, each of which is a program that we start:
uWSGI's Emperor, Apache. What a part needs, which files it renders, how these
are tested, how it starts, reloads without loss and stops, it knows itself.
"""

import abc
import contextlib
import dataclasses
import functools
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import psutil
from stevedore import extension

from glance_wsgi import checkpoint
from glance_wsgi import deployment
from glance_wsgi import errors
from glance_wsgi import processes
from glance_wsgi import stopping
from glance_wsgi.applications import Application
from glance_wsgi.places import Places
from glance_wsgi.render import File

NAMESPACE = 'glance_wsgi.servers'

Applications = tuple[Application, ...]


class Part(abc.ABC):
    """One program of a way to host."""

    def __init__(self, deployed: deployment.Deployment) -> None:
        self.deployment = deployed

    @property
    def places(self) -> Places:
        """Where its files are."""
        return self.deployment.places

    @abc.abstractmethod
    def version(self) -> str:
        """The program's name and version.

        :raises errors.ServerMissing: it is not installed
        """

    @abc.abstractmethod
    def files(self, applications: Applications) -> list[File]:
        """The configuration files that it needs, besides applications'."""

    @abc.abstractmethod
    def test(self, applications: Applications) -> None:
        """Have the program itself look at its files.

        :raises errors.ServerRefuses: it finds a mistake
        """

    @abc.abstractmethod
    def start(self, applications: Applications) -> bool:
        """Start what does not run; True if anything was started or changed.

        The files of `files` have been written before. What runs with older
        files is brought to take the new ones.
        """

    def awaited(self, applications: Applications) -> list[str]:
        """What the next `start` has to wait for, for people; most often
        nothing.
        """
        return []

    @abc.abstractmethod
    def renew(
        self, application: Application, old: list[psutil.Process]
    ) -> None:
        """Ask for new processes in place of old ones, one at a time.

        An old one finishes what it has begun. It is asked for again and
        again, as long as there are old ones.
        """

    @abc.abstractmethod
    def workers(self, application: Application) -> list[psutil.Process]:
        """The processes that have the application loaded; may be none."""

    @abc.abstractmethod
    def settled(self, application: Application) -> bool:
        """Whether it runs with its files, and those of the application, as
        they are now.
        """

    @abc.abstractmethod
    def complaint(self, application: Application) -> str | None:
        """What was said when the application could not start; or None."""

    @abc.abstractmethod
    def stop(self, timeout: float) -> list[psutil.Process]:
        """Stop everything that `start` started.

        :param timeout: seconds that running requests and imports may take; 0
            kills
        :return: the processes that have been stopped
        :raises errors.NotStopped: some still run
        """

    @abc.abstractmethod
    def processes(self) -> list[tuple[str, psutil.Process]]:
        """Its processes with what each one is for."""

    # What follows is for the system's places only: see `install`.

    started_by_root = False
    """Whether root starts it, so that it may have low ports and read keys
    that only root may read."""

    service = ''
    """The unit of systemd that it is."""

    def check_installable(self) -> None:  # noqa: B027 - most have none
        """Refuse what stands in the way in the system's places.

        :raises errors.GlanceWSGIError: the first such thing
        """

    def shared_ports(self) -> set[int]:
        """The ports that it has for others, too."""
        return set()

    def enabling(self) -> list['Enabling']:
        """What its files need to be used."""
        return []

    def start_files(self) -> set[pathlib.Path]:
        """Those of its files that are read when it starts, never later."""
        return set()

    def has_read_since(self, moment: int) -> bool:
        """Whether it has read its files since, or has ended.

        :param moment: nanoseconds, as files' times are
        """
        return False

    def revert(self) -> None:  # noqa: B027
        """Serve as the files say that were put back."""

    def wait_until_quiet(self) -> None:  # noqa: B027
        """Wait until nothing runs that `leave` would cut off.

        :raises errors.NotStopped: that is not within the mercy
        """

    def withdraw(self, before: checkpoint.Checkpoint) -> list[str]:
        """Put back what a program reads that is there for others, too.

        :param before: what was there before the first "install"
        :return: the modules that stay, since others have come to need some
        :raises errors.ServerRefuses: something of others' is broken
        """
        return []

    def leave(self) -> None:  # noqa: B027
        """Serve nothing any more."""


@dataclasses.dataclass(frozen=True)
class Enabling:
    """A command of the distribution's that enables something.

    :param marks: the paths that it makes
    :param ours: whether these are for our files only, and go with them
    """

    command: tuple[str, ...]
    marks: tuple[pathlib.Path, ...]
    ours: bool

    def done(self) -> bool:
        """Whether everything is there that it would make."""
        return all(os.path.lexists(mark) for mark in self.marks)


class Server(abc.ABC):
    """One way to host the applications of a deployment."""

    name: str

    def __init__(self, deployed: deployment.Deployment) -> None:
        self.deployment = deployed

    @property
    @abc.abstractmethod
    def parts(self) -> tuple[Part, ...]:
        """What it is made of, in the order of their start."""

    @abc.abstractmethod
    def log(self, application: Application) -> pathlib.Path:
        """Where the application writes its log."""

    def check(self) -> None:  # noqa: B027
        """Refuse what this way to host can't do.

        :raises errors.GlanceWSGIError: the first such thing
        """

    def version(self) -> str:
        """The versions of all parts.

        :raises errors.ServerMissing: one is not installed
        """
        return ', '.join(part.version() for part in self.parts)

    def files(self, applications: Applications) -> list[File]:
        """The configuration files of all parts."""
        return [
            file for part in self.parts for file in part.files(applications)
        ]

    def all_files(self, applications: Applications) -> list[File]:
        """The applications' files, and then its own."""
        theirs = [file for one in applications for file in one.files]
        return [*theirs, *self.files(applications)]

    def test(self, applications: Applications) -> None:
        """Have each part look at its files; see `Part.test`."""
        for part in self.parts:
            part.test(applications)

    def start(
        self,
        applications: Applications,
        told: Callable[[str, int], None] = lambda name, left: None,
        timeout: float | None = None,
    ) -> bool:
        """Start every part, and renew workers that are out of date.

        :param told: is told the name of an application and how many of its
            processes are yet to be replaced
        :param timeout: see `reload`; the mercy where nothing is given
        """
        if timeout is None:
            timeout = self.deployment.conf.server.task_mercy
        changed = any([part.start(applications) for part in self.parts])
        for application in applications:
            if self.outdated(application):
                self.reload(
                    application,
                    application.script.stat().st_mtime,
                    timeout,
                    functools.partial(told, application.name),
                )
                changed = True
        return changed

    def outdated(self, application: Application) -> int:
        """How many of its processes are older than its files."""
        return len(
            self._older(application, application.script.stat().st_mtime)
        )

    def awaited(self, applications: Applications) -> list[str]:
        """What is waited for by all parts; see `Part.awaited`."""
        return [
            line for part in self.parts for line in part.awaited(applications)
        ]

    def reload(
        self,
        application: Application,
        since: float,
        timeout: float,
        told: Callable[[int], None] = lambda left: None,
    ) -> None:
        """Replace every process of an application that is older than `since`.

        One after the other, so that somebody always serves; each may finish
        what it has begun.

        :param since: seconds, as files' times are
        :param timeout: seconds
        :param told: is told how many are left, now and then
        :raises errors.NotStopped: some still work on what they have begun
        """
        deadline = time.monotonic() + timeout
        while old := self._older(application, since):
            if time.monotonic() > deadline:
                raise not_stopped(
                    old,
                    f'After {timeout:.0f} s they still have requests or '
                    'imports to finish; they end when those are done.',
                    'Run "glance-wsgi reload" again to wait on, or give it '
                    'more --timeout.',
                )
            for part in self.parts:
                part.renew(application, old)
            told(len(old))
            time.sleep(RENEW_INTERVAL)

    def _older(
        self, application: Application, since: float
    ) -> list[psutil.Process]:
        workers = [
            process
            for part in self.parts
            for process in part.workers(application)
        ]
        return [item for item in workers if began_before(item, since)]

    def settled(self, application: Application) -> bool:
        """Whether every part is; see `Part.settled`."""
        return all(part.settled(application) for part in self.parts)

    def complaint(self, application: Application) -> str | None:
        """The first complaint of a part; see `Part.complaint`."""
        found = (part.complaint(application) for part in self.parts)
        return next(filter(None, found), None)

    def stop(self, timeout: float) -> list[psutil.Process]:
        """Stop every part, the last one first; see `Part.stop`."""
        deadline = time.monotonic() + timeout
        stopped = []
        late = None
        with stopping.announced(self.deployment.places.stopping):
            for part in reversed(self.parts):
                rest = max(deadline - time.monotonic(), MOMENT)
                try:
                    stopped += part.stop(rest if timeout else 0)
                except errors.NotStopped as error:
                    if not timeout:
                        raise
                    # What is behind is told at least: it would begin tasks
                    # again, and nothing new comes to it.
                    late = late or error
        if late is not None:
            raise late
        return stopped

    def processes(self) -> list[tuple[str, psutil.Process]]:
        """The processes of all parts."""
        return [pair for part in self.parts for pair in part.processes()]


STOP_ACTION = 'Wait and try again, or give --timeout 0 to kill them.'
RENEW_INTERVAL = 0.5  # seconds between two looks at a reload
MOMENT = 1.0  # seconds that stopping takes when there is nothing to finish


def began_before(process: psutil.Process, moment: float) -> bool:
    """Whether a process is older; one that has ended is not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return processes.began(process) < moment
    return False


def not_stopped(
    left: list[psutil.Process], why: str, action: str
) -> errors.GlanceWSGIError:
    """The error for processes that go on."""
    numbers = ', '.join(str(process.pid) for process in left)
    return errors.NotStopped(
        f'Processes {numbers} have not ended. {why}', action
    )


def load(deployed: deployment.Deployment, name: str | None = None) -> Server:
    """The server that the deployment's options name.

    :param name: another one
    :raises errors.ServerUnknown: there is none of that name
    """
    name = name or deployed.conf.deployment.server
    known: Any = extension.ExtensionManager(NAMESPACE)
    if name not in known:
        raise errors.ServerUnknown(
            f'There is no server "{name}".',
            f'Give --server one of: {", ".join(sorted(known.names()))}.',
        )
    found = known[name].plugin(deployed)
    assert isinstance(found, Server)
    return found
