"""``Expect: 100-continue`` under uWSGI's http-socket.

A client that sends this header waits for "100 Continue" before it sends the
body (RFC 9110, section 10.1.1). Other servers answer when the application
begins to read; uWSGI never does, so curl loses a second on every upload and
strict clients wait for ever. This filter sends the answer itself, once the
application reads, so that a refusal (401, 403) still saves the transfer. A
chunked body does not come through wsgi.input but through uWSGI's own call, so
for that one the answer has to be sent at once.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any

try:
    import uwsgi
except ImportError:  # any other server answers the expectation itself
    uwsgi = None

CONTINUE = b'HTTP/1.1 100 Continue\r\n\r\n'

Environ = dict[str, Any]
Application = Callable[..., Iterable[bytes]]


class Continue:
    """The filter: see the module."""

    def __init__(self, application: Application) -> None:
        self.application = application

    def __call__(
        self, environ: Environ, start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if environ.get('HTTP_EXPECT', '').lower() == '100-continue':
            body = _Input(environ['wsgi.input'], uwsgi.connection_fd())
            if environ.get('HTTP_TRANSFER_ENCODING', '').lower() == 'chunked':
                body.invite()
            environ['wsgi.input'] = body
        return self.application(environ, start_response)


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

    def invite(self) -> None:
        """Tell the client to send the body, once."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.write(descriptor, CONTINUE)


def filter_factory(
    global_conf: dict[str, str], **local_conf: str
) -> Callable[[Application], Application]:
    """Paste's filter factory; no filter under another server than uWSGI."""
    return (lambda application: application) if uwsgi is None else Continue
