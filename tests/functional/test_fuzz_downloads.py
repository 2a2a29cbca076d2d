"""Random requests, in random states of an image, and while these change.

What Glance itself answers is the measure (see test_downloads), and no client
may ever get a byte that its image has never had. A few cases each time;
``tools/test.sh fuzz-uwsgi`` tries 10,000 requests, and 2,500 images that three
clients download while they change; ``fuzz-apache`` and ``fuzz-modwsgi`` too.
"""

import contextlib
import http.client
import itertools
import os
import random
import threading
import time
import urllib.parse

import answers
import hypothesis
import images
import pytest
import requests
from hypothesis import strategies as st
from images import MIB

pytestmark = pytest.mark.each_server

SIZES = (0, 1, 10, 65536, 300_000)


@pytest.fixture(scope='module')
def some(deployed, cloud):
    """An image in each state, by its name."""
    made = {f'{size} bytes': images.create(cloud) for size in SIZES}
    for size, image in zip(SIZES, made.values(), strict=True):
        images.upload(cloud, image, images.random_bytes(size))
    for state in ('deactivated', 'truncated', 'gone', 'hidden'):
        made[state] = image = images.create(cloud)
        images.upload(cloud, image, images.random_bytes(5000))
    (truncated,) = images.files_of(deployed, made['truncated'])
    os.truncate(truncated, 999)
    (gone,) = images.files_of(deployed, made['gone'])
    gone.unlink()
    cloud.image.deactivate_image(made['deactivated'])
    cloud.image.update_image(made['hidden'], is_hidden=True)
    made['queued'] = images.create(cloud)
    yield made
    for image in made.values():
        cloud.image.delete_image(image)


NUMBERS = st.one_of(
    st.integers(0, 12),
    st.sampled_from([size + n for size in SIZES for n in (-1, 0, 1)]),
    st.integers(0, 2**70),
).map(lambda number: str(max(number, 0)))
WORDS = st.sampled_from(['', ' ', '-', '+1', '-5', '0x5', '007', 'a', '*'])
PART = NUMBERS | WORDS
RANGES = st.builds(
    '{}{}{}-{}{}'.format,
    st.sampled_from(['bytes', 'bytes', 'bytes', 'Bytes', 'pages', '']),
    st.sampled_from(['=', '=', '=', ' = ', ' ']),
    PART,
    PART,
    st.sampled_from(['', '', '', ',1-2', ' ', '/*', '-']),
)
CONTENT_RANGES = st.builds(
    'bytes {}-{}/{}'.format, PART, PART, NUMBERS | st.just('*')
)
PRINTABLE = st.text(
    st.characters(min_codepoint=33, max_codepoint=126), max_size=12
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        'Range': RANGES | PRINTABLE,
        'Content-Range': CONTENT_RANGES | PRINTABLE,
        'If-Range': PRINTABLE,
        'If-None-Match': PRINTABLE,
    },
)
STATES = st.sampled_from(
    [
        *(f'{size} bytes' for size in SIZES),
        *('deactivated', 'truncated', 'gone', 'hidden', 'queued'),
    ]
)


@hypothesis.given(state=STATES, headers=REQUESTS)
def test_any_request_is_answered_as_glance_does(
    cloud, own, some, state, headers
):
    expected = answers.download(own, some[state], headers)
    assert answers.download(cloud, some[state], headers) == expected


LENGTH = MIB
REFUSED = {'deactivate': 403, 'delete': 404}
"""What a member is answered who asks when that has been done."""
CHANGES = st.lists(
    st.sampled_from(
        [
            *('deactivate', 'reactivate', 'upload', 'replace', 'truncate'),
            *('delete', 'wait'),
        ]
    ),
    min_size=1,
    max_size=6,
)


