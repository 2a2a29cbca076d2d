"""How each web server is made to send a part of a file by itself.

uWSGI alone
    Its offload threads take over the connection and the open file.
    https://uwsgi-docs.readthedocs.io/en/latest/OffloadSubsystem.html
Apache, in front of uWSGI or with mod_wsgi
    mod_xsendfile takes the name of a file from the answer. Apache says with
    each request that it will: see ``apache-handoff.conf.j2``.

Every other server gets the data from Glance, and so does whoever speaks TLS
to uWSGI itself: its offload threads can't encrypt.
"""

import grp
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from glance_wsgi.data import downloads
from glance_wsgi.data import tickets

try:
    import uwsgi
except ImportError:
    uwsgi = None

Environ = dict[str, Any]


def sender() -> downloads.Sender | None:
    """That of the server which we run in; None if it has none."""
    if uwsgi is None:
        return XSendfile() if _in_mod_wsgi() else None
    listening = _option('http-socket')
    if not isinstance(listening, bytes) or _option('https-socket'):
        return None
    if listening.startswith(b'/'):  # only Apache can reach it
        return XSendfile()
    return Offload() if _option('offload-threads') else None


def _in_mod_wsgi() -> bool:
    try:
        import mod_wsgi  # noqa: F401
    except ImportError:
        return False
    return True


def _option(name: str) -> Any:
    # Names are text, values are bytes.
    return uwsgi.opt.get(name)


LARGEST = 2**31 - 1
"""What uwsgi.sendfile takes as an offset or a length: a C int."""


class Offload:
    """uWSGI's offload threads.

    They know no time limit, so the kernel gets that of the other transfers:
    tcp(7), TCP_USER_TIMEOUT. And they are not waited for when a worker ends,
    so that is done here.
    """

    def __init__(self) -> None:
        self._stall = int(_option('socket-timeout') or 4) * 1000
        self._running: list[tuple[int, os.stat_result]] = []
        self._changing = threading.Lock()
        self._before = getattr(uwsgi, 'atexit', None)
        uwsgi.atexit = self._wait

    def serves(self, environ: Environ) -> bool:
        """See `downloads.Sender`."""
        return True

    def send(
        self,
        download: downloads.Download,
        environ: Environ,
        start_response: Callable[..., Any],
    ) -> Iterable[bytes] | None:
        """See `downloads.Sender`."""
        region = download.region
        # It sends in steps of 128 KiB until it has sent enough, which is
        # exact only at the end of the file (u_offload_sendfile_do).
        if region.end != region.size or region.offset > LARGEST:
            return None
        _limit_stall(uwsgi.connection_fd(), self._stall)
        start_response(download.status, download.headers)
        facts = os.fstat(region.file.fileno())
        descriptor = os.dup(region.file.fileno())
        region.file.close()
        with self._changing:
            still = filter(_is_open, self._running)
            self._running = [*still, (descriptor, facts)]
        # 0: to the end. It closes the descriptor.
        length = region.length if region.length <= LARGEST else 0
        uwsgi.sendfile(descriptor, 0, region.offset, length)
        return []

    def _wait(self) -> None:
        """Wait for what is being sent, when the worker ends."""
        # As long as it takes: worker-reload-mercy is the limit.
        while any(map(_is_open, list(self._running))):
            time.sleep(0.1)
        if self._before is not None:
            self._before()


def _is_open(descriptor: tuple[int, os.stat_result]) -> bool:
    """Whether it is open, and still that of the same file."""
    number, facts = descriptor
    try:
        return os.path.samestat(os.fstat(number), facts)
    except OSError:
        return False


def _limit_stall(descriptor: int, milliseconds: int) -> None:
    """Let the kernel end a connection whose other side takes nothing."""
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        connection.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds
        )


HEADER = 'HTTP_HANDOFF'
"""What Apache sets: who it is ("same-user", or the name of its group), and
the directories whose files it sends. One word, since to uWSGI a "-" and a "_"
in it would be the same, to Apache not."""

SAME_USER = 'same-user'

_RANGE = re.compile(r'bytes=(\d{0,18})-(\d{0,18})', re.ASCII)


class XSendfile:
    """Apache, which opens a file by a ticket.

    A range it cuts out itself, as the request says it.
    """

    def __init__(self) -> None:
        self._tickets = tickets.Tickets()

    def serves(self, environ: Environ) -> bool:
        """See `downloads.Sender`."""
        return bool(environ.get(HEADER))

    def send(
        self,
        download: downloads.Download,
        environ: Environ,
        start_response: Callable[..., Any],
    ) -> Iterable[bytes] | None:
        """See `downloads.Sender`."""
        who, *directories = environ[HEADER].split()
        folder = os.path.dirname(os.path.normpath(download.region.path))
        if folder not in directories or not _cuts_alike(
            environ.get('HTTP_RANGE'), download
        ):
            return None
        ticket = self._tickets.make(download.region)
        if ticket is None:
            return None
        if who != SAME_USER and not _may_read(ticket, who):
            ticket.unlink(missing_ok=True)
            return None
        download.region.file.close()
        start_response('200 OK', _headers(download.headers, str(ticket)))
        return [b'']


def _may_read(ticket: Any, group: str) -> bool:
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError:
        return False
    return tickets.may_read(ticket, gid)


def _headers(headers: downloads.Headers, ticket: str) -> downloads.Headers:
    """Those of Glance's, and the ticket; lengths are Apache's to tell."""
    kept = [
        (name, value)
        for name, value in headers
        if name.lower() not in ('content-length', 'content-range')
    ]
    return [*kept, ('Content-Length', '0'), ('X-Sendfile', ticket)]


def _cuts_alike(text: str | None, download: downloads.Download) -> bool:
    """Whether Apache cuts out what Glance would.

    :param text: the request's Range header
    """
    region = download.region
    if text is None:
        return not download.partial
    found = _RANGE.fullmatch(text)
    if not download.partial or not found:
        return False
    return _span(found[1], found[2], region.size) == (
        region.offset,
        region.end,
    )


def _span(start: str, last: str, size: int) -> tuple[int, int] | None:
    """Where a range begins and ends: RFC 9110, section 14.1.2."""
    if start:
        return int(start), min(int(last) + 1, size) if last else size
    return (max(size - int(last), 0), size) if last else None
