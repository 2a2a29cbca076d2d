"""``glance-wsgi status``: what runs, and whether it serves."""

import argparse
import collections
import datetime
import time
from typing import Any

import psutil
from cliff import columns
from cliff import show

from glance_wsgi import applications
from glance_wsgi import db
from glance_wsgi import errors
from glance_wsgi import hosted
from glance_wsgi import preflight
from glance_wsgi import probe
from glance_wsgi import servers
from glance_wsgi import upstream
from glance_wsgi.cmd import base
from glance_wsgi.db import own
from glance_wsgi.db import plan
from glance_wsgi.deployment import Deployment


class Processes(columns.FormattableColumn):
    """A list of processes: a line each for people, data for programs."""

    def human_readable(self) -> str:
        width = max([18, *(len(row['name']) for row in self._value)])
        return '\n'.join(
            f'{row["name"]:{width}} pid {row["pid"]:<8} '
            f'up {datetime.timedelta(seconds=row["uptime_seconds"])}  '
            f'{row["memory_bytes"] / 2**20:.0f} MiB'
            for row in self._value
        )

    def machine_readable(self) -> Any:
        return self._value


class Status(base.Verb, show.ShowOne):
    """Show the processes, versions and health of a deployment.

    Ends with exit code 0 only when the API serves.
    """

    prefers_installed = True

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Collect the facts."""
        deployment = self.meant(parsed_args)
        server = servers.load(deployment)
        healths = _healths(deployment)
        self.serving = bool(healths) and set(healths.values()) == {'OK'}
        facts = {
            'serving': self.serving,
            'endpoint': deployment.endpoint,
            'keystone': hosted.keystone(deployment),
            **{f'{name} health': health for name, health in healths.items()},
            'glance': upstream.version(),
            'server': f'{server.name} ({server.version()})',
            'database revision': ', '.join(_revisions(deployment)) or 'none',
            'database upgrade': _upgrade(deployment),
            'processes': Processes(_rows(server)),
        }
        return tuple(facts), tuple(facts.values())

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Show; the exit code tells whether the API serves."""
        self.serving = False
        code = super().run(parsed_args)
        if code == errors.Exit.OK and not self.serving:
            return errors.Exit.NOT_SERVING
        return code


def _healths(deployment: Deployment) -> dict[str, str]:
    if not applications.can_be_made(deployment):
        return {}
    return {
        application.name: probe.health(application.health)
        for application in applications.of(deployment)
    }


def _revisions(deployment: Deployment) -> tuple[str, ...]:
    try:
        return db.current_revisions(hosted.database(deployment))
    except errors.GlanceWSGIError as error:
        return (error.cause,)


def _upgrade(deployment: Deployment) -> str:
    """The pending operations of each phase, in the order of the phases."""
    try:
        database = hosted.database(deployment)
        found = db.current_revisions(database)
        url = db.parse(database)
        steps = own.pending(url)
        if not (found and preflight.known_current(deployment, found)):
            steps = (*steps, *plan.make(url))
    except errors.GlanceWSGIError as error:
        return error.cause
    counts = collections.Counter(step.phase for step in steps)
    parts = [f'{count} to {phase}' for phase, count in counts.items()]
    return ', '.join(parts) or 'none'


def _rows(server: servers.Server) -> list[dict[str, Any]]:
    rows = []
    for name, process in server.processes():
        try:
            with process.oneshot():
                rows.append(
                    {
                        'name': name,
                        'pid': process.pid,
                        'uptime_seconds': int(
                            time.time() - process.create_time()
                        ),
                        'memory_bytes': process.memory_info().rss,
                    }
                )
        except psutil.NoSuchProcess:
            continue
    return rows
