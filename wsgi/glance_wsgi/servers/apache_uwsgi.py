"""Apache in front of uWSGI: HTTP over a unix socket between the two."""

import pathlib
from functools import cached_property
from typing import Any

from glance_wsgi import servers
from glance_wsgi import state
from glance_wsgi.applications import Application
from glance_wsgi.render import File
from glance_wsgi.servers import apache
from glance_wsgi.servers import emperor
from glance_wsgi.servers import system


class ApacheUWSGI(servers.Server):
    """See the module."""

    name = 'apache-uwsgi'

    @cached_property
    def parts(self) -> tuple[servers.Part, ...]:
        if self.deployment.places.system:
            return (self._emperor, SystemProxy(self.deployment))
        return (self._emperor, Proxy(self.deployment))

    @cached_property
    def _emperor(self) -> emperor.Emperor:
        if self.deployment.places.system:
            return system.SystemEmperor(self.deployment, behind=True)
        return emperor.Emperor(self.deployment, behind=True)

    def log(self, application: Application) -> pathlib.Path:
        return self._emperor.log(application.name)

    def check(self) -> None:
        apache.check_locations(self.deployment)


class Proxy(apache.Apache):
    """The Apache that passes everything on."""

    modules = ('proxy', 'proxy_http')

    def site_file(self, applications: servers.Applications) -> File:
        return File(
            path=self.site,
            template='apache-uwsgi.conf.j2',
            variables=self.site_variables(applications),
            owner=state.Owner.myself(),
        )

    def application_variables(
        self, application: Application
    ) -> dict[str, Any]:
        return {
            'name': application.name,
            'path': application.path,
            'socket': emperor.socket(self.places, application),
            'hand_off': self.hand_off(application),
        }


class SystemProxy(system.SystemApache, Proxy):
    """The system's own Apache, which does so."""
