"""An image whose import was cut off: ready to go on, or to be used again.

What a process has left when it was killed is known by the image: its status,
the stores that it has locations in, those that it was being imported to. All
that is changed here is changed as the task that holds the image's lock, by
Glance's own wrapper, which looks at the lock before and after. Files are
removed if they are those that were there when the lock was still held: whoever
takes over writes new ones.

Whatever a location names stays, but for one case: a download that starts
again may get other data, so the stores that an image that was never active
has reached are emptied before.
"""

import contextlib
import logging
import pathlib
import stat
from collections.abc import Iterable, Mapping
from typing import Any

from oslo_config import cfg

from glance_wsgi.data import halves
from glance_wsgi.tasks import configuration
from glance_wsgi.tasks import files
from glance_wsgi.tasks import records
from glance_wsgi.tasks.glance import Gateway
from glance_wsgi.tasks.jobs import Job
from glance_wsgi.tasks.jobs import Jobs
from glance_wsgi.tasks.owners import Owner
from glance_wsgi.tasks.records import Task
from glance_wsgi.tasks.trouble import is_of_database

LOG = logging.getLogger(__name__)

COPY = 'copy-image'
DIRECT = 'glance-direct'

DELETED = 'The image was deleted before this task was begun.'
TOKENLESS = (
    "This needs the user's token, which is kept in memory only and was lost "
    'with its process. Ask for it again.'
)
STAGED = 'The staged data of the image is gone. Stage it again.'
NOT_PUT_BACK = (
    '{} The image could not be put back: {}. Delete the image, or have an '
    'administrator look at its stores.'
)
LOCATION = (
    'The process that added this location has ended. Nothing was done to the '
    'data. Add the location again.'
)


class TakenOver(Exception):
    """Another task has the image now: nothing here may touch it."""


class Recovery:
    """Prepares tasks that are not begun for the first time.

    :param attempts: how often a task may be begun
    """

    def __init__(
        self, jobs: Jobs, gateway: Gateway, me: Owner, attempts: int
    ) -> None:
        self._jobs = jobs
        self._gateway = gateway
        self._me = me
        self._attempts = attempts

    def prepare(self, job: Job, task: Task, has_token: bool) -> bool:
        """Make a claimed task ready to be begun.

        :returns: False if it has ended instead, and its job with it
        :raises Exception: whatever Glance raises when its database fails
        """
        if task.type == 'import':
            return True
        image = Interrupted.find(self._gateway, task)
        if image is None:
            self._end(job, 'failure', DELETED)
            return False
        if job.attempts and image.is_complete():
            image.finish()
            self._end(job, 'success', '')
            return False
        problem = self._problem(job, image, has_token)
        if problem is None and job.attempts:
            problem = image.make_ready(job)
            self._jobs.change_input(task.id, task.input)
        elif problem is None:
            image.clear_stores()
        if problem is None:
            return True
        self.give_up(job, task, problem)
        return False

    def _problem(
        self, job: Job, image: 'Interrupted', has_token: bool
    ) -> str | None:
        if job.context['needs_token'] and not has_token:
            return TOKENLESS
        if not job.attempts:
            return None
        if image.task.type != 'api_image_import':
            return LOCATION
        if job.attempts >= self._attempts:
            return (
                f'It was begun {job.attempts} times, and each time the '
                'process that ran it has ended.'
            )
        if others := image.unsupported():
            return (
                'The process that ran it has ended. What it had written to '
                f'{", ".join(others)} can not be told from what belongs '
                'there, so it is not begun again. Import the image again.'
            )
        return None

    def give_up(self, job: Job, task: Task, reason: str) -> None:
        """End a task, and put its image back where its owner can use it."""
        from glance.common import exception

        try:
            image = Interrupted.find(self._gateway, task)
            if image is not None and image.lock():
                image.put_back(job)
        except (TakenOver, exception.TaskAbortedError):
            LOG.info('Image %s has another task now.', task.image_id)
        except Exception as error:
            if is_of_database(error):
                raise
            # It would fail again and again, and hold everything up.
            LOG.exception('Image %s', task.image_id)
            reason = NOT_PUT_BACK.format(reason, error)
        self._end(job, 'failure', reason)

    def _end(self, job: Job, status: str, message: str) -> None:
        LOG.warning('Task %s: %s %s', job.task_id, status, message)
        self._jobs.end(job.task_id, self._me, status, message)


