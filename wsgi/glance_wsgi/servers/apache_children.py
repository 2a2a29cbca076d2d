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
import select
import signal
import stat
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

import psutil

from glance_wsgi import processes

PATIENCE = 2.0
"""Seconds for which a first process waits for its children, at most."""

_LONGEST = 3 * PATIENCE
"""Seconds after which all goes on, even if this process stands still."""

_FINISH = b'!'  # AP_MPM_PODX_GRACEFUL_CHAR

_INTERVAL = 0.005  # seconds between two looks

_READS, _WRITES = stat.S_IRUSR, stat.S_IWUSR

_IN_USE = (psutil.CONN_LISTEN, psutil.CONN_ESTABLISHED, psutil.CONN_CLOSE_WAIT)
"""What sockets may still bring. One that Apache has said its last on, and
only waits for the client to close it, brings nothing."""


def replace(parent: psutil.Process, may: Callable[[], bool]) -> bool:
    """Have an Apache read its files again, after its children have finished.

    Children of another MPM finish when Apache lets them; so do all where the
    kernel does not let us look at them (ptrace(2): "ptrace_scope", and root
    without CAP_SYS_PTRACE).

    :param may: asked while the children stand still and begin nothing
    :return: what `may` has said; nothing has happened if that is False
    """
    with contextlib.ExitStack() as stack:
        children = _waiting(parent, stack)

        def go_on() -> None:
            for child in children:
                processes.send(child, signal.SIGCONT)

        def undo() -> None:
            go_on()
            for pipe in children.values():
                pipe.drain()

        with _certainly(undo):
            # If they ended before Apache has been told, it would start others
            # in their place.
            for child in children:
                processes.send(child, signal.SIGSTOP)
            if not may():
                return False
            for pipe in children.values():
                pipe.fill()
            processes.send(parent, signal.SIGUSR1)
            names = {pipe.name for pipe in children.values()}
            _wait(lambda: not names or _is_writing(parent, names))
            go_on()
            _wait(lambda: not any(map(_in_use, children)))
    return True


def can_look(parent: psutil.Process) -> bool:
    """Whether the kernel lets us look at the children of an Apache."""
    with contextlib.ExitStack() as stack:
        return bool(_waiting(parent, stack))


def _wait(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened() and time.monotonic() < deadline:
        time.sleep(_INTERVAL)


def _waiting(
    parent: psutil.Process, stack: contextlib.ExitStack
) -> 'dict[psutil.Process, _Pipe]':
    """The children that wait to be told something, each with its pipe."""
    shared = _pipes(parent)
    found = {}
    for child in processes.children(parent):
        place = _blocked_on(child)
        # It may end at any moment, and we may not be let in.
        with contextlib.suppress(OSError, psutil.Error):
            # Programs that Apache pipes a log to read from a pipe, too; and
            # whoever writes to one is no child that waits.
            forked = child.exe() == parent.exe()
            if forked and place and _is_end(place, _READS, shared):
                found[child] = pipe = _Pipe(place)
                stack.callback(pipe.close)
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


def _is_end(place: pathlib.Path, direction: int, names: set[str]) -> bool:
    """Whether this is that end of one of these pipes: proc(5), "fd"."""
    return bool(
        place.lstat().st_mode & direction and os.readlink(place) in names
    )


def _is_writing(process: psutil.Process, names: set[str]) -> bool:
    """Whether the first thread of a process writes into one of these."""
    place = _blocked_on(process)
    with contextlib.suppress(OSError):
        return place is not None and _is_end(place, _WRITES, names)
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
        self.name = os.readlink(place)
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

    Another process does it, which is there for nothing else: also if this one
    is killed, or stands still for too long.
    """
    guards, ours = os.pipe()
    try:
        # Neither Ctrl-C nor who ends everything by a signal ends the guard.
        before = signal.pthread_sigmask(
            signal.SIG_BLOCK, signal.valid_signals()
        )
        try:
            guard = os.fork()
            if not guard:
                _guard(guards, ours, undo)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            yield
        finally:
            os.close(ours)
            ours = -1
            _, status = os.waitpid(guard, 0)
            if status:
                undo()
    finally:
        os.close(guards)
        if ours >= 0:
            os.close(ours)


def _guard(guards: int, ours: int, undo: Callable[[], None]) -> NoReturn:
    try:
        os.setsid()
        os.close(ours)
        select.select([guards], [], [], _LONGEST)
        undo()
        os._exit(0)
    finally:
        os._exit(1)
