"""Which uploads are being received, told in a way that outlives kill -9.

Each upload has an entry, an empty file ``IMAGE.NUMBER`` in one directory, and
an exclusive flock(2) on it for as long as it is received. The kernel lets go
of a lock when its process ends, however that happens: an entry that can be
locked belongs to the dead.

Entries are per upload, not per image: a second upload to the same image,
which Glance refuses, must not take the first one's entry with it.
"""

import contextlib
import fcntl
import os
import pathlib
import re
import uuid
from collections.abc import Callable, Iterator

UUID = r'[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}'
"""An image's id, as Glance allows it; the name of a file, never a path."""

_ENTRY = re.compile(rf'({UUID})\.[0-9a-f]{{32}}')

Mend = Callable[[str, float], None]


class Journal:
    """The entries in a directory.

    :param directory: made if it isn't there
    :raises OSError: it can't be made
    """

    def __init__(self, directory: pathlib.Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory

    @contextlib.contextmanager
    def entry(self, image_id: str) -> Iterator[pathlib.Path]:
        """An entry for an upload to this image, for as long as it lasts.

        :raises OSError: it can't be written
        """
        path, descriptor = self._begin(image_id)
        with _released(descriptor):
            try:
                yield path
            finally:
                # One that stays will be found to need nothing.
                with contextlib.suppress(OSError):
                    path.unlink()

    def _begin(self, image_id: str) -> tuple[pathlib.Path, int]:
        while True:
            path = self.directory / f'{image_id}.{uuid.uuid4().hex}'
            descriptor = os.open(
                path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600
            )
            try:
                # In the moment before it has its lock somebody may take it
                # for a dead one's entry, and remove it: make another.
                if _lock(descriptor) and os.fstat(descriptor).st_nlink:
                    return path, descriptor
            except OSError:  # a file system without locks
                os.close(descriptor)
                path.unlink(missing_ok=True)
                raise
            os.close(descriptor)

    def images(self) -> list[str]:
        """The ids of the images that have entries, in their order.

        :raises OSError: the directory can't be read
        """
        names = map(_ENTRY.fullmatch, os.listdir(self.directory))
        return sorted({name[1] for name in names if name})

    def settle(
        self,
        image_id: str,
        mend: Mend,
        own: pathlib.Path | None = None,
    ) -> bool:
        """Mend what dead uploads to an image have left, unless one lives.

        One settles at a time, on the whole machine, and the entries are there
        until it is done. So an upload that has its entry and then settles can
        neither be taken for a dead one nor be overtaken by the mending.

        What a live upload receives can't be told from what a dead one has
        left: then nothing is done, and whoever settles after it will.

        :param mend: gets the image's id and when the first of the dead
            uploads began, in seconds since 1970; if it raises, the entries
            stay for the next time
        :param own: the entry of the upload that wants this
        :returns: False if an upload lives
        :raises OSError: the entries can't be read, locked or removed
        """
        if not self._entries(image_id, own):
            return True
        with self._turn(), contextlib.ExitStack() as stack:
            dead = {}
            for path in self._entries(image_id, own):
                try:
                    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
                except FileNotFoundError:  # its upload has just ended
                    continue
                stack.enter_context(_released(descriptor))
                if not _lock(descriptor):
                    return False
                facts = os.fstat(descriptor)
                if facts.st_nlink:  # else it has just ended, too
                    dead[path] = facts.st_mtime
            if dead:
                mend(image_id, min(dead.values()))
            for path in dead:
                path.unlink()
            return True

    def _entries(
        self, image_id: str, own: pathlib.Path | None
    ) -> list[pathlib.Path]:
        names = map(_ENTRY.fullmatch, os.listdir(self.directory))
        return [
            self.directory / name[0]
            for name in names
            if name and name[1] == image_id and self.directory / name[0] != own
        ]

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        descriptor = os.open(
            self.directory / '.lock', os.O_CREAT | os.O_RDWR, 0o600
        )
        with _released(descriptor):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield


def _lock(descriptor: int) -> bool:
    """Lock it, unless somebody else has."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _released(descriptor: int) -> Iterator[None]:
    """Unlock and close it at the end.

    Closing alone would leave it locked if the process was forked meanwhile:
    the child has the same lock.
    """
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)
