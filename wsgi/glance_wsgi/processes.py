"""Finding exactly the processes that we started, and ending them.

A process is never found by its name or its port. The server writes its pid
file right after it has started, so a process that began after the file was
written has inherited the number from one that is gone; and one of another
user is not ours either, whatever the file says.
"""

import contextlib
import pathlib
import time
from typing import Any

import psutil

INTERVAL = 0.05  # seconds between two looks

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


def family(process: psutil.Process) -> list[psutil.Process]:
    """A process and all its descendants."""
    try:
        return [process, *process.children(recursive=True)]
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


def kill(processes: list[psutil.Process]) -> list[psutil.Process]:
    """End processes at once; those that do not even so.

    psutil refuses where the pid is another's now.
    """
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return wait(processes, timeout=5)
