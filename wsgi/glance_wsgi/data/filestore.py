"""Has the file store work in a pipeline; private names of glance_store.

Glance's own ``Store.add`` goes on deciding everything: which directory, what
is too large or too small, what is removed after an error, which error that is.
It only finds other things under the names that it reads, hashes and writes
by. So its results are its own, for uploads, for staging and for what an import
puts into a store alike; and stores keep their kind, ``file``, in every
configuration. tests/functional/test_store_contract.py pins each name on every
supported Glance.

What is removed after an error is removed by its path. A process that was
stopped for a while may find another file there, of the one that has taken over
from it. So a file is removed by the call alone that has made it, with a
pipeline and without.
"""

import contextlib
import functools
import logging
import os
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from oslo_config import cfg

from glance_wsgi.conf import transfers
from glance_wsgi.data import pipeline

LOG = logging.getLogger(__name__)

Application = Callable[..., Iterable[bytes]]


def overlap(application: Application) -> Application:
    """Have file stores work in a pipeline, from now on.

    :returns: `application`, as it is
    """
    transfers.register_opts(cfg.CONF)
    install(pipelined=cfg.CONF.transfers.upload_pipeline)
    return application


def install(pipelined: bool = True) -> None:
    """Put all of this under the file store of glance_store."""
    # Imported late: glance_store belongs to servers.
    from glance_store._drivers import filesystem

    if hasattr(filesystem, 'open'):
        return
    filesystem.open = _open
    store = filesystem.Store
    store._delete_partial = staticmethod(_own_only(store._delete_partial))
    if pipelined:
        filesystem.utils = _utilities(filesystem.utils)
        store.add = _overlapping(store.add)
    store.add = _owning(store.add)


class _Add(pipeline.Pipeline):
    """What one call of ``Store.add`` works with.

    :param chunk: ``filesystem_store_chunk_size``, in bytes
    :param thin: ``filesystem_thin_provisioning``
    """

    def __init__(self, chunk: int, thin: bool) -> None:
        super().__init__()
        self.chunk = chunk
        self.thin = thin

    @property
    def piece(self) -> int:
        """Bytes to read at once: whole chunks, but never too many."""
        whole = max(pipeline.PIECE // self.chunk, 1) * self.chunk
        return min(whole, pipeline.LARGEST)


class _Running(threading.local):
    """The call of ``Store.add`` in this thread.

    :param add: its pipeline, if it has one
    :param made: the device and the inode of the file that it has made
    """

    add: _Add | None = None
    made: tuple[int, int] | None = None


_running = _Running()


def _owning(add: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(add)
    def owning(*words: Any, **options: Any) -> Any:
        _running.made = None
        try:
            return add(*words, **options)
        finally:
            _running.made = None

    return owning


def _own_only(delete: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(delete)
    def delete_own(path: str, image_id: str) -> None:
        if _running.made is not None and _identity(path) == _running.made:
            delete(path, image_id)
        else:
            LOG.warning('%s is left alone: it was made by another.', path)

    return delete_own


def _identity(path: str) -> tuple[int, int] | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def _overlapping(add: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(add)
    def overlapping(store: Any, *words: Any, **options: Any) -> Any:
        running = _Add(store.chunk_size, store.thin_provisioning)
        with contextlib.closing(running):
            verifier = options.get('verifier')
            if verifier:
                options['verifier'] = pipeline.Hasher(
                    running.stage(), verifier
                )
            _running.add = running
            try:
                return add(store, *words, **options)
            finally:
                _running.add = None

    return overlapping


def _open(path: Any, mode: str = 'r', *words: Any, **options: Any) -> Any:
    """The built-in, but for the file that is being added."""
    if mode != 'wb':
        return open(path, mode, *words, **options)
    # Store.add has seen that there is none: if there is one now, it is not
    # ours.
    file = open(path, 'xb', *words, **options)  # noqa: SIM115
    facts = os.fstat(file.fileno())
    _running.made = facts.st_dev, facts.st_ino
    return _File(_running.add, file) if _running.add else file


def _utilities(utils: types.ModuleType) -> types.SimpleNamespace:
    """The helpers of glance_store, with two of our own."""

    def get_hasher(*words: Any, **options: Any) -> Any:
        hasher = utils.get_hasher(*words, **options)
        running = _running.add
        if running is None:
            return hasher
        return pipeline.Hasher(running.stage(), hasher)

    def chunkreadable(source: Any, size: int = 65536) -> Iterable[bytes]:
        running = _running.add
        if running is None:
            return utils.chunkreadable(source, size)
        return _gathered(
            utils.chunkreadable(source, running.piece), running.piece
        )

    return types.SimpleNamespace(
        **{
            **vars(utils),
            'get_hasher': get_hasher,
            'chunkreadable': chunkreadable,
        }
    )


def _gathered(pieces: Iterable[bytes], least: int) -> Iterator[bytes]:
    """The same data, in pieces that are worth to be handed over."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        # Who reuses a buffer must not change what is yet to be worked on.
        waiting.append(bytes(piece))
        size += len(piece)
        if size >= least:
            yield waiting[0] if len(waiting) == 1 else b''.join(waiting)
            waiting, size = [], 0
    if size:
        yield b''.join(waiting)


class _File:
    """The image's file, written in a stage of its own.

    At its end all stages are waited for, so what goes wrong in one is an error
    of the writing, after which ``Store.add`` removes the file. An error that
    ends the reading waits too: one in an earlier piece comes before it, as it
    does where one piece is worked on at a time.
    """

    def __init__(self, running: _Add, file: Any) -> None:
        self._running = running
        self._file = file
        self._stage = running.stage()

    def __enter__(self) -> '_File':
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        with self._file:
            self._running.finish()

    def write(self, piece: bytes) -> None:
        """Write it, soon."""
        self._stage.do(self._write, piece)

    def truncate(self, size: int) -> None:
        """Make the file that long, soon: a hole, with thin provisioning."""
        self._stage.do(self._file.truncate, size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> None:
        """Go on there, soon."""
        self._stage.do(self._file.seek, offset, whence)

    def _write(self, piece: bytes) -> None:
        if not self._running.thin:
            self._file.write(piece)
            return
        # A piece has several of the chunks that the store is told to look at.
        for start in range(0, len(piece), self._running.chunk):
            chunk = piece[start : start + self._running.chunk]
            if chunk.count(0) == len(chunk):
                self._file.truncate(self._file.tell() + len(chunk))
                self._file.seek(0, os.SEEK_END)
            else:
                self._file.write(chunk)
