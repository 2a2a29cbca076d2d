"""Many slow clients at once, in one process.

Its standard input is a JSON object in one line: "url", "token", "ids" (the
image of each client), "kind" ("download" or "upload"), "size" of an upload,
"within" (seconds until all have begun, or it goes on without). It prints a
line of JSON when they have begun, and one at the end of its standard input,
which ends it.

Each client takes or sends `PIECE` bytes each `PAUSE` seconds, on a connection
with the segments of Ethernet: loopback's of 64 KiB let a server put megabytes
into the buffer of a socket, which no network lets it.
"""

import dataclasses
import json
import select
import socket
import sys
import time
import urllib.parse

PIECE = 16 * 2**10  # bytes
PAUSE = 0.5  # seconds
TURNS = 10
"""In how many groups they take their turns, so that not all do at once."""

SEGMENT = 1460  # bytes of data in a packet of Ethernet
BUFFER = 64 * 2**10  # bytes that a client's socket holds


@dataclasses.dataclass
class Client:
    """One of them.

    :param head: what is left to be sent of the head of the request
    :param endless: whether it sends a body, or reads one
    """

    connection: socket.socket
    head: bytes
    uploads: bool
    moved: int = 0
    ended: str = ''

    @classmethod
    def start(cls, task: dict, image: str) -> 'Client':
        """Connect, without waiting for it."""
        url = urllib.parse.urlsplit(task['url'])
        connection = socket.socket()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        connection.setblocking(False)
        connection.connect_ex((url.hostname, url.port))
        uploads = task['kind'] == 'upload'
        lines = [
            f'{"PUT" if uploads else "GET"} {url.path}/v2/images/{image}/file '
            'HTTP/1.1',
            f'Host: {url.netloc}',
            f'X-Auth-Token: {task["token"]}',
        ]
        if uploads:
            lines += [
                'Content-Type: application/octet-stream',
                f'Content-Length: {task["size"]}',
            ]
        head = '\r\n'.join([*lines, '', '']).encode()
        return cls(connection, head, uploads)

    def turn(self) -> None:
        """Take or send the next piece, if it can be."""
        if self.ended:
            return
        try:
            self._turn()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            # ENOTCONN: not connected yet
            if error.errno != 107:
                self.ended = error.strerror or 'error'

    def _turn(self) -> None:
        if self.head:
            self.head = self.head[self.connection.send(self.head) :]
            if self.head:
                return
        if self.uploads:
            self.moved += self.connection.send(bytes(PIECE))
            if select.select([self.connection], [], [], 0)[0]:
                said = self.connection.recv(PIECE)
                # "100 Continue" is no end
                if b' 100 ' not in said[:20]:
                    self.ended = said[9:12].decode() or 'closed'
            return
        piece = self.connection.recv(PIECE)
        if not piece:
            self.ended = 'closed'
        elif not self.moved and b' 200 ' not in piece[:20]:
            self.ended = piece[9:12].decode()
        self.moved += len(piece)


def main() -> None:
    """Until the end of the standard input."""
    task = json.loads(sys.stdin.readline())
    clients = [Client.start(task, image) for image in task['ids']]
    deadline = time.monotonic() + task['within']
    told = False
    turn = 0
    while True:
        began = time.monotonic()
        for client in clients[turn % TURNS :: TURNS]:
            client.turn()
        turn += 1
        begun = all(client.moved or client.ended for client in clients)
        if not told and (begun or began > deadline):
            tell(clients)
            told = True
        left = began + PAUSE / TURNS - time.monotonic()
        if select.select([sys.stdin], [], [], max(left, 0))[0]:
            break
    tell(clients)


def tell(clients: list[Client]) -> None:
    """How many there are, how many have begun, and how some have ended."""
    ended: dict[str, int] = {}
    for client in clients:
        if client.ended:
            ended[client.ended] = ended.get(client.ended, 0) + 1
    begun = sum(1 for item in clients if item.moved and not item.ended)
    facts = {'clients': len(clients), 'begun': begun, 'ended': ended}
    print(json.dumps(facts), flush=True)


if __name__ == '__main__':
    main()
