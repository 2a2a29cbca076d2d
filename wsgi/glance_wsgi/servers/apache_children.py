"""Apache's children, ended before the daemon processes that they need.

When Apache's first process is told to read its files again it tells its
children to finish, and right after that ends the daemon processes of mod_wsgi.
What a child has accepted in that moment finds none, and Apache answers 503
(wsgi_connect_daemon in mod_wsgi's wsgi_remote.c). So here the first process
has to wait until its children have finished.

It tells them by a pipe, from which each reads one byte (ap_mpm_podx_check and
ap_mpm_podx_killpg in Apache's server/mpm_unix.c; the MPMs "event" and
"worker"). If that is full, with what the children have to read, whoever writes
to it waits. Who connects waits in the kernel's queue, since Apache keeps its
sockets, for the children that follow.
"""

import contextlib
import os
import pathlib
import signal
import time
from collections.abc import Callable, Iterator

import psutil

from glance_wsgi import processes

PATIENCE = 2.0
"""Seconds for which a first process waits for its children, at most."""

_FINISH = b'!'  # AP_MPM_PODX_GRACEFUL_CHAR

_INTERVAL = 0.005  # seconds between two looks

_IN_USE = (psutil.CONN_LISTEN, psutil.CONN_ESTABLISHED, psutil.CONN_CLOSE_WAIT)
"""What sockets may still bring. One that Apache has said its last on, and
only waits for the client to close it, brings nothing."""


def replace(parent: psutil.Process, may: Callable[[], bool]) -> bool:
    """Have an Apache read its files again, after its children have finished.

    Children of another MPM finish when Apache lets them; so do all where the
    kernel does not let an ordinary user look (ptrace(2), "ptrace_scope").

    :param may: asked while the children stand still and begin nothing
    :return: what `may` has said; nothing has happened if that is False
    """
    children = _waiting(parent)
    with contextlib.ExitStack() as stack:
        pipes = [
            stack.enter_context(contextlib.closing(_Pipe(place)))
            for place in children.values()
        ]

        def go_on() -> None:
            for child in children:
                processes.send(child, signal.SIGCONT)

        def undo() -> None:
            go_on()
            for pipe in pipes:
                pipe.drain()

        with _certainly(undo):
            # They would have gone before Apache looks whether it has enough.
            for child in children:
                processes.send(child, signal.SIGSTOP)
            if not may():
                return False
            for pipe in pipes:
                pipe.fill()
            processes.send(parent, signal.SIGUSR1)
            deadline = time.monotonic() + PATIENCE
            _wait(lambda: not pipes or _is_blocked(parent, children), deadline)
            go_on()
            _wait(lambda: not any(map(_in_use, children)), deadline)
    return True


def _wait(happened: Callable[[], bool], deadline: float) -> None:
    while not happened() and time.monotonic() < deadline:
        time.sleep(_INTERVAL)


def _waiting(parent: psutil.Process) -> dict[psutil.Process, pathlib.Path]:
    """The children that wait to be told something, each with its pipe."""
    shared = _pipes(parent)
    found = {}
    for child in processes.children(parent):
        place = _blocked_on(child)
        with contextlib.suppress(OSError, psutil.Error):
            # A program that Apache pipes a log to reads from one, too.
            forked = child.exe() == parent.exe()
            if forked and place and os.readlink(place) in shared:
                found[child] = place
    return found


def _pipes(process: psutil.Process) -> set[str]:
    """The names of the pipes that a process has open: proc(5), "fd"."""
    found = set()
    with contextlib.suppress(OSError):
        for descriptor in pathlib.Path(f'/proc/{process.pid}/fd').iterdir():
            with contextlib.suppress(OSError):
                found.add(os.readlink(descriptor))
    return {name for name in found if name.startswith('pipe:')}


def _blocked_on(process: psutil.Process) -> pathlib.Path | None:
    """What the first thread of a process reads from, or writes to."""
    home = pathlib.Path(f'/proc/{process.pid}')
    try:
        # The number of a system call and its arguments: proc(5), "syscall".
        words = (home / 'syscall').read_text().split()
        return home / 'fd' / str(int(words[1], 16))
    except (OSError, IndexError, ValueError):
        return None


def _is_blocked(
    parent: psutil.Process, children: dict[psutil.Process, pathlib.Path]
) -> bool:
    """Whether an Apache has begun to tell its children."""
    place = _blocked_on(parent)
    with contextlib.suppress(OSError):
        if place:
            name = os.readlink(place)
            return any(os.readlink(pipe) == name for pipe in children.values())
    return False


def _in_use(child: psutil.Process) -> bool:
    """Whether a child takes requests, or has one."""
    try:
        sockets = child.net_connections('inet')
    except psutil.Error:
        return False
    return any(item.status in _IN_USE for item in sockets)


class _Pipe:
    """A pipe of another process's."""

    def __init__(self, place: pathlib.Path) -> None:
        self._descriptor = os.open(place, os.O_RDWR | os.O_NONBLOCK)

    def fill(self) -> None:
        """Write into it until there is no room."""
        with contextlib.suppress(BlockingIOError):
            while os.write(self._descriptor, 4096 * _FINISH):
                pass
        # The last page may have room for less.
        with contextlib.suppress(BlockingIOError):
            while os.write(self._descriptor, _FINISH):
                pass

    def drain(self) -> None:
        """Read all that is in it."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._descriptor, 4096):
                pass

    def close(self) -> None:
        os.close(self._descriptor)


@contextlib.contextmanager
def _certainly(undo: Callable[[], None]) -> Iterator[None]:
    """Call something at the end, whatever happens to this process.

    If that is killed another one does it, which is there for nothing else.
    """
    ours, its = os.pipe()
    guard = os.fork()
    if not guard:
        try:
            os.setsid()
            os.close(its)
            os.read(ours, 1)
            undo()
        finally:
            os._exit(0)
    os.close(ours)
    try:
        yield
    finally:
        undo()
        os.close(its)
        os.waitpid(guard, 0)
