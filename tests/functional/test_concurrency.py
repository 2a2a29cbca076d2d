"""Many clients at once.

Guards against "database is locked" with SQLite, which is what people start
with, and against the failure that every set-up without enough threads has: a
few slow downloads, and the whole API stands still.
"""

import concurrent.futures
import contextlib
import time
import uuid

import images
import rawhttp
import requests
from images import KIB
from images import MIB

CLIENTS = 8
SECONDS = 6


class Load:
    """One client's requests, and those that were not answered as expected."""

    def __init__(self, cloud) -> None:
        self.url = images.url(cloud, '/images')
        self.headers = {'X-Auth-Token': cloud.auth_token}
        self.answers = 0
        self.failures = []

    def ask(self, status: int, method: str, path: str = '', **options):
        """One request; notes whether it was answered with `status`."""
        options.setdefault('headers', {}).update(self.headers)
        try:
            response = requests.request(
                method, self.url + path, timeout=30, **options
            )
        except requests.RequestException as error:
            self.failures.append(f'{method} {path}: {error}')
            return None
        self.answers += 1
        if response.status_code != status:
            self.failures.append(
                f'{method} {path}: {response.status_code} {response.text}'
            )
        return response

    def run(self, body: bytes | None, until: float) -> 'Load':
        """Create, upload if there is a body, show, list, delete; again."""
        while time.monotonic() < until and not self.failures:
            image = f'/{uuid.uuid4()}'
            record = {
                'id': image[1:],
                'disk_format': 'raw',
                'container_format': 'bare',
            }
            self.ask(201, 'POST', json=record)
            if body:
                self.transfer(image, body)
            self.ask(200, 'GET', image)
            self.ask(200, 'GET', '?limit=10')
            self.ask(204, 'DELETE', image)
        return self

    def transfer(self, image: str, body: bytes) -> None:
        """Upload, download, compare."""
        self.ask(
            204,
            'PUT',
            f'{image}/file',
            data=body,
            headers={'Content-Type': 'application/octet-stream'},
        )
        response = self.ask(200, 'GET', f'{image}/file')
        if response is not None and response.content != body:
            self.failures.append(f'{image}: other bytes came back')


def test_many_clients_on_sqlite_are_all_answered(cloud):
    body = images.random_bytes(4 * MIB)
    bodies = [body, body, *[None] * (CLIENTS - 2)]
    until = time.monotonic() + SECONDS
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        loads = list(
            pool.map(lambda part: Load(cloud).run(part, until), bodies)
        )
    failures = [failure for load in loads for failure in load.failures]
    assert not failures
    assert all(load.answers > 4 for load in loads)


def test_a_slow_download_for_each_worker_leaves_the_api_answering(
    deployed, cloud, image
):
    body = images.random_bytes(32 * MIB)
    images.upload(cloud, image, body)
    workers = len(deployed.processes('glance-api worker'))
    with contextlib.ExitStack() as stack:
        readers = []
        for _ in range(max(workers, 2)):
            # A small buffer, or the kernel reads on in place of the client.
            client = rawhttp.Client(
                cloud,
                'GET',
                f'/images/{image.id}/file',
                receive_buffer=64 * KIB,
            )
            stack.callback(client.close)
            readers.append(client.getresponse())
            assert readers[-1].read(KIB) == body[:KIB]
        for _ in range(10):
            health = requests.get(
                f'{deployed.endpoint}/healthcheck', timeout=5
            )
            assert health.status_code == 200
        for reader in readers:
            rest = reader.read()
            assert images.sha256(rest) == images.sha256(body[KIB:])
