"""The ways to host: one module each, found by name as stevedore plugins.

Each answers the same questions: what it needs, which files it renders, how it
starts, reloads and stops, and which processes are its own.
"""

import abc
import pathlib
from typing import Any

import psutil
from stevedore import extension

from glance_wsgi import deployment
from glance_wsgi import errors
from glance_wsgi.applications import Application
from glance_wsgi.render import File

NAMESPACE = 'glance_wsgi.servers'


class Server(abc.ABC):
    """One way to host the applications of a deployment."""

    name: str

    def __init__(self, deployed: deployment.Deployment) -> None:
        self.deployment = deployed

    @abc.abstractmethod
    def version(self) -> str:
        """The server's version.

        :raises errors.ServerMissing: it is not installed
        """

    @abc.abstractmethod
    def files(self, applications: tuple[Application, ...]) -> list[File]:
        """The configuration files that it needs."""

    @abc.abstractmethod
    def start(self, applications: tuple[Application, ...]) -> bool:
        """Start what does not run; True if anything was started.

        The files of `files` have been written before.
        """

    @abc.abstractmethod
    def settled(self, application: Application) -> bool:
        """Whether the application runs with the files as they are now."""

    @abc.abstractmethod
    def complaint(self, application: Application) -> str | None:
        """What the application said when it could not start; or None."""

    @abc.abstractmethod
    def log(self, application: Application) -> pathlib.Path:
        """Where the application and its server log."""

    @abc.abstractmethod
    def stop(self, timeout: float) -> list[psutil.Process]:
        """Stop everything that `start` started.

        :param timeout: seconds that running requests and imports may take
        :return: the processes that have been stopped
        :raises errors.NotStopped: some still run
        """

    @abc.abstractmethod
    def processes(self) -> list[tuple[str, psutil.Process]]:
        """Its processes with what each one is for."""


def load(deployed: deployment.Deployment) -> Server:
    """The server that the deployment's options name.

    :raises errors.ServerUnknown: there is none of that name
    """
    name = deployed.conf.deployment.server
    known: Any = extension.ExtensionManager(NAMESPACE)
    if name not in known:
        raise errors.ServerUnknown(
            f'There is no server "{name}".',
            f'Give --server one of: {", ".join(sorted(known.names()))}.',
        )
    found = known[name].plugin(deployed)
    assert isinstance(found, Server)
    return found
