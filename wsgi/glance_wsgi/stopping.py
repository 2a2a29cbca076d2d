"""What the processes of a server can see when it is being stopped.

Apache passes on to uWSGI what it has begun, for hours perhaps, before uWSGI is
told to end; and until then it would begin tasks. So whoever stops a server
keeps a file locked meanwhile. The kernel lets go of that lock with the process
that has it, however that ends: flock(2).
"""

import contextlib
import fcntl
import logging
import os
import pathlib
from collections.abc import Iterator

import tenacity

from glance_wsgi import programs

LOG = logging.getLogger(__name__)

VARIABLE = 'GLANCE_WSGI_STOPPING_FILE'
"""The variable of the environment that names the file to be locked."""

PATIENCE = 1.0
"""Seconds to wait for the lock: who looks at it has it for a moment."""


class Stopping:
    """Whether somebody stops the server of this process.

    Where nobody can tell, which the log says, nobody does: a server serves
    without this, and tasks run.
    """

    def __init__(self) -> None:
        # Under a server of somebody else's nobody locks anything.
        self._file: int | None = None
        if file := os.environ.get(VARIABLE):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            with self._doing_without():
                self._file = os.open(file, flags, 0o600)

    @contextlib.contextmanager
    def _doing_without(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._file = None
            LOG.warning(
                'Tasks may begin here while the server is being stopped: %s',
                error,
            )

    def __call__(self) -> bool:
        """Look."""
        if self._file is not None:
            with self._doing_without():
                try:
                    fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return True
                fcntl.flock(self._file, fcntl.LOCK_UN)
        return False


@contextlib.contextmanager
def announced(file: pathlib.Path) -> Iterator[None]:
    """Let all processes see that their server is being stopped.

    A process that was halted while it looked keeps them from that, and the
    server is stopped all the same.

    :param file: what they look at; nobody does where it is missing
    """
    with contextlib.ExitStack() as end:
        with contextlib.suppress(OSError):
            handle = programs.open_own(file, os.O_RDWR)
            end.callback(os.close, handle)
            _lock(handle)
        yield


def _lock(handle: int) -> None:
    tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(BlockingIOError),
        wait=tenacity.wait_fixed(0.01),
        stop=tenacity.stop_after_delay(PATIENCE),
        reraise=True,
    )(fcntl.flock, handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
