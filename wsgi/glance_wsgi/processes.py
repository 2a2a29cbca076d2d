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
from typing import Any

import psutil

INTERVAL = 0.05  # seconds between two looks

_TICKS = os.sysconf('SC_CLK_TCK')

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
    try:
        text = pathlib.Path(f'/proc/{process.pid}/stat').read_text()
    except OSError as error:
        raise psutil.NoSuchProcess(process.pid) from error
    ticks = int(text.rpartition(')')[2].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / _TICKS
    return time.time() - age


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


def session(pidfile: pathlib.Path, uid: int) -> list[psutil.Process]:
    """The process that wrote the pid file and those of its session.

    They are found after that process has been killed, too: its number is not
    given to another process while a session has it as its name (setsid(2)).

    :param uid: the user that they must run as
    """
    try:
        number = int(pidfile.read_text())
    except (OSError, ValueError):
        return []
    leader = from_pidfile(pidfile, uid)
    if leader is None and psutil.pid_exists(number):
        return _orphans(number, uid) if _is_zombie(number) else []
    return [*([leader] if leader else ()), *_orphans(number, uid)]


def _is_zombie(number: int) -> bool:
    try:
        return bool(psutil.Process(number).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _orphans(number: int, uid: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if (
                process.pid != number
                and os.getsid(process.pid) == number
                and process.uids().real == uid
                and alive(process)
            ):
                found.append(process)
        except (OSError, psutil.Error):
            continue
    return found


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


def stands_still(process: psutil.Process) -> bool:
    """Whether somebody has stopped it by SIGSTOP."""
    try:
        return bool(process.status() == psutil.STATUS_STOPPED)
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


def send(process: psutil.Process, number: int) -> None:
    """Send a signal; nothing if the process has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def terminate(processes: list[psutil.Process], timeout: float) -> None:
    """End processes, by force when they are not gone in time.

    :param timeout: seconds
    """
    for process in processes:
        send(process, signal.SIGTERM)
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