class Interrupted:
    """An image, and the task that has its lock now.

    :param repo: Glance's images, as an administrator sees them
    """

    def __init__(self, repo: Any, image: Any, task: Task) -> None:
        from glance.async_.flows import api_image_import

        self.task = task
        self.image = image
        self._repo = repo
        self._changes = api_image_import.ImportActionWrapper(
            repo, image.image_id, task.id
        )
        self.reached = [
            place['metadata'].get('store') for place in image.locations
        ]
        wanted = task.input.get('backend') or [None]
        self.left = [
            store
            for store in wanted
            if store not in self.reached
            and not (store is None and self.reached)
        ]
        self._wanted = wanted

    @classmethod
    def find(cls, gateway: Gateway, task: Task) -> 'Interrupted | None':
        """None if the image is gone."""
        from glance.common import exception

        repo = gateway.admin_repo()
        try:
            image = repo.get(task.image_id)
        except exception.NotFound:
            return None
        gone = image.status in ('deleted', 'pending_delete')
        return None if gone else cls(repo, image, task)

    def holds_lock(self) -> bool:
        """Whether the image is still locked for this task."""
        lock = self.image.extra_properties.get(records.LOCK)
        return bool(lock == self.task.id)

    def lock(self) -> bool:
        """Lock it for this task, unless another one works on it.

        An import whose store fails leaves it without a lock, and
        ``importing``, of which nobody could make anything else.
        """
        from glance.common import exception

        if records.LOCK not in self.image.extra_properties:
            ours = self.task.type == 'api_image_import'
            if not ours or self.image.status != 'importing':
                return False
            with contextlib.suppress(exception.Duplicate):
                self._repo.set_property_atomic(
                    self.image, records.LOCK, self.task.id
                )
            self.image = self._repo.get(self.image.image_id)
        return self.holds_lock()

    def is_complete(self) -> bool:
        """Whether only the end of the import is missing."""
        if self.task.method == COPY:
            return not self.left
        # An administrator can deactivate it from then on.
        return self.image.status in ('active', 'deactivated')

    def unsupported(self) -> list[str]:
        """The stores that are not files, and have not been reached."""
        return [str(store) for store in self.left if not _is_file_store(store)]

    def finish(self) -> None:
        """The end of an import whose image is complete."""
        if self.task.type != 'api_image_import':
            self._forget_hash()
            return
        staged = self._mine(self._staged_files())
        self._remove_partial()
        with self._changes as action:
            action.remove_importing_stores(self._wanted)
            action.add_failed_stores(self.left)
        _unlink(staged)

    def make_ready(self, job: Job) -> str | None:
        """Let it be imported to the stores that it has not reached.

        :returns: why it can't be; None if it can
        """
        if self.task.method == DIRECT and self._staged() is None:
            return STAGED
        self._remove_partial()
        if self.task.method == COPY:
            self.task.input['backend'] = self.left
        elif self.task.method == DIRECT:
            self.task.input['backend'] = self.left
            self._take_up_staged()
        else:
            self._start_again(job)
        return None

    def clear_stores(self) -> None:
        """Remove what an import has left whose lock this one has broken.

        A store takes no data where there is some.
        """
        if self.task.type == 'api_image_import' and self.holds_lock():
            self._remove_partial()

    def put_back(self, job: Job) -> None:
        """As it was before the import; the import's stores have failed."""
        if self.task.type != 'api_image_import':
            self._forget_location()
            return
        if self.image.status == 'uploading':
            return  # not begun: what is staged can be imported
        staged = self._mine(self._staged_files())
        self._remove_partial()
        if self.task.method == COPY:
            with self._changes as action:
                action.remove_importing_stores(self._wanted)
                action.add_failed_stores(self.left)
        elif self.image.status == 'importing':
            self._start_again(job)
            with self._changes as action:
                action.remove_importing_stores(self._wanted)
                action.add_failed_stores(self._wanted)
        _unlink(staged)

    def _start_again(self, job: Job) -> None:
        staged = self._mine(self._staged_files())
        with self._changes as action:
            for store in self.reached:
                action.remove_location_for_store(store)
            if action.image_status == 'importing':
                action.set_image_attribute(status='queued')
            action.set_image_attribute(
                disk_format=job.context['disk_format'],
                container_format=job.context['container_format'],
                size=None,
                virtual_size=None,
            )
        _unlink(staged)

    def _take_up_staged(self) -> None:
        staged = self._staged()
        assert staged is not None
        whole = _staging() / self.image.image_id
        facts = {}
        others = self._mine(set(self._staged_files()) - {whole, staged})
        if staged != whole:
            # A plugin removes the original when it is done with it.
            staged.rename(whole)
            facts['size'] = whole.stat().st_size
            if staged.suffix[1:] in cfg.CONF.image_format.disk_formats:
                facts['disk_format'] = staged.suffix[1:]
        _unlink(others)
        with self._changes as action:
            if action.image_status == 'importing':
                action.set_image_attribute(status='queued')
            action.set_image_attribute(**facts)

    def _staged(self) -> pathlib.Path | None:
        whole = _staging() / self.image.image_id
        others = self._beside(whole)
        if whole.exists():
            return whole
        return others[0] if len(others) == 1 else None

    def _beside(self, whole: pathlib.Path) -> list[pathlib.Path]:
        return sorted(whole.parent.glob(f'{whole.name}.*'))

    def _staged_files(self) -> list[pathlib.Path]:
        whole = _staging() / self.image.image_id
        return [
            path
            for path in (whole, *self._beside(whole))
            if not self._is_data(path)
        ]

    def _mine(self, paths: Iterable[pathlib.Path]) -> dict[pathlib.Path, Any]:
        """The files of these that are there, while the image is this task's.

        :raises TakenOver: it is not any more
        """
        seen = {path: _identity(path) for path in paths}
        image = self._repo.get(self.image.image_id)
        if image.extra_properties.get(records.LOCK) != self.task.id:
            raise TakenOver(f'Image {image.image_id} has another task now.')
        return {path: found for path, found in seen.items() if found}

    def _remove_partial(self) -> None:
        """What the stores have of it that no location names."""
        partial = self._mine(
            path
            for store in self.left
            for path in _paths(store, self.image.image_id)
            if not self._is_data(path)
        )
        _unlink(partial)

    def _is_data(self, path: pathlib.Path) -> bool:
        """Whether a location names that file, or may do so.

        By any path: the directory of a store may have been moved, and there
        are those who stage in it.
        """
        return any(
            files.may_be_named(place['url'], path)
            for place in self.image.locations
        )

    def _forget_location(self) -> None:
        from glance import context
        from glance import db

        for place in self.image.locations:
            if place['url'] == self.task.input.get('loc_url'):
                # The row alone: Glance's own way deletes the user's data.
                db.get_api().image_location_delete(
                    context.get_admin_context(),
                    self.image.image_id,
                    place['id'],
                    'deleted',
                )
        self._forget_hash()

    def _forget_hash(self) -> None:
        """The hash of a location that nobody computes any more."""
        image = self._repo.get(self.image.image_id)
        before = image.status
        # Glance would ask that host to delete the image.
        image.extra_properties.pop('os_glance_hash_op_host', None)
        if before == 'importing':
            image.status = 'queued'
        if not image.locations:
            # The user may have said what it should be; and Glance keeps the
            # size that it has.
            image.os_hash_value = image.checksum = image.size = None
        if image.os_hash_value is None:
            image.os_hash_algo = None
        self._repo.save(image, before)


def _identity(path: pathlib.Path) -> tuple[int, int] | None:
    """Which file it is; None if there is no regular file."""
    try:
        facts = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    regular = stat.S_ISREG(facts.st_mode)
    return (facts.st_dev, facts.st_ino) if regular else None


def _unlink(seen: Mapping[pathlib.Path, Any]) -> None:
    """Remove files, if they are still those that were seen."""
    for path, identity in seen.items():
        if _identity(path) == identity:
            LOG.warning('Removing what was left of an import: %s', path)
            path.unlink(missing_ok=True)


def _staging() -> pathlib.Path:
    return configuration.staging(cfg.CONF)


def _is_file_store(store: str | None) -> bool:
    conf = cfg.CONF
    if store is None:
        return conf.glance_store.default_store in ('file', 'filesystem')
    return conf.enabled_backends.get(store) == 'file'


def _paths(store: str | None, image_id: str) -> list[pathlib.Path]:
    """Where a file store would have this image."""
    if not _is_file_store(store):
        return []
    group = cfg.CONF.glance_store if store is None else cfg.CONF[store]
    return [place / image_id for place in halves.data_directories(group)]
