"""A refusal reaches the client while it still sends, under uWSGI.

Glance refuses an upload as soon as it can: at the first byte over a quota. A
server that closes then, with data unread, resets the connection, and what it
has answered may be lost on the way (RFC 9112, section 9.6); Apache in front
says 502 in its place. So here the answer is sent, and what still comes is read
and thrown away for a while. Other servers do that themselves: Apache calls it
a lingering close.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

try:
    import uwsgi
except ImportError:
    uwsgi = None

LONGEST = 30.0
"""Seconds for which a thread reads what nobody wants, as Apache does
(MAX_SECS_TO_LINGER)."""

PIECE = 64 * 1024  # bytes

Environ = dict[str, Any]
Application = Callable[..., Iterable[bytes]]


def linger(application: Application) -> Application:
    """The application as it should run here; unchanged but in uWSGI."""
    return application if uwsgi is None else Lingering(application)


class Lingering:
    """The application, whose refusals reach the client: see the module."""

    def __init__(self, application: Application) -> None:
        self.application = application

    def __call__(
        self, environ: Environ, start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        refused: list[str] = []

        def start(status: str, *words: Any) -> Any:
            refused[:] = [status] if status >= '4' else []
            return start_response(status, *words)

        answer = self.application(environ, start)
        return _Refusal(answer, environ) if refused else answer


class _Refusal:
    """An answer that is followed by reading what is left of the body."""

    def __init__(self, wrapped: Iterable[bytes], environ: Environ) -> None:
        self._wrapped = wrapped
        self._environ = environ

    def __iter__(self) -> Iterator[bytes]:
        yield from self._wrapped
        if _sends_on(self._environ):
            # OSError: the client is gone, or its time is over
            with contextlib.suppress(OSError), _not_for_ever():
                _read_to_the_end(_reader(self._environ))

    def close(self) -> None:
        """Called by the server at the end, whatever has happened."""
        close = getattr(self._wrapped, 'close', None)
        if close is not None:
            close()


def _sends_on(environ: Environ) -> bool:
    """Whether the client has a body, and sends it without being asked.

    One that waits for "100 Continue" has sent none, and with a refusal it
    never will.
    """
    has_body = environ.get('CONTENT_LENGTH', '0') not in ('', '0') or bool(
        environ.get('HTTP_TRANSFER_ENCODING')
    )
    return has_body and not getattr(environ['wsgi.input'], 'awaited', False)


def _read_to_the_end(read: Callable[[], bytes]) -> None:
    deadline = time.monotonic() + LONGEST
    while read() and time.monotonic() < deadline:
        pass


@contextlib.contextmanager
def _not_for_ever() -> Iterator[None]:
    """End reading when its time is over.

    One call of uWSGI's reads until it has all that it was asked for, however
    slowly that comes, so the connection has to end it: shutdown(2).
    """
    with socket.socket(fileno=os.dup(uwsgi.connection_fd())) as connection:
        end = threading.Timer(LONGEST, _shut, [connection])
        end.daemon = True
        end.start()
        try:
            yield
        finally:
            end.cancel()


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has been closed meanwhile
        connection.shutdown(socket.SHUT_RD)


def _reader(environ: Environ) -> Callable[[], bytes]:
    """What reads the next piece of the body, and b'' at its end."""
    body = environ['wsgi.input']
    if 'chunked' in environ.get('HTTP_TRANSFER_ENCODING', '').lower():
        return uwsgi.chunked_read
    return lambda: body.read(PIECE)
