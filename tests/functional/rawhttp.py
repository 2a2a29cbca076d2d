"""Clients that decide themselves what they send when.

For what no HTTP library does on purpose: stall, break off, wait strictly.
"""

import http.client
import socket
import struct
import urllib.parse

import images

FRAME = 2**20


def framed(data: bytes, framing: str) -> tuple[dict[str, str], bytes]:
    """The headers that announce a body, and the body as it is sent.

    :param framing: 'fixed-length' or 'chunked'
    """
    if framing == 'fixed-length':
        return {'Content-Length': str(len(data))}, data
    pieces = []
    for start in range(0, len(data), FRAME):
        piece = data[start : start + FRAME]
        pieces += [b'%x\r\n' % len(piece), piece, b'\r\n']
    return {'Transfer-Encoding': 'chunked'}, b''.join([*pieces, b'0\r\n\r\n'])


class Client(http.client.HTTPConnection):
    """One request, in steps; `send` and `getresponse` are the parent's."""

    def __init__(
        self, cloud, method, path, headers=(), receive_buffer=None
    ) -> None:
        url = urllib.parse.urlsplit(images.url(cloud, path))
        super().__init__(url.hostname, url.port, timeout=30)
        self.connect()
        if receive_buffer:
            self.sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer
            )
        self.putrequest(method, url.path)
        defaults = {'X-Auth-Token': cloud.auth_token}
        for name, value in {**defaults, **dict(headers)}.items():
            self.putheader(name, value)
        self.endheaders()

    @classmethod
    def upload(cls, cloud, image, headers, action='file') -> 'Client':
        """Begin an upload; the body is the caller's to send."""
        return cls(
            cloud,
            'PUT',
            f'/images/{image.id}/{action}',
            {'Content-Type': 'application/octet-stream', **headers},
        )

    def head(self) -> str:
        """The status line of the next answer, an interim one too."""
        received = b''
        while not received.endswith(b'\r\n\r\n'):
            piece = self.sock.recv(1)
            assert piece, f'closed after {received!r}'
            received += piece
        return received.split(b'\r\n')[0].decode()

    def reset(self) -> None:
        """Break off like a crashed client: with RST instead of FIN."""
        self.sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)
        )
        self.close()
