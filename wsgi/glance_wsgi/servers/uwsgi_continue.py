"""``Expect: 100-continue`` under uWSGI's http-socket.

A client that sends this header waits for "100 Continue" before it sends the
body (RFC 9110, section 10.1.1). Other servers answer when the application
begins to read; uWSGI never does, so curl loses a second on every upload and
strict clients wait for ever. This sends the answer itself, once the
application reads, so that a refusal (401, 403) saves the transfer.

Under https-socket the answer would have to be encrypted, which uWSGI lets no
application do: there the client waits as long as it likes.
"""

import functools
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

from glance_wsgi.servers import uwsgi_chunks

try:
    import uwsgi
except ImportError:  # any other server answers the expectation itself
    uwsgi = None

CONTINUE = b'HTTP/1.1 100 Continue\r\n\r\n'

Environ = dict[str, Any]
Application = Callable[..., Iterable[bytes]]


class Continue:
    """The application, with expectations answered: see the module."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self._expecting = threading.local()
        uwsgi_chunks.read_by(self._invited)

    def __call__(
        self, environ: Environ, start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        body = None
        if _expects(environ):
            body = _Input(environ['wsgi.input'], uwsgi.connection_fd())
            environ['wsgi.input'] = body
        self._expecting.body = body
        return self.application(environ, start_response)

    def _invited(self, read: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(read)
        def invite_and_read(*timeout: int) -> Any:
            body = getattr(self._expecting, 'body', None)
            if body is not None:
                body.invite()
            return read(*timeout)

        return invite_and_read


def _expects(environ: Environ) -> bool:
    # Not by wsgi.url_scheme, which a client chooses: uWSGI believes its
    # X-Forwarded-Proto.
    expected = environ.get('HTTP_EXPECT', '').lower() == '100-continue'
    return expected and 'https-socket' not in uwsgi.opt


class _Input:
    """A wsgi.input that invites the body before the first read."""

    def __init__(self, wrapped: Any, descriptor: int) -> None:
        self._wrapped = wrapped
        self._descriptor: int | None = descriptor

    def __getattr__(self, name: str) -> Any:
        self.invite()
        return getattr(self._wrapped, name)

    def __iter__(self) -> Any:
        self.invite()
        return iter(self._wrapped)

    @property
    def awaited(self) -> bool:
        """Whether the client still waits for the invitation."""
        return self._descriptor is not None

    def invite(self) -> None:
        """Tell the client to send the body, once."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.write(descriptor, CONTINUE)


def answer(application: Application) -> Application:
    """The application as it should run here; unchanged but in uWSGI."""
    return application if uwsgi is None else Continue(application)
