"""``glance-wsgi drain`` and ``resume``: take a node out, and back."""

import argparse
import os
import pathlib
import time
from typing import Any

from cliff import command
from cliff import lister

from glance_wsgi import errors
from glance_wsgi.cmd import db
from glance_wsgi.cmd import tasks
from glance_wsgi.cmd.down import seconds
from glance_wsgi.tasks import owners
from glance_wsgi.tasks import stopfile
from glance_wsgi.tasks.jobs import Job
from glance_wsgi.tasks.jobs import Jobs

INTERVAL = 0.5  # seconds between two looks

UNSEEN = 'The node was taken out, but what runs there can not be seen.'


class Drain(tasks.TaskVerb, lister.Lister):
    """Take a node out: it begins no import or other task any more.

    Its health check answers 503, so that a load balancer sends nobody there.
    What runs goes on; what is accepted waits, for other nodes or for
    "resume". Lists what runs.
    """

    left: list[Job]

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The parser with the options of this verb."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--wait',
            action='store_true',
            help='Come back when nothing runs on this node any more.',
        )
        parser.add_argument(
            '--timeout',
            metavar='SECONDS',
            type=seconds,
            help='Wait, as with --wait, but only for so long. The node stays '
            'out when it is over. (default: for ever)',
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Touch the file, then look, or wait.

        First the file: the node has to be taken out when its database is the
        reason.
        """
        conf = self.node(parsed_args)
        touch(pathlib.Path(stopfile.required(conf).path))
        try:
            with self.jobs(conf) as jobs:
                self.left = self._look(jobs, owners.node(conf), parsed_args)
                return tasks.COLUMNS, tasks.rows(jobs, self.left)
        except errors.GlanceWSGIError as error:
            raise type(error)(error.cause, error.action, UNSEEN) from error

    def _look(
        self, jobs: Jobs, name: str, parsed_args: argparse.Namespace
    ) -> list[Job]:
        if parsed_args.wait:
            return self._wait(jobs, name, parsed_args.timeout)
        return jobs.owned_on(name)

    def _wait(self, jobs: Jobs, name: str, timeout: float | None) -> list[Job]:
        deadline = None if timeout is None else time.monotonic() + timeout
        told: dict[str, int] = {}
        while left := jobs.owned_on(name):
            now = {job.task_id: job.bytes for job in left}
            if now != told:
                written = sum(now.values()) / 2**20
                db.say(f'{len(left)} running, {written:.0f} MiB written')
                told = now
            if deadline is not None and time.monotonic() > deadline:
                break
            self.go_on()
            time.sleep(INTERVAL)
        return left

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Drain; the exit code tells whether something still runs."""
        self.left = []
        parsed_args.wait |= parsed_args.timeout is not None
        code = super().run(parsed_args)
        if code == errors.Exit.OK and parsed_args.wait and self.left:
            error = errors.NotDrained(
                f'{len(self.left)} tasks still run after '
                f'{parsed_args.timeout:.0f} s.',
                'Wait longer, or stop it: what is cut off is begun again.',
            )
            return self._fail(error.line(), error.code)
        return code


class Resume(tasks.TaskVerb, command.Command):
    """Bring a node back that was taken out by "drain"."""

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Remove the file."""
        stop = pathlib.Path(stopfile.required(self.node(parsed_args)).path)
        try:
            stop.unlink()
        except FileNotFoundError:
            print('It was not taken out.')
            return 0
        except OSError as error:
            raise _refused(stop, error, 'removed') from error
        print(f'Removed {stop}.')
        return 0


def touch(stop: pathlib.Path) -> None:
    """Make the stop file, which has nothing in it.

    :raises errors.StateNotWritable: it can't be made
    """
    try:
        os.close(os.open(stop, os.O_CREAT | os.O_WRONLY, 0o644))
    except OSError as error:
        raise _refused(stop, error, 'made') from error


def _refused(
    stop: pathlib.Path, error: OSError, what: str
) -> errors.GlanceWSGIError:
    return errors.StateNotWritable(
        f"The stop file {stop} can't be {what}: {error.strerror}.",
        'Run this as who may write to its directory; make the directory if '
        'there is none.',
    )
