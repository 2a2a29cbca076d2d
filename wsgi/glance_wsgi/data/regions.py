"""Parts of local files, in place of the bytes that Glance reads from them.

Glance passes the pieces of an image from its store through several layers,
which count them, notify about them and never look into them. So a piece may
be a `Region`: no bytes, but an open file, an offset and a length, that the
web server sends. Only `first` gets one, and only as the first piece.

This module alone uses what Glance and glance_store do not publish: how the
file store and the image cache read their files, and how the cache is filled.
tests/functional/test_downloads_contract.py pins each name on every supported
Glance.
"""

import contextlib
import contextvars
import dataclasses
import io
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any

PIECE = 65536
"""Bytes that are read at once, as Glance's stores do."""


class Region(bytes):
    """A part of an open file; its length is that of the part.

    As bytes it is empty: whoever takes it for a piece of data gets nothing.

    :ivar path: where the file is, or was
    :ivar file: the open file, which is this region's own
    :ivar offset: bytes before it
    :ivar size: bytes of the whole file
    """

    path: str
    file: io.FileIO
    offset: int
    length: int
    size: int

    @classmethod
    def of(cls, file: Any, length: int | None) -> 'Region | None':
        """What is to be read from a file, from where it stands.

        :param file: an open, buffered file
        :param length: bytes; None for all that follow
        :returns: None where there is nothing
        :raises OSError: it can't be looked at
        """
        size, offset = os.fstat(file.fileno()).st_size, file.tell()
        rest = size - offset
        length = rest if length is None else min(length, rest)
        if length <= 0:
            return None
        region = cls()
        region.path, region.offset = os.fspath(file.name), offset
        region.length, region.size = length, size
        region.file = io.FileIO(os.dup(file.fileno()))
        return region

    def __len__(self) -> int:
        return self.length

    @property
    def end(self) -> int:
        """Offset of what follows it."""
        return self.offset + self.length

    def pieces(self) -> Iterator[bytes]:
        """Its data, as Glance would have read it."""
        with self.file:
            place = self.offset
            while piece := os.pread(
                self.file.fileno(), min(PIECE, self.end - place), place
            ):
                yield piece
                place += len(piece)


@dataclasses.dataclass
class _Offer:
    """That the first piece of a download may be a region.

    :param directories: where its file may be
    """

    directories: frozenset[str]
    region: Region | None = None

    def find(self, file: Any, length: int | None) -> Region | None:
        if self.region is None:
            with contextlib.suppress(OSError):
                if _is_in(self.directories, file):
                    self.region = Region.of(file, length)
                    return self.region
        return None


def _is_in(directories: frozenset[str], file: Any) -> bool:
    """Whether an open file is a regular one, directly in a directory.

    Not one that a link leads to, nor one that is not there any more.
    """
    if not isinstance(getattr(file, 'name', None), str):
        return False
    path = os.path.normpath(file.name)
    there, here = os.lstat(path), os.fstat(file.fileno())
    return (
        os.path.dirname(path) in directories
        and stat.S_ISREG(there.st_mode)
        and os.path.samestat(there, here)
    )


_offer: contextvars.ContextVar[_Offer | None] = contextvars.ContextVar(
    'offer', default=None
)


class Misused(Exception):
    """A part of the application reads the pieces and got a region."""


def first(pieces: Iterator[bytes], directories: frozenset[str]) -> bytes:
    """The first piece of a download, which may be a `Region`.

    :param directories: where a region's file may be
    :returns: empty where there is none
    :raises Misused: something took the region and made something else of it
    """
    offer = _Offer(directories)
    token = _offer.set(offer)
    try:
        piece = next(pieces, b'')
    finally:
        _offer.reset(token)
    if offer.region is not None and piece is not offer.region:
        offer.region.file.close()
        raise Misused(
            'Something in the pipeline of Glance changes the data of '
            'downloads, so the web server cannot send it. Set '
            'hand_off_downloads = false in [transfers].'
        )
    return piece


def _found(file: Any, length: int | None = None) -> Region | None:
    offer = _offer.get()
    return None if offer is None else offer.find(file, length)


def install() -> None:
    """Let Glance, which is loaded, offer regions to `first`."""
    # Importing Glance registers its options, which only servers may do.
    from glance import image_cache
    from glance.common import utils
    from glance_store._drivers import filesystem

    filesystem.ChunkedFile = _offering_file(filesystem.ChunkedFile)
    utils.chunkiter = _offering_chunks(utils.chunkiter)
    cache = image_cache.ImageCache
    cache.cache_tee_iter = _reading(cache.cache_tee_iter)


def _offering_file(read: Any) -> Any:
    class ChunkedFile(read):
        """What the file store reads an image by."""

        def __iter__(self) -> Iterator[bytes]:
            region = _found(self.fp, self.partial_length)
            if region is None:
                yield from super().__iter__()
                return
            try:
                yield region
            finally:
                self.close()

    return ChunkedFile


def _offering_chunks(
    read: Callable[..., Iterator[bytes]],
) -> Callable[..., Iterator[bytes]]:
    def chunkiter(fp: Any, *words: Any, **options: Any) -> Iterator[bytes]:
        """What the image cache reads an image by."""
        region = _found(fp)
        if region is None:
            yield from read(fp, *words, **options)
        else:
            yield region

    return chunkiter


def _reading(
    fill: Callable[..., Iterator[bytes]],
) -> Callable[..., Iterator[bytes]]:
    def cache_tee_iter(*words: Any, **options: Any) -> Iterator[bytes]:
        """What fills the image cache, for which the data has to be read."""
        # It begins to run when `first` asks for its first piece.
        _offer.set(None)
        yield from fill(*words, **options)

    return cache_tee_iter
