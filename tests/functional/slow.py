"""Many clients that have all begun a download and take next to nothing."""

import contextlib
import hashlib
import pathlib
import resource
import selectors
import socket
import time
import urllib.parse
from collections.abc import Iterator

import images
import toolkit

from glance_wsgi import programs

LARGE = 16 * images.MIB
"""Bytes of an image that does not fit into a connection nobody reads."""

BUFFER = 16384
"""Bytes that the kernel keeps for a client which does not read."""

PATIENCE = 300
"""Seconds for all of them to get their first bytes, on a busy machine."""


class Client:
    """A download that has been asked for, and is read at leisure."""

    def __init__(self, cloud, image) -> None:
        url = urllib.parse.urlsplit(
            images.url(cloud, f'/images/{image.id}/file')
        )
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((url.hostname, url.port))
        self.socket.sendall(
            f'GET {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\n'
            f'X-Auth-Token: {cloud.auth_token}\r\n\r\n'.encode()
        )
        self.begun = b''

    def take(self) -> None:
        """Read a little."""
        self.begun += self.socket.recv(4096)

    @property
    def status(self) -> int:
        """That of the answer."""
        return int(self.begun.split(b' ', 2)[1])

    def rest(self) -> str:
        """Read all of it; the SHA-256 of the body.

        :raises ConnectionResetError: the server has cut it off
        """
        while b'\r\n\r\n' not in self.begun:
            self.take()
        head, _, body = self.begun.partition(b'\r\n\r\n')
        length = next(
            int(line.split(b':')[1])
            for line in head.lower().split(b'\r\n')
            if line.startswith(b'content-length:')
        )
        digest = hashlib.sha256(body)
        left = length - len(body)
        while left and (piece := self.socket.recv(min(left, 2**16))):
            digest.update(piece)
            left -= len(piece)
        return digest.hexdigest()


@contextlib.contextmanager
def clients(cloud, image, number: int) -> Iterator[list[Client]]:
    """That many downloads, each with its first bytes there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(max(soft, 2 * number + 200), hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    begun: list[Client] = []
    try:
        for _ in range(number):
            begun.append(Client(cloud, image))
        _wait_for_first_bytes(begun)
        yield begun
    finally:
        for client in begun:
            client.socket.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _wait_for_first_bytes(waiting: list[Client]) -> None:
    deadline = time.monotonic() + PATIENCE
    with selectors.DefaultSelector() as selector:
        for client in waiting:
            selector.register(client.socket, selectors.EVENT_READ, client)
        while selector.get_map():
            left = len(selector.get_map())
            assert time.monotonic() < deadline, f'{left} have got nothing'
            for key, _ in selector.select(1):
                key.data.take()
                selector.unregister(key.fileobj)


def is_handed_off(deployed, cloud, image, file: pathlib.Path) -> bool:
    """Whether the web server sends a download by itself.

    :param image: one of `LARGE` bytes
    :param file: where its data is
    """
    before = deployed.log.stat().st_size
    older = images.tickets_of(file)
    with clients(cloud, image, 1):
        if toolkit.SERVER != 'uwsgi':
            return bool(images.tickets_of(file) - older)
        # uWSGI's worker is done with what its client has not read: its line
        # comes before that of the next request.
        cloud.image.get('/images?limit=1&mark=behind')

        def said() -> str:
            return programs.read_from(deployed.log, before)

        toolkit.until(lambda: 'mark=behind' in said(), 'a line of the log')
        return f'/images/{image.id}/file' in said()
