"""uWSGI alone: it speaks HTTP, or HTTPS, to the clients itself."""

import pathlib
from functools import cached_property

from glance_wsgi import errors
from glance_wsgi import servers
from glance_wsgi.applications import Application
from glance_wsgi.servers import emperor
from glance_wsgi.servers import system


class UWSGI(servers.Server):
    """See the module."""

    name = 'uwsgi'

    @cached_property
    def parts(self) -> tuple[servers.Part, ...]:
        return (self._emperor,)

    @cached_property
    def _emperor(self) -> emperor.Emperor:
        if self.deployment.places.system:
            return system.SystemEmperor(self.deployment)
        return emperor.Emperor(self.deployment)

    def log(self, application: Application) -> pathlib.Path:
        return self._emperor.log(application.name)

    def check(self) -> None:
        # Each application has processes of its own, and with nobody in front
        # a socket belongs to one of them.
        listening = self.deployment.listening()
        for _, address in listening:
            options = [name for name, item in listening if item == address]
            if len(options) > 1:
                raise errors.PortInUse(
                    f'{" and ".join(options)} are both {address}, which '
                    'uWSGI alone cannot share.',
                    'Give each another port, or choose a --server with Apache '
                    'for Glance and Keystone on one.',
                )
