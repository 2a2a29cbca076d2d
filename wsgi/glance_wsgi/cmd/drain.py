"""``glance-wsgi drain`` and ``resume``: take a node out, and back."""

import argparse
import os
import pathlib
import time
from typing import Any

from cliff import lister
from cliff import show

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
                name = owners.node(conf)
                self.left = self._look(jobs, name, parsed_args)
                _tell_of_the_dead(jobs, name)
                return tasks.COLUMNS, tasks.rows(jobs, self.left)
        except errors.GlanceWSGIError as error:
            raise type(error)(error.cause, error.action, UNSEEN) from error

    def _look(
        self, jobs: Jobs, name: str, parsed_args: argparse.Namespace
    ) -> list[Job]:
        if parsed_args.wait:
            return self._wait(jobs, name, parsed_args.timeout)
        return _running(jobs, name)

    def _wait(self, jobs: Jobs, name: str, timeout: float | None) -> list[Job]:
        deadline = None if timeout is None else time.monotonic() + timeout
        told: dict[str, int] = {}
        while left := _running(jobs, name):
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


class Resume(tasks.TaskVerb, show.ShowOne):
    """Bring a node back that was taken out by "drain"."""

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Remove the file."""
        stop = pathlib.Path(stopfile.required(self.node(parsed_args)).path)
        result = 'Removed.'
        try:
            stop.unlink()
        except FileNotFoundError:
            result = 'It was not taken out.'
        except OSError as error:
            raise _refused(stop, error, 'removed') from error
        return ('file', 'result'), (str(stop), result)


def _running(jobs: Jobs, name: str) -> list[Job]:
    """What a node has claimed, by processes that may be alive."""
    return [job for job in jobs.owned_on(name) if not _is_cut_off(job)]


def _is_cut_off(job: Job) -> bool:
    return owners.Owner.parse(job.node or '', job.owner or '').is_dead()


def _tell_of_the_dead(jobs: Jobs, name: str) -> None:
    number = sum(map(_is_cut_off, jobs.owned_on(name)))
    if number:
        db.say(
            f'{number} cut off, whose process has ended: another one goes on '
            'with them, here not before "resume". "glance-wsgi tasks doctor" '
            'tells of those that none has taken.'
        )


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
