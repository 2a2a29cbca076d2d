"""What processes and their descendants have cost: CPU time and memory."""

import contextlib
import time
from collections.abc import Iterable

import psutil
import toolkit

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


def pss(roots: Iterable[psutil.Process]) -> list[int]:
    """The bytes of each process of a family, the largest first.

    PSS divides a page that several processes share among them, so that the
    sum is what all of them take.
    """
    found = []
    for process in family(roots):
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(process.memory_full_info().pss)
    return sorted(found, reverse=True)


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
