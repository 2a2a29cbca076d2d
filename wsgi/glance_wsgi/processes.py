"""Finding exactly the processes that we started, and ending them.

A process is never found by its name or its port. The server writes its pid
file right after it has started, so a process that began after the file was
written has inherited the number from one that is gone; and one of another
user is not ours either, whatever the file says.
"""

import contextlib
import os
import pathlib
import signal
import time
from collections.abc import Callable
from typing import Any

import psutil

from glance_wsgi import state

INTERVAL = 0.05  # seconds between two looks

_TICKS = os.sysconf('SC_CLK_TCK')

AGAIN = 5.0
"""Seconds after which processes that were told to end are told once more."""

CLOCK_SLACK = 2.0
"""Seconds by which the times of files and of processes may differ."""


def from_pidfile(path: pathlib.Path, uid: int) -> psutil.Process | None:
    """The process that wrote the pid file; None if it is gone.

    :param uid: the user that it must run as
    """
    try:
        written = path.stat().st_mtime
        process = psutil.Process(int(path.read_text()))
        with process.oneshot():
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            if process.uids().real != uid:
                return None
            if process.create_time() > written + CLOCK_SLACK:
                return None
            return process
    except (OSError, ValueError, psutil.Error):
        return None


def began(process: psutil.Process) -> float:
    """When a process began, as seconds of the clock that files have.

    psutil knows it to the second only; this is exact to a hundredth, which
    telling an old worker from a new one needs. proc(5), "starttime".

    :raises psutil.NoSuchProcess: it has ended
    """
    ticks = _ticks(process.pid)
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / _TICKS
    return time.time() - age


def _ticks(number: int) -> int:
    try:
        text = pathlib.Path(f'/proc/{number}/stat').read_text()
    except OSError as error:
        raise psutil.NoSuchProcess(number) from error
    return int(text.rpartition(')')[2].split()[19])


def family(process: psutil.Process) -> list[psutil.Process]:
    """A process and all its descendants."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def age(process: psutil.Process) -> float:
    """Seconds that a process has run; 0 if it has ended."""
    try:
        return time.time() - began(process)
    except psutil.NoSuchProcess:
        return 0.0


def title(process: psutil.Process) -> str:
    """How a process shows itself in its command line; empty if it ended."""
    try:
        return ' '.join(process.cmdline())
    except psutil.Error:
        return ''


def remember(file: pathlib.Path, process: psutil.Process) -> None:
    """Write down which process it is, beyond any doubt.

    By its number, by when it began, in ticks since the machine was booted,
    and by which boot that was; so no later process is taken for it.
    """
    text = f'{process.pid} {_ticks(process.pid)} {_boot()}\n'
    state.write_file(file, text, state.Owner.myself(), mode=0o644)


def remembered(file: pathlib.Path, uid: int) -> psutil.Process | None:
    """The process that `remember` wrote down; None if it has ended.

    :param uid: the user that it must run as
    """
    number, ticks = _recall(file)
    try:
        if not number or _ticks(number) != ticks:
            return None
        process = psutil.Process(number)
        return process if _is(process, uid) else None
    except psutil.NoSuchProcess:
        return None


def session(
    file: pathlib.Path, uid: int, home: pathlib.Path
) -> list[psutil.Process]:
    """The process that `remember` wrote down, and those of its session.

    They are found after that process has been killed, too: its number is not
    given to another process while a session has it as its name (setsid(2)).

    :param uid: the user that they must run as
    :param home: the HOME that `programs.environment` gave to all of them,
        and to nobody else
    """
    leader = remembered(file, uid)
    number, _ = _recall(file)
    if not number:
        return []
    members = [
        process
        for process in psutil.process_iter()
        if _in_session(process, number)
        and _is(process, uid)
        and _lives_in(process, home)
    ]
    return [*([leader] if leader else ()), *members]


def _recall(file: pathlib.Path) -> tuple[int, int]:
    try:
        number, ticks, boot = file.read_text().split()
        return (int(number), int(ticks)) if boot == _boot() else (0, 0)
    except (OSError, ValueError):
        return (0, 0)


def _boot() -> str:
    # https://docs.kernel.org/admin-guide/sysctl/kernel.html
    return pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip()


def _is(process: psutil.Process, uid: int) -> bool:
    try:
        return bool(process.uids().real == uid and alive(process))
    except psutil.NoSuchProcess:
        return False


def _in_session(process: psutil.Process, number: int) -> bool:
    try:
        return process.pid != number and os.getsid(process.pid) == number
    except OSError:
        return False


def _lives_in(process: psutil.Process, home: pathlib.Path) -> bool:
    try:
        return process.environ().get('HOME') == str(home)
    except psutil.Error:
        return False


def children(process: psutil.Process) -> list[psutil.Process]:
    """The processes that a process has started itself; none if it ended."""
    try:
        return [item for item in process.children() if alive(item)]
    except psutil.NoSuchProcess:
        return []


def listening(process: psutil.Process) -> list[Any]:
    """The sockets that a process listens on; none if it has ended."""
    try:
        sockets = process.net_connections('inet')
    except psutil.Error:
        return []
    return [item for item in sockets if item.status == psutil.CONN_LISTEN]


def alive(process: psutil.Process) -> bool:
    """Whether it still runs; one that only waits to be reaped does not."""
    try:
        return bool(
            process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.NoSuchProcess:
        return False


def wait(
    processes: list[psutil.Process], timeout: float
) -> list[psutil.Process]:
    """Wait until processes have ended; those that have not.

    psutil's own wait would also wait until somebody reaps them.

    :param timeout: seconds
    """
    deadline = time.monotonic() + timeout
    while left := [process for process in processes if alive(process)]:
        if time.monotonic() > deadline:
            break
        time.sleep(INTERVAL)
    return left


def wait_telling_again(
    processes: list[psutil.Process],
    timeout: float,
    tell: Callable[[list[psutil.Process]], None],
) -> list[psutil.Process]:
    """Wait for processes that were told to end; those that have not ended.

    A process that has just been forked does not hear: until it has handlers
    of its own, a signal is handled as its parent would, or is ignored.

    :param timeout: seconds
    :param tell: tells those that have not ended after a while once more,
        which must do no harm to one that has heard
    """
    left = wait(processes, min(timeout, AGAIN))
    if left and timeout > AGAIN:
        tell(left)
        left = wait(left, timeout - AGAIN)
    return left


def send(process: psutil.Process, number: int) -> None:
    """Send a signal; nothing if the process has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def ask_to_end(processes: list[psutil.Process]) -> None:
    """Tell processes to end, by SIGTERM."""
    for process in processes:
        send(process, signal.SIGTERM)


def terminate(processes: list[psutil.Process], timeout: float) -> None:
    """End processes, by force when they are not gone in time.

    :param timeout: seconds
    """
    ask_to_end(processes)
    kill(wait(processes, timeout))


def wait_until_deaf(process: psutil.Process, timeout: float = 5.0) -> None:
    """Wait until a process listens nowhere any more, or has ended.

    :param timeout: seconds
    """
    deadline = time.monotonic() + timeout
    while listening(process) and time.monotonic() < deadline:
        time.sleep(0.01)


def kill(processes: list[psutil.Process]) -> list[psutil.Process]:
    """End processes at once; those that do not even so.

    psutil refuses where the pid is another's now.
    """
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return wait(processes, timeout=5)