class Changing:
    """An image whose state and data change while a member downloads it.

    An administrator would get the data of a deactivated image, too.
    """

    def __init__(self, deployed, cloud, member) -> None:
        self.cloud = cloud
        self.member = member
        self.image = images.create(cloud, visibility='public')
        # Each with what is left of it at least.
        self.versions = [self._data(0)]
        self.cuts = [LENGTH]
        images.upload(cloud, self.image, self.versions[0])
        (self.file,) = images.files_of(deployed, self.image)
        self.done = threading.Event()
        self.wrong: list[str] = []
        self.downloads = 0

    def _data(self, version: int) -> bytes:
        return random.Random(f'{self.image.id} {version}').randbytes(LENGTH)

    def replace(self) -> None:
        """Other bytes of this image, under the same name."""
        data = self._data(len(self.versions))
        self.cuts.append(LENGTH)
        self.versions.append(data)
        new = self.file.with_name(f'{self.image.id}.new')
        with contextlib.suppress(FileNotFoundError):
            facts = self.file.stat()
            new.write_bytes(data)
            os.chown(new, facts.st_uid, facts.st_gid)
            new.replace(self.file)

    def truncate(self) -> None:
        """The end is lost."""
        with contextlib.suppress(FileNotFoundError):
            length = random.randrange(self.file.stat().st_size + 1)
            self.cuts[-1] = min(self.cuts[-1], length)
            os.truncate(self.file, length)

    def change(self, how: str) -> None:
        """One step; what Glance refuses is no concern here."""
        path = f'/images/{self.image.id}'
        answer = None
        if how in ('replace', 'truncate'):
            getattr(self, how)()
        elif how in ('deactivate', 'reactivate'):
            answer = self.cloud.image.post(f'{path}/actions/{how}')
        elif how == 'delete':
            answer = self.cloud.image.delete(path)
        elif how == 'upload':
            self.upload(path)
        if answer is not None and answer.ok and how in REFUSED:
            status = self._read(0, 1)[0]
            if status != REFUSED[how]:
                self.wrong.append(f'{status} after "{how}"')
        time.sleep(0.02)

    def upload(self, path: str) -> None:
        """Bytes that the image never has: it has its data."""
        answer = self.cloud.image.put(
            f'{path}/file',
            data=self._data(-1),
            headers={'Content-Type': 'application/octet-stream'},
        )
        if answer.ok:
            self.wrong.append('an upload to an image that has its data')

    def is_served(self) -> bool:
        """Whether all of it can be downloaded."""
        return self._read(0, LENGTH) == (200, self.versions[-1])

    def download(self, seed: int) -> None:
        """Download again and again, slowly, at random ranges."""
        chance = random.Random(seed)
        while not self.done.is_set() or not self.downloads:
            start = chance.choice([0, 0, chance.randrange(LENGTH)])
            end = chance.choice([LENGTH, chance.randrange(start, LENGTH) + 1])
            status, body = self._read(start, end)
            if status in (200, 206):
                begin, size = (
                    (start, end - start) if status == 206 else ((0, LENGTH))
                )
                self._check(body, begin, size)
            self.downloads += 1

    def _read(self, start: int, end: int) -> tuple[int, bytes]:
        url = urllib.parse.urlsplit(
            images.url(self.cloud, f'/images/{self.image.id}/file')
        )
        headers = {'X-Auth-Token': self.member.auth_token}
        if (start, end) != (0, LENGTH):
            headers['Range'] = f'bytes={start}-{end - 1}'
        connection = http.client.HTTPConnection(
            url.hostname, url.port, timeout=120
        )
        with contextlib.closing(connection):
            connection.request('GET', url.path, headers=headers)
            try:
                response = connection.getresponse()
            except http.client.RemoteDisconnected:
                return 500, b''
            body = b''
            # Cut is what Glance does with what it can't read.
            with contextlib.suppress(
                http.client.IncompleteRead, ConnectionResetError
            ):
                while piece := response.read(MIB // 8):
                    body += piece
                    time.sleep(0.005)
            return response.status, body

    def _check(self, body: bytes, start: int, size: int) -> None:
        whole = len(body) == size
        cut = min(self.cuts) < LENGTH and len(body) < size
        if not (whole or cut) or not any(
            self._is_of(version, left, body, start)
            for version, left in zip(self.versions, self.cuts, strict=False)
        ):
            self.wrong.append(
                f'{len(body)} bytes of the {size} from {start} on; '
                f'what is left of each version: {self.cuts}'
            )

    @staticmethod
    def _is_of(version: bytes, left: int, body: bytes, start: int) -> bool:
        """Whether this is that version, or the beginning of it.

        sendfile(2) lends the network the file's own pages: the kernel makes
        zeros of those that are on their way and no part of the file any more.
        """
        whole = max(left - start, 0)
        expected = version[start : start + len(body)]
        return body[:whole] == expected[:whole] and all(
            byte in (original, 0)
            for byte, original in zip(
                body[whole:], expected[whole:], strict=True
            )
        )


MANY = hypothesis.settings.default.max_examples


# Each is some seconds of three clients' downloads.
@hypothesis.settings(max_examples=MANY // 4 if MANY > 1000 else 3)
@hypothesis.given(changes=CHANGES)
def test_no_client_ever_gets_a_byte_that_is_not_its_images(
    deployed, cloud, member, changes
):
    changing = Changing(deployed, cloud, member)
    assert changing.is_served()
    clients = [
        threading.Thread(target=changing.download, args=(seed,))
        for seed in range(3)
    ]
    for client in clients:
        client.start()
    try:
        for change in itertools.chain(changes, ['wait']):
            changing.change(change)
    finally:
        changing.done.set()
        for client in clients:
            client.join()
        with contextlib.suppress(requests.RequestException):
            cloud.image.delete(f'/images/{changing.image.id}')
    assert not changing.wrong
    assert changing.downloads
