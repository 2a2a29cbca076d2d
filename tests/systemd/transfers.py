"""Has a slow download and a slow import go on in a machine's Images API.

    transfers.py AUTH

prints "begun" when both have begun, and after a line on its standard input,
which says that the API is there again, what has become of them as JSON. It
runs inside the machine's network and has no libraries, as `ask.py`.
"""

import hashlib
import http.server
import json
import random
import sys
import threading
import time
import urllib.request

import ask

MIB = 2**20
SIZE = 60 * MIB
SECONDS = 20
"""How long each takes: Apache kills what it ends in half of it."""

BODY = random.Random(SIZE).randbytes(SIZE)
DIGEST = hashlib.sha256(BODY).hexdigest()


def paced(pieces):
    """The pieces, no faster than `SECONDS` for all of `BODY`."""
    began, done = time.monotonic(), 0
    for piece in pieces:
        yield piece
        done += len(piece)
        due = began + SECONDS * done / SIZE
        time.sleep(max(due - time.monotonic(), 0))


class Web(http.server.BaseHTTPRequestHandler):
    """What the import downloads its image from."""

    begun = threading.Event()

    def do_HEAD(self):
        self.send_response(200)
        self.send_header('Content-Length', str(SIZE))
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        starts = range(0, SIZE, MIB)
        for piece in paced(BODY[start : start + MIB] for start in starts):
            self.wfile.write(piece)
            self.begun.set()

    def log_message(self, *words):
        """Nothing on stderr."""


class Images:
    """The API, with a token."""

    def __init__(self, auth):
        self.token, self.endpoint = ask.token_and_endpoint(auth)

    def __call__(self, method, path, data=None, kind='application/json'):
        """The answer to a request."""
        headers = {'X-Auth-Token': self.token, 'Content-Type': kind}
        if data is not None and kind == 'application/json':
            data = json.dumps(data).encode()
        request = urllib.request.Request(
            f'{self.endpoint}/v2/images{path}', data, headers, method=method
        )
        return urllib.request.urlopen(request, timeout=60)

    def create(self):
        """The id of a new image."""
        image = {'disk_format': 'raw', 'container_format': 'bare'}
        with self('POST', '', image) as answer:
            return json.load(answer)['id']

    def status(self, image):
        """The status of an image."""
        with self('GET', f'/{image}') as answer:
            return json.load(answer)['status']

    def digest(self, image, pace=iter, begun=None):
        """The SHA-256 of the data that is sent, or why there is none."""
        found = hashlib.sha256()
        try:
            with self('GET', f'/{image}/file') as answer:
                for piece in pace(iter(lambda: answer.read(MIB), b'')):
                    found.update(piece)
                    if begun:
                        begun.set()
        except Exception as error:
            return repr(error)
        return found.hexdigest()


class Download(threading.Thread):
    """A download that takes its time."""

    def __init__(self, images):
        super().__init__()
        self.images = images
        self.begun = threading.Event()
        self.image = images.create()
        kind = 'application/octet-stream'
        images('PUT', f'/{self.image}/file', BODY, kind).close()

    def run(self):
        self.digest = self.images.digest(self.image, paced, self.begun)


def start_import(images):
    """The id of an image that is imported."""
    web = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Web)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    image = images.create()
    method = {
        'name': 'web-download',
        'uri': f'http://127.0.0.1:{web.server_port}/image',
    }
    images('POST', f'/{image}/import', {'method': method}).close()
    assert Web.begun.wait(60), 'the import has not begun'
    return image


def imported(images, image):
    """The SHA-256 of what was imported, or what has become of it."""
    deadline = time.monotonic() + 2 * SECONDS
    while (status := images.status(image)) == 'importing':
        if time.monotonic() > deadline:
            return status
        time.sleep(0.2)
    return images.digest(image) if status == 'active' else status


def main(auth):
    images = Images(json.loads(auth))
    download = Download(images)
    download.start()
    image = start_import(images)
    assert download.begun.wait(60), 'the download has not begun'
    print('begun', flush=True)
    sys.stdin.readline()
    download.join()
    print(
        json.dumps(
            {
                'wanted': DIGEST,
                'downloaded': download.digest,
                'imported': imported(images, image),
            }
        )
    )
    for one in (image, download.image):
        images('DELETE', f'/{one}').close()


if __name__ == '__main__':
    main(*sys.argv[1:])
