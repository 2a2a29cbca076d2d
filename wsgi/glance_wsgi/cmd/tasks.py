"""``glance-wsgi tasks list`` and ``tasks doctor``: what imports are doing."""

import argparse
import functools
import pathlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from cliff import lister
from oslo_config import cfg

from glance_wsgi import errors
from glance_wsgi import nodes
from glance_wsgi.cmd import db
from glance_wsgi.data import halves
from glance_wsgi.db import engines
from glance_wsgi.db import own
from glance_wsgi.db import refusals
from glance_wsgi.db import settings
from glance_wsgi.tasks import configuration
from glance_wsgi.tasks import tokens
from glance_wsgi.tasks import watch
from glance_wsgi.tasks.doctor import Doctor
from glance_wsgi.tasks.doctor import Finding
from glance_wsgi.tasks.jobs import Job
from glance_wsgi.tasks.jobs import Jobs

COLUMNS = ('task', 'image', 'state', 'age', 'node', 'attempts', 'bytes')


class TaskVerb(db.DatabaseVerb):
    """A verb on one Glance node, of a deployment or any other."""

    def node(self, parsed_args: argparse.Namespace) -> cfg.ConfigOpts:
        """The configuration of the node that the person named."""
        files, folders = parsed_args.config_file, parsed_args.config_dir
        if not files and not folders:
            files = [self._deployed(parsed_args)]
        words = [
            *(f'--config-file={file}' for file in files),
            *(f'--config-dir={folder}' for folder in folders),
        ]
        return configuration.read(words, 'glance-wsgi')

    def _deployed(self, parsed_args: argparse.Namespace) -> pathlib.Path:
        deployment = self.meant(parsed_args)
        if deployment.hosted is not None:
            return deployment.hosted / 'glance-api.conf'
        return nodes.first(deployment).conf

    @contextmanager
    def jobs(self, conf: cfg.ConfigOpts) -> Iterator[Jobs]:
        """The jobs in this node's database.

        :raises errors.DatabaseEmpty: it has no table for them
        """
        url = settings.database(conf)
        if own.pending(url):
            raise errors.DatabaseEmpty(
                'The database has no table for jobs.',
                'Run "glance-wsgi-manage db sync", then reload.',
            )
        engine = engines.make(url)
        try:
            yield Jobs(engine)
        except sqlalchemy.exc.DBAPIError as error:
            raise refusals.explain(url, error) from error
        finally:
            engine.dispose()


def rows(jobs: Jobs, found: list[Job]) -> list[tuple[Any, ...]]:
    """A row of `COLUMNS` for each job."""
    return [_row(jobs, job) for job in found]


def _row(jobs: Jobs, job: Job) -> tuple[Any, ...]:
    task = jobs.task(job.task_id)
    begun = task is not None and task.status == 'processing'
    claimed = 'claimed' if job.owner else 'pending'
    return (
        job.task_id,
        (task and task.image_id) or '',
        'running' if begun else claimed,
        max(0, int(time.time()) - job.created),
        job.node or job.host or '',
        job.attempts,
        job.bytes,
    )


class List(TaskVerb, lister.Lister):
    """List the tasks that were accepted and have not ended."""

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Read the jobs."""
        with self.jobs(self.node(parsed_args)) as jobs:
            return COLUMNS, rows(jobs, jobs.all())


class Examine(TaskVerb, lister.Lister):
    """Find what processes that have died have left, and repair it.

    Tasks whose process is gone, images that are locked for a task that has
    ended, files that were staged on this node and that nobody needs.
    """

    left: list[Finding]

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The parser with the options of this verb."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--fix',
            action='store_true',
            help='Repair each, in the way that is listed with it.',
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Look, and repair if that is wanted."""
        conf = self.node(parsed_args)
        configuration.register_stores(conf)
        patience = watch.SILENCE * conf.task_engine.task_heartbeat
        self.left = []
        with self.jobs(conf) as jobs:
            doctor = Doctor(
                jobs,
                configuration.staging(conf),
                patience,
                conf.worker_self_reference_url,
                self._wait,
                stores=tuple(halves.store_directories(conf)),
                needs_token=functools.partial(tokens.needed, conf),
            )
            return ('kind', 'id', 'what', 'repair', 'result'), [
                (one.kind, one.id, one.what, one.repair, result)
                for one in doctor.look()
                for result in [self._repair(one, parsed_args.fix)]
            ]

    def _repair(self, one: Finding, wanted: bool) -> str:
        """What was done about it; empty if that was not to be done."""
        done = one.fix() if wanted and one.fix is not None else None
        if done is None:
            self.left.append(one)
        if wanted and one.fix is not None:
            return done or 'Nothing: it has changed meanwhile.'
        return ''

    def _wait(self, seconds: float) -> None:
        db.say(f'Waiting {seconds:.0f} s for signs of life.')
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.go_on()
            time.sleep(min(left, 1))

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Show what was found; the exit code tells whether some is left."""
        self.left = []
        code = super().run(parsed_args)
        if code == errors.Exit.OK and self.left:
            fixable = sum(one.fix is not None for one in self.left)
            db.say(
                f'{fixable} to be repaired: "glance-wsgi tasks doctor --fix"; '
                f'{len(self.left) - fixable} that it can not repair, or not '
                'yet.'
            )
            return errors.Exit.TASKS_ORPHANED
        return code
