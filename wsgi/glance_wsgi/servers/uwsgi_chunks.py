"""Bodies in chunks under uWSGI, which Glance does not read by wsgi.input.

It reads them by uWSGI's own call, which gives a whole chunk each time.
https://uwsgi-docs.readthedocs.io/en/latest/Chunked.html
"""

import functools
import threading
from collections.abc import Callable, Iterable
from typing import Any

try:
    import uwsgi
except ImportError:  # elsewhere Glance reads all bodies by wsgi.input
    uwsgi = None

PIECE = 256 * 1024
"""Bytes that Glance gets at once. It copies what it has got and was not asked
for each time that it is asked for more (``glance.common.wsgi``): with a chunk
of 64 MiB that took seconds of Python's time."""

Environ = dict[str, Any]
Application = Callable[..., Iterable[bytes]]
Read = Callable[..., Any]


def read_by(around: Callable[[Read], Read]) -> None:
    """Have chunks be read by what `around` makes of uWSGI's call."""
    if uwsgi is not None:
        uwsgi.chunked_read = around(uwsgi.chunked_read)


def in_pieces(application: Application) -> Application:
    """The application, which gets no more than `PIECE` bytes at once."""
    if uwsgi is None:
        return application
    chunk = _Chunk()
    read_by(chunk.by_pieces)

    def apply(
        environ: Environ, start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        # What a request has not read must not be taken for the next one's.
        chunk.forget()
        try:
            return application(environ, start_response)
        finally:
            chunk.forget()

    return apply


_NOTHING = memoryview(b'')


class _Chunk(threading.local):
    """What is left of the chunk that this thread has read last."""

    left = _NOTHING

    def forget(self) -> None:
        self.left = _NOTHING

    def by_pieces(self, read: Read) -> Read:
        @functools.wraps(read)
        def read_piece(*timeout: int) -> Any:
            if not self.left:
                self.left = memoryview(read(*timeout))
            piece = bytes(self.left[:PIECE])
            # An empty view of a chunk would keep it.
            self.left = self.left[PIECE:] or _NOTHING
            return piece

        return read_piece
