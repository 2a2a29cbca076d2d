"""Names for single downloads, by which Apache opens their files.

A ticket is a second name (a hard link) of the very file that Glance has
opened, so what becomes of the first name meanwhile does not matter: an image
that is deleted or replaced is still the one that was authorised. It is in a
directory of its own beside the file, is valid for a while, and can't be
guessed, nor listed by others.
"""

import collections
import contextlib
import logging
import os
import pathlib
import secrets
import stat
import threading
import time

from glance_wsgi.data import regions

LOG = logging.getLogger(__name__)

DIRECTORY = '.handed-off'
"""The directory, in each one of a store or a cache."""

LIFETIME = 60
"""Seconds between the answer and Apache's opening of the file. It takes
milliseconds; but a machine may be busy."""


class Tickets:
    """Makes tickets, and removes them when their time is over."""

    def __init__(self, lifetime: float = LIFETIME) -> None:
        self.lifetime = lifetime
        self._changed = threading.Condition()
        self._waiting: collections.deque[tuple[float, pathlib.Path]] = (
            collections.deque()
        )
        self._directories: set[pathlib.Path] = set()
        self._thread: threading.Thread | None = None

    def make(self, region: regions.Region) -> pathlib.Path | None:
        """A ticket for a region's file.

        :returns: None where the file system does not allow one
        """
        directory = pathlib.Path(region.path).parent / DIRECTORY
        ticket = directory / f'{time.time():.0f}-{secrets.token_hex(16)}'
        try:
            self._prepare(directory)
            _link(region.file.fileno(), ticket)
        except OSError as error:
            # It may be made again: somebody may have removed it.
            self._directories.discard(directory)
            LOG.info('%s is not handed off: %s', region.path, error)
            return None
        self._remove_later(ticket, self.lifetime)
        return ticket

    def take_over(self, folder: pathlib.Path) -> None:
        """Remove what other processes have left, when its time is over.

        A process that has ended can't; one that lives does, too.

        :param folder: one of a store or a cache
        """
        with contextlib.suppress(OSError):
            self._take_over(folder / DIRECTORY)

    def _prepare(self, directory: pathlib.Path) -> None:
        if directory in self._directories:
            return
        directory.mkdir(mode=0o711, exist_ok=True)
        # Whatever the umask: others may enter, and see no names.
        directory.chmod(0o711)
        self._directories.add(directory)
        self._take_over(directory)

    def _take_over(self, directory: pathlib.Path) -> None:
        # The oldest first, as they are waited for.
        for ticket in sorted(directory.iterdir()):
            made = ticket.name.partition('-')[0]
            if made.isdecimal():
                left = int(made) + self.lifetime - time.time()
                # No longer than ours: the clock may have been wrong.
                self._remove_later(ticket, min(left, self.lifetime))

    def _remove_later(self, ticket: pathlib.Path, seconds: float) -> None:
        with self._changed:
            due = time.monotonic() + seconds
            self._waiting.append((due, ticket))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._remove, name='tickets', daemon=True
                )
                self._thread.start()
            self._changed.notify()

    def _remove(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                due, ticket = self._waiting.popleft()
            time.sleep(max(due - time.monotonic(), 0))
            with contextlib.suppress(OSError):
                ticket.unlink()


def _link(descriptor: int, name: pathlib.Path) -> None:
    """Give an open file another name; linkat(2) has an example of it."""
    place = os.open('/proc/self/fd', os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.link(str(descriptor), name, src_dir_fd=place, follow_symlinks=True)
    finally:
        os.close(place)


def may_read(ticket: pathlib.Path, gid: int) -> bool:
    """Whether another user, of this group, can open a ticket.

    :param gid: the number of the group
    """
    try:
        return bool(_rights(ticket.stat(), gid) & 4) and all(
            _rights(folder.stat(), gid) & 1 for folder in ticket.parents
        )
    except OSError:
        return False


def _rights(facts: os.stat_result, gid: int) -> int:
    mode = stat.S_IMODE(facts.st_mode)
    return mode >> 3 if facts.st_gid == gid else mode
