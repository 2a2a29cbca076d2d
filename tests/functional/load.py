"""Clients that go on for as long as something happens, and count."""

import contextlib
import dataclasses
import hashlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator

import images
import loopback
import requests
from images import MIB

PATIENCE = 60
"""Seconds that a client waits for an answer before it gives up."""


@dataclasses.dataclass(frozen=True)
class Failure:
    """A request that was not answered as it should have been.

    :param began: when it was sent, as time.time() has it
    :param ended: when that was known
    """

    began: float
    what: str
    ended: float = dataclasses.field(default_factory=time.time)

    @property
    def out_of_patience(self) -> bool:
        """Whether it was the client that has given up."""
        return self.ended - self.began >= PATIENCE

    def was_in_hand(self, moment: float) -> bool:
        """Whether somebody had it to answer at that moment."""
        return self.began <= moment <= self.ended


class Client:
    """One client's requests, and those that failed."""

    def __init__(self, cloud) -> None:
        self.url = images.url(cloud, '/images')
        self.headers = {'X-Auth-Token': cloud.auth_token}
        self.request = requests.request
        self.answers = 0
        self.failures: list[Failure] = []

    def ask(self, status: int, method: str, path: str = '', **options):
        """One request; notes whether it was answered with `status`."""
        options.setdefault('headers', {}).update(self.headers)
        began = time.time()
        try:
            response = self.request(
                method, self.url + path, timeout=PATIENCE, **options
            )
        except requests.RequestException as error:
            self.failures.append(Failure(began, f'{method} {path}: {error}'))
            return None
        self.answers += 1
        if response.status_code != status:
            said = f'{response.status_code} {response.text}'
            self.failures.append(Failure(began, f'{method} {path}: {said}'))
        return response

    def run(
        self, enough: Callable[[], bool], body: bytes | None = None
    ) -> 'Client':
        """Create, upload if there is a body, show, list, delete; again.

        Once at least, however slow the machine is.
        """
        while not self.answers or not enough():
            image = f'/{uuid.uuid4()}'
            record = {
                'id': image[1:],
                'disk_format': 'raw',
                'container_format': 'bare',
            }
            made = self.ask(201, 'POST', json=record)
            if made is None or made.status_code != 201:
                continue  # noted; the rest would fail because of it
            if body:
                self.transfer(image, body)
            self.ask(200, 'GET', image)
            self.ask(200, 'GET', '?limit=10')
            self.ask(204, 'DELETE', image)
        return self

    def transfer(self, image: str, body: bytes) -> None:
        """Upload, download, compare."""
        began = time.time()
        self.ask(
            204,
            'PUT',
            f'{image}/file',
            data=body,
            headers={'Content-Type': 'application/octet-stream'},
        )
        response = self.ask(200, 'GET', f'{image}/file')
        if response is not None and response.content != body:
            self.failures.append(
                Failure(began, f'{image}: other bytes came back')
            )


@contextlib.contextmanager
def clients(cloud, number: int) -> Iterator[list[Client]]:
    """That many clients at work until the block ends."""
    enough = threading.Event()
    working = [Client(cloud) for _ in range(number)]
    threads = [
        threading.Thread(target=client.run, args=(enough.is_set,))
        for client in working
    ]
    for thread in threads:
        thread.start()
    try:
        yield working
    finally:
        enough.set()
        for thread in threads:
            thread.join()


def failures(working: list[Client]) -> list[Failure]:
    """All that has failed."""
    return [failure for client in working for failure in client.failures]


class Pace:
    """Lets bytes through at a rate.

    :ivar rate: bytes for each second; may be changed
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._due = time.monotonic()

    def wait(self, number: int) -> None:
        """Take `number` bytes, as soon as it is their turn."""
        self._due += number / self.rate
        time.sleep(max(self._due - time.monotonic(), 0))


class Transfer(threading.Thread):
    """A transfer at a rate, in a thread of its own; `join` it.

    :ivar begun: set when the first bytes have passed
    :ivar error: what went wrong, or None
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.pace = Pace(rate)
        self.begun = threading.Event()
        self.error: Exception | None = None

    def run(self) -> None:
        """Do `transfer`, keep what it raises."""
        try:
            self.transfer()
        except Exception as error:
            self.error = error

    def transfer(self) -> None:
        """What it is about."""
        raise NotImplementedError

    def paced(self, pieces) -> Iterator[bytes]:
        """The pieces, each when it is due."""
        for piece in pieces:
            yield piece
            self.pace.wait(len(piece))
            self.begun.set()


class Download(Transfer):
    """Reads an image's data, and keeps its digest."""

    def __init__(self, cloud, image, rate: float) -> None:
        super().__init__(rate)
        self.cloud, self.image = cloud, image
        self.digest = hashlib.sha256()

    def transfer(self) -> None:
        response = requests.get(
            images.url(self.cloud, f'/images/{self.image.id}/file'),
            headers={'X-Auth-Token': self.cloud.auth_token},
            stream=True,
            timeout=60,
        )
        assert response.status_code == 200
        for piece in self.paced(response.iter_content(MIB)):
            self.digest.update(piece)


class Upload(Transfer):
    """Sends an image's data in chunks."""

    def __init__(self, cloud, image, body: bytes, rate: float) -> None:
        super().__init__(rate)
        self.cloud, self.image, self.body = cloud, image, body

    def transfer(self) -> None:
        images.upload(
            self.cloud,
            self.image,
            self.paced(images.Frames(self.body, MIB // 4)),
        )


class SlowWeb(loopback.Server):
    """A web server on loopback that gives one body to all, slowly.

    :ivar url: where
    :ivar rate: bytes for each second and client; may be changed
    :ivar clients: who gets it just now
    """

    def __init__(self, body: bytes, rate: float) -> None:
        self.rate = rate
        self.clients: list[object] = []
        web = self

        class Handler(loopback.Handler):
            def do_HEAD(self):
                self.send_response(200)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()

            def do_GET(self):
                self.do_HEAD()
                web.clients.append(self)
                try:
                    self.send()
                finally:
                    web.clients.remove(self)

            def send(self):
                pace = Pace(web.rate)
                for piece in images.Frames(body, MIB // 4):
                    self.wfile.write(piece)
                    pace.rate = web.rate
                    pace.wait(len(piece))

        super().__init__(Handler)
        self.url += '/image'
