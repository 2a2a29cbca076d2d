"""A way to Glance on which deletions do not arrive, or answers fail."""

import loopback
import requests

DEAD = 0
"""Instead of a status: from there on nothing is answered."""


class Way(loopback.Server):
    """A proxy before Glance.

    :param endpoint: where Glance is
    :param answers: what the first deletions are answered, instead of being
        done; further ones are done
    :ivar deletions: how many there were
    """

    def __init__(self, endpoint: str, answers: list[int]) -> None:
        super().__init__(_Handler)
        self.endpoint, self.answers = endpoint, list(answers)
        self.deletions = 0
        self.dead = False


class _Handler(loopback.Handler):
    def do_GET(self):
        if self.server.dead:
            self.close_connection = True
            return
        length = int(self.headers.get('Content-Length') or 0)
        answer = requests.request(
            self.command,
            self.server.endpoint + self.path,
            headers={k: v for k, v in self.headers.items() if k != 'Host'},
            data=self.rfile.read(length),
            timeout=60,
        )
        kind = answer.headers.get('Content-Type', 'text/plain')
        self.say(answer.status_code, answer.content, kind)

    do_POST = do_PATCH = do_PUT = do_GET

    def do_DELETE(self):
        self.server.deletions += 1
        if not self.server.answers:
            self.do_GET()
            return
        status = self.server.answers.pop(0)
        if status == DEAD:
            self.server.dead = True
            self.close_connection = True
        else:
            self.say(status, b'', 'text/plain')

    def say(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
