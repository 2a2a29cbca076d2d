"""What the processes of a server can see when it is being stopped.

Apache passes on to uWSGI what it has begun, for hours perhaps, before uWSGI is
told to end; and until then it would begin tasks. So whoever stops a server
keeps a file locked meanwhile. The kernel lets go of that lock with the process
that has it, however that ends: flock(2).
"""

import contextlib
import fcntl
import os
import pathlib
import time
from collections.abc import Iterator

from glance_wsgi import programs

FILE = 'GLANCE_WSGI_STOPPING_FILE'
"""The variable of the environment that names the file to be locked."""

PATIENCE = 1.0
"""Seconds to wait for the lock: who looks at it has it for a moment."""


class Stopping:
    """Whether somebody stops the server of this process.

    :raises OSError: the file can't be made
    """

    def __init__(self) -> None:
        # Under a server of somebody else's nobody locks anything.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        file = os.environ.get(FILE)
        self._file = None if file is None else os.open(file, flags, 0o600)

    def __call__(self) -> bool:
        """Look."""
        if self._file is None:
            return False
        try:
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._file, fcntl.LOCK_UN)
        return False


@contextlib.contextmanager
def shown(file: pathlib.Path) -> Iterator[None]:
    """Let all processes see that their server is being stopped.

    :param file: what they look at; nobody does where it is missing
    """
    with contextlib.ExitStack() as end:
        with contextlib.suppress(OSError):
            handle = programs.open_own(file, os.O_RDONLY)
            end.callback(os.close, handle)
            _lock(handle)
        yield


def _lock(handle: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(0.01)
