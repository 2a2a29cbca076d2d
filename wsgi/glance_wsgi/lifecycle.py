"""The end of a process of mod_wsgi: nothing that has begun is lost.

uWSGI waits for requests, then calls what Glance has registered there, which
waits for its imports. mod_wsgi waits for requests too, but ends Python while
imports run, and these fail as soon as they want a new thread. So here its
event "process_stopping" is held up until all is done. And while a transfer or
an import runs, a lock on a file says so to "glance-wsgi reload".
https://modwsgi.readthedocs.io/en/develop/user-guides/registering-cleanup-code.html
"""

import contextlib
import faulthandler
import fcntl
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from glance_wsgi.data import paths

BUSY = 'GLANCE_WSGI_BUSY_FILE'
"""The variable of the environment that names the file to be locked."""

SETTLING = 0.5
"""Seconds without a request after which none is on its way: a request that
was accepted in the last moment comes to Python a little later."""

ENDING = 15.0
"""Seconds that Python may take to end, when nothing is left to be done. A
thread that does not end would keep the process for all of its mercy."""

Application = Callable[..., Iterable[bytes]]


class Lifecycle:
    """What this process has begun.

    :param busy_file: locked, shared, while a transfer or an import runs
    """

    def __init__(self, busy_file: str) -> None:
        self._changed = threading.Condition()
        self._requests = 0
        self._long = 0
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._lock = os.open(busy_file, flags, 0o600)

    def watch(self, application: Application) -> Application:
        """The application, with its requests counted."""

        def serve(
            environ: dict[str, Any], start_response: Callable[..., Any]
        ) -> Iterable[bytes]:
            end = contextlib.ExitStack()
            end.enter_context(self._request())
            found = paths.find(environ.get('PATH_INFO', ''))
            if found and found[1] in paths.TRANSFERS:
                end.enter_context(self.long())
            try:
                return _Body(application(environ, start_response), end)
            except BaseException:
                end.close()
                raise

        return serve

    @contextlib.contextmanager
    def _request(self) -> Iterator[None]:
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, number: int) -> None:
        with self._changed:
            self._requests += number
            self._changed.notify_all()

    @contextlib.contextmanager
    def long(self) -> Iterator[None]:
        """While something runs that Apache must not cut off."""
        with self._changed:
            self._long += 1
            if self._long == 1:
                fcntl.flock(self._lock, fcntl.LOCK_SH)
        try:
            yield
        finally:
            with self._changed:
                self._long -= 1
                if not self._long:
                    fcntl.flock(self._lock, fcntl.LOCK_UN)

    def wait_for_requests(self) -> None:
        """Wait until no request runs, and none has for a moment."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: not self._requests)
                if not self._changed.wait_for(
                    lambda: bool(self._requests), SETTLING
                ):
                    return


class _Body:
    """An answer that tells when it has been sent, or has failed."""

    def __init__(
        self, wrapped: Iterable[bytes], end: contextlib.ExitStack
    ) -> None:
        self._wrapped = wrapped
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._wrapped)

    def close(self) -> None:
        """Called by the server at the end, whatever has happened."""
        with self._end:
            close = getattr(self._wrapped, 'close', None)
            if close is not None:
                close()


def end_within(seconds: float) -> None:
    """End this process, at the latest then, telling where its threads are.

    The clock runs outside of Python, which may not run any more by then.
    https://docs.python.org/3/library/faulthandler.html
    """
    stderr = 2  # Apache's error log; sys.stderr has no file here
    faulthandler.dump_traceback_later(seconds, exit=True, file=stderr)


def watch(application: Application) -> Application:
    """The application as it should run here; unchanged but in mod_wsgi."""
    try:
        import mod_wsgi

        subscribe = mod_wsgi.subscribe_shutdown
    except (ImportError, AttributeError):
        return application
    from glance_wsgi import imports

    # Under a vhost of somebody else's nobody looks at the lock.
    life = Lifecycle(os.environ.get(BUSY, os.devnull))
    imports.count(life.long)

    def drain(event: str, **facts: Any) -> None:
        imports.close()
        life.wait_for_requests()
        imports.drain()
        end_within(ENDING)

    subscribe(drain)
    return life.watch(application)
