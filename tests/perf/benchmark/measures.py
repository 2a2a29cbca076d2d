"""What processes and their descendants have cost: CPU time and memory."""

import contextlib
import pathlib
import re
import time
from collections.abc import Iterable

import psutil
import toolkit

IDLE = 0.05  # CPU-seconds that who has nothing to do takes in half a second
KILLED = 30  # seconds in which what was killed is gone, however busy all is


def family(roots: Iterable[psutil.Process]) -> list[psutil.Process]:
    """The roots and all their descendants that live, each once."""
    found: dict[int, psutil.Process] = {}
    for root in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in (root, *root.children(recursive=True)):
                found[process.pid] = process
    return list(found.values())


def cpu_seconds(roots: Iterable[psutil.Process]) -> float:
    """CPU-seconds of a family, of those that have ended meanwhile too.

    The kernel adds what an ended process took to what its parent's children
    took, so only an ended root is lost.
    """
    total = 0.0
    for process in family(roots):
        with contextlib.suppress(psutil.NoSuchProcess):
            # user, system, and both of the children that were waited for
            total += sum(process.cpu_times()[:4])
    return total


def anonymous(roots: Iterable[psutil.Process]) -> list[int]:
    """The bytes of each process of a family, the largest first.

    A page that several processes share is divided among them (PSS), so that
    the sum is what all of them take. Pages of files are left out: contenders
    share them, and who runs beside is no matter of a contender's.
    https://man7.org/linux/man-pages/man5/proc_pid_smaps.5.html
    """
    found = []
    for process in family(roots):
        rollup = pathlib.Path(f'/proc/{process.pid}/smaps_rollup')
        with contextlib.suppress(OSError):
            sizes = re.findall(
                r'^Pss_(?:Anon|Shmem): *(\d+) kB$',
                rollup.read_text(),
                re.MULTILINE,
            )
            found.append(sum(map(int, sizes)) * 2**10)
    return sorted(found, reverse=True)


def rest(roots: Iterable[psutil.Process], within: float) -> None:
    """Wait until a family has nothing more to do, or the time is up.

    :param within: seconds
    """
    deadline = time.monotonic() + within
    before = cpu_seconds(roots)
    while time.monotonic() < deadline:
        time.sleep(0.5)
        now = cpu_seconds(roots)
        if now - before < IDLE:
            return
        before = now


def resident(roots: Iterable[psutil.Process]) -> list[int]:
    """The same with RSS, which counts shared pages in full."""
    found = []
    for process in family(roots):
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(process.memory_info().rss)
    return sorted(found, reverse=True)


def kill(roots: Iterable[psutil.Process], patience: float) -> None:
    """End a family: ask the roots, and kill what is left after a while.

    :param patience: seconds
    """
    everything = family(roots)
    for root in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            root.terminate()
    for process in _left(everything, patience):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _left(everything, KILLED)


def _left(
    everything: list[psutil.Process], patience: float
) -> list[psutil.Process]:
    """Those that still live after a while, or sooner if none does."""
    deadline = time.monotonic() + patience
    while left := [
        process for process in everything if toolkit.alive(process)
    ]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return left
