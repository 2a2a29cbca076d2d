"""Memory of many threads: two heaps for all of them instead of sixteen.

The C library gives threads heaps of their own, eight for each CPU, so that
they do not wait for each other, and what one thread gives back no other heap
gets. A worker has more than a hundred threads and runs one at a time, so each
heap grows to what a request needs, and nobody waits for one.
https://man7.org/linux/man-pages/man3/mallopt.3.html
"""

import contextlib
import ctypes
import os

MOST = 2
"""Heaps, "arenas", of a process."""

_M_ARENA_MAX = -8
"""malloc.h of the GNU C Library."""


def share() -> None:
    """Let threads that have no heap yet share `MOST` of them.

    Nothing where the environment tells their number, or with another C
    library.
    """
    tunables = os.environ.get('GLIBC_TUNABLES', '')
    if 'MALLOC_ARENA_MAX' not in os.environ and 'arena_max' not in tunables:
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, MOST)
