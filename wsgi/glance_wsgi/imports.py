"""Glance's imports: private names of Glance, pinned by a contract test.

Glance runs them in a pool of threads that ``glance.api.common`` keeps under
the name ``tasks_pool``, and ends them with the process by
``glance.common.wsgi_app.drain_workers``.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any


def count(running: Callable[[], AbstractContextManager[None]]) -> None:
    """Have each import run within `running`, from now on.

    From the moment in which it is accepted: one that waits for a thread is
    running for whoever has its 202.
    """
    from glance.api import common

    pool = common.get_thread_pool('tasks_pool')
    if hasattr(pool, 'engine'):
        # What waits there is in the database: only what runs is running.
        pool.engine.around = running
        return
    spawn = pool.spawn

    def counted(work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        run = running()
        run.__enter__()

        def finish(*words: Any, **options: Any) -> Any:
            try:
                return work(*words, **options)
            finally:
                run.__exit__(None, None, None)

        try:
            return spawn(finish, *args, **kwargs)
        except BaseException:
            run.__exit__(None, None, None)
            raise

    pool.spawn = counted


def close() -> None:
    """Let none begin any more, where our own engine runs them."""
    from glance.api import common

    pool = common.get_thread_pool('tasks_pool')
    if hasattr(pool, 'engine'):
        pool.engine.close()


def drain() -> None:
    """Wait for all imports; no new one can begin."""
    from glance.common import wsgi_app

    wsgi_app.drain_workers()
