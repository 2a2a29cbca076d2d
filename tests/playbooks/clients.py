"""Clients of the Images API, in the network of the hosts.

    clients.py read AUTH NUMBER    shows and lists, again and again
    clients.py work AUTH NUMBER    creates, uploads, downloads, deletes, and
                                   imports by every method
    clients.py data AUTH NUMBER    the same without imports
    clients.py slow AUTH NUMBER    uploads, for half a minute each time

AUTH is the "auth" of a clouds.yaml as JSON. They work until standard input
ends; then a line of JSON says what they have seen.
"""

import contextlib
import dataclasses
import http.server
import json
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'functional'))

import images
import load
import network
import openstack
import requests

MIB = images.MIB
BODY = images.random_bytes(MIB)
PATIENCE = 600  # seconds for an import, which may have to wait for its node


class Reader(load.Client):
    """Only asks what may be asked twice, by a connection that it keeps."""

    def __init__(self, cloud) -> None:
        super().__init__(cloud)
        self.request = requests.Session().request

    def run(self, enough, image):
        while not self.answers or not enough():
            self.ask(200, 'GET', f'/{image}')
            self.ask(200, 'GET', '?limit=10')
        return self


class Slow(load.Client):
    """Takes its time for an upload."""

    def transfer(self, image, body):
        self.ask(
            204,
            'PUT',
            f'{image}/file',
            data=trickle(body),
            headers={'Content-Type': 'application/octet-stream'},
        )


def trickle(body):
    """A piece each second, for half a minute."""
    piece = len(body) // 30
    for start in range(0, len(body), piece):
        yield body[start : start + piece]
        time.sleep(1)


class Importer(load.Client):
    """Imports images, and waits until they are active.

    :ivar ended: how many are
    """

    def __init__(self, cloud, source: str) -> None:
        super().__init__(cloud)
        self.source = source
        self.ended = 0

    def run(self, enough):
        methods = (self.direct, self.download)
        while not self.answers or not enough():
            for method in methods:
                made = self.ask(
                    201,
                    'POST',
                    json={'disk_format': 'raw', 'container_format': 'bare'},
                )
                if made is not None and made.status_code == 201:
                    image = f'/{made.json()["id"]}'
                    method(image)
                    self.wait(image)
                    self.ask(204, 'DELETE', image)
        return self

    def direct(self, image):
        self.ask(
            204,
            'PUT',
            f'{image}/stage',
            data=BODY,
            headers={'Content-Type': 'application/octet-stream'},
        )
        self.begin(image, {'name': 'glance-direct'})

    def download(self, image):
        self.begin(image, {'name': 'web-download', 'uri': self.source})

    def begin(self, image, method):
        self.ask(202, 'POST', f'{image}/import', json={'method': method})

    def wait(self, image):
        began = time.time()
        while time.time() < began + PATIENCE:
            shown = self.ask(200, 'GET', image)
            if shown is not None and shown.status_code == 200:
                record = shown.json()
                busy = record.get('os_glance_import_task')
                if record['status'] == 'active' and not busy:
                    self.ended += 1
                    return
                if record.get('os_glance_failed_import'):
                    break
            time.sleep(0.2)
        self.failures.append(load.Failure(began, f'{image} is not imported'))


@contextlib.contextmanager
def source():
    """The URL of an image on a web server."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header('Content-Length', str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY)

        def log_message(self, *words):
            """Nothing on stderr."""

    place = (network.GATEWAY, 80)
    with http.server.ThreadingHTTPServer(place, Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f'http://{network.GATEWAY}/image'
        server.shutdown()


def read(cloud, number, enough):
    """Readers of an image of their own."""
    image = images.create(cloud)
    readers = [Reader(cloud) for _ in range(number)]
    work(readers, enough, image.id)
    remover = load.Client(cloud)
    remover.ask(204, 'DELETE', f'/{image.id}')
    return [*readers, remover]


def write(cloud, number, enough):
    """Half of them import."""
    with source() as url:
        workers = [load.Client(cloud) for _ in range(number - number // 2)]
        importers = [Importer(cloud, url) for _ in range(number // 2)]
        threads = begin(workers, enough, BODY)
        work(importers, enough)
        for thread in threads:
            thread.join()
    return [*workers, *importers]


def only(kind):
    """All of them are of one kind."""

    def ask(cloud, number, enough):
        clients = [kind(cloud) for _ in range(number)]
        work(clients, enough, BODY)
        return clients

    return ask


def run(client, *words):
    """Have one at work; what ends it before its time is a failure."""
    began = time.time()
    try:
        client.run(*words)
    except Exception as error:
        client.failures.append(load.Failure(began, repr(error)))
        raise


def begin(clients, *words):
    """Have each at work in a thread."""
    threads = [
        threading.Thread(target=run, args=(client, *words))
        for client in clients
    ]
    for thread in threads:
        thread.start()
    return threads


def work(clients, *words):
    """Have each at work, and wait for them."""
    for thread in begin(clients, *words):
        thread.join()


def main(word, auth, number):
    cloud = openstack.connect(
        load_envvars=False, load_yaml_config=False, auth=json.loads(auth)
    )
    ended = threading.Event()

    def wait():
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    print('begun', flush=True)
    kinds = {
        'read': read,
        'work': write,
        'data': only(load.Client),
        'slow': only(Slow),
    }
    clients = kinds[word](cloud, int(number), ended.is_set)
    print(
        json.dumps(
            {
                'answers': sum(client.answers for client in clients),
                'imported': sum(
                    getattr(client, 'ended', 0) for client in clients
                ),
                'failures': [
                    dataclasses.asdict(failure)
                    for failure in load.failures(clients)
                ],
            }
        )
    )


if __name__ == '__main__':
    main(*sys.argv[1:])
