"""Private names of Glance: how it hands out tasks, and who executes them.

``glance.api.common`` keeps a pool of threads by name, and each request that
begins a task gives it one. ``glance.async_.taskflow_executor`` makes a pool
for every task. Ours take the places of both; all else is Glance's, unchanged.
tests/functional/test_tasks_contract.py pins the names.
"""

import concurrent.futures
import logging
from collections.abc import Callable
from typing import Any

from oslo_config import cfg

from glance_wsgi.tasks import tokens
from glance_wsgi.tasks.jobs import Job
from glance_wsgi.tasks.records import LOCK

LOG = logging.getLogger(__name__)

KEPT = (
    *('user_id', 'project_id', 'domain_id', 'user_domain_id'),
    *('project_domain_id', 'roles', 'is_admin', 'request_id'),
)
"""What is kept of a request's context: never a token, nor a catalogue."""

POOL = 'tasks_pool'


class NotBegun(Exception):
    """The task is not ours to begin, or not any more."""


def pools(pool: Any, executor: concurrent.futures.Executor) -> None:
    """Have Glance use these: for its tasks, and in all of their engines.

    :param pool: has ``spawn(function, *arguments)`` and ``pool.shutdown()``
    """
    from glance.api import common
    from glance.async_ import taskflow_executor

    def fetch() -> concurrent.futures.Executor | None:
        parallel = cfg.CONF.taskflow_executor.engine_mode == 'parallel'
        return executor if parallel else None

    common._CACHED_THREAD_POOL[POOL] = pool
    taskflow_executor.TaskExecutor._fetch_an_executor = staticmethod(fetch)


def one_store_after_the_other() -> None:
    """Have no import write several stores at once, which Glance 33 can do.

    Glance makes a pool for each such import, and its threads write locations
    without the image's lock, so nobody could go on with it (glance.async_.
    flows.parallel_api_image_import).
    """
    # Its options are registered when it is imported.
    from glance.async_.flows import api_image_import  # noqa: F401

    options = cfg.CONF.image_import_opts
    number = getattr(options, 'max_parallel_stores', 1)
    if number <= 1:
        return
    LOG.warning(
        '[image_import_opts] max_parallel_stores is %s. An import that could '
        'not go on after a crash would be lost: one store is written after '
        'the other.',
        number,
    )
    cfg.CONF.set_override('max_parallel_stores', 1, 'image_import_opts')


def shared_executor(size: int) -> concurrent.futures.ThreadPoolExecutor:
    """A pool of Glance's kind that outlives the tasks that end with it.

    Each task's engine shuts its pool down at its end; this one only does so
    by ``close()``.
    """
    from glance import async_

    kind = async_.get_threadpool_model().get_threadpool_executor_class()

    class Shared(kind):  # type: ignore[misc, valid-type]
        def shutdown(self, *words: Any, **options: Any) -> None:
            """Left to `close`."""

        def close(self) -> None:
            super().shutdown(wait=False)

    made: concurrent.futures.ThreadPoolExecutor = Shared(size)
    return made


def job(run: Callable[..., Any], executor: Any, node: str, me: str) -> Job:
    """The job for a task that Glance has just accepted.

    :param run: the task's own method
    :param executor: what it would have been given
    """
    task = run.__self__  # type: ignore[attr-defined]
    given = task.task_input or {}
    method = given.get('import_req', {}).get('method', {}).get('name')
    context = {name: getattr(executor.context, name, None) for name in KEPT}
    image = _image(executor, given.get('image_id'))
    signed = 'img_signature' in getattr(image, 'extra_properties', {})
    needs_token = tokens.needed(cfg.CONF, given, signed)
    return Job(
        task.task_id,
        {
            **context,
            'elevated': executor.admin_repo is not None,
            'needs_token': needs_token,
            'disk_format': getattr(image, 'disk_format', None),
            'container_format': getattr(image, 'container_format', None),
        },
        host=node if method == 'glance-direct' else None,
        keeper=me if needs_token else None,
    )


def named(run: Callable[..., Any]) -> tuple[str, str | None]:
    """The ids of a task that Glance hands out, and of its image."""
    task = run.__self__  # type: ignore[attr-defined]
    return task.task_id, (task.task_input or {}).get('image_id')


def _image(executor: Any, image_id: str | None) -> Any:
    from glance.common import exception

    if image_id is None:
        return None
    try:
        return (executor.admin_repo or executor.image_repo).get(image_id)
    except exception.NotFound:
        return None


class Gateway:
    """Executors for tasks that another process has accepted."""

    def __init__(self) -> None:
        import glance.gateway
        from glance.api import policy

        self._policy = policy.Enforcer()
        self.gateway = glance.gateway.Gateway(policy_enforcer=self._policy)

    def executor(self, job: Job) -> Any:
        """What the request would have made, but without a token."""
        from glance import context

        asked = context.RequestContext(
            **{name: job.context.get(name) for name in KEPT},
            policy_enforcer=self._policy,
            overwrite=False,
        )
        admin = asked.elevated() if job.context['elevated'] else None
        factory = self.gateway.get_task_executor_factory(
            asked, admin_context=admin
        )
        return factory.new_task_executor(asked)

    def admin_repo(self) -> Any:
        """Images, as an administrator sees them."""
        from glance import context

        return self.gateway.get_repo(context.get_admin_context())


def run(task_id: str, executor: Any, begin: Callable[[], bool]) -> None:
    """Execute a task as Glance does.

    :param begin: makes it processing, in the place of Glance's own way to do
        that, which two processes could do at once
    :raises NotBegun: `begin` says no
    :raises Exception: whatever Glance raises; the task may have failed then
    """
    tasks, images = executor.task_repo, executor.image_repo
    task = tasks.get(task_id)
    executor.task_repo = _BegunOnce(tasks, begin)
    if task.type == 'location_import':
        executor.image_repo = _WhileLocked(images, task_id)
    try:
        task.run(executor)
    finally:
        # It may be run once more, and then begins once more.
        executor.task_repo, executor.image_repo = tasks, images


class _BegunOnce:
    """Glance's tasks; the first that is saved is the one that begins."""

    def __init__(self, repo: Any, begin: Callable[[], bool]) -> None:
        self._repo = repo
        self._begin: Callable[[], bool] | None = begin

    def __getattr__(self, name: str) -> Any:
        return getattr(self._repo, name)

    def save(self, task: Any) -> None:
        begin, self._begin = self._begin, None
        if begin is None:
            self._repo.save(task)
        elif not begin():
            raise NotBegun(task.task_id)


class _WhileLocked:
    """Glance's images, while one is locked for a task.

    A location import looks at its lock with its first step only (glance.
    async_.flows.location_import). Should it be stopped, and another task have
    the image when it wakes up, it would save what the image was, and undo
    that by removing a location, and the data with it.
    """

    def __init__(self, repo: Any, task_id: str) -> None:
        self._repo, self._task_id = repo, task_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._repo, name)

    def get(self, image_id: str) -> Any:
        """The image; as if there was none, where the lock is another's."""
        from glance.common import exception

        image = self._repo.get(image_id)
        if image.extra_properties.get(LOCK) != self._task_id:
            raise exception.ImageNotFound(
                f'Image {image_id} has another task than {self._task_id} now.'
            )
        return image

    def save(self, image: Any, *words: Any, **options: Any) -> None:
        """Save it, if `get` still finds it."""
        self.get(image.image_id)
        self._repo.save(image, *words, **options)
