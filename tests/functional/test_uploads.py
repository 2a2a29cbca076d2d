"""Uploads in a pipeline, and slow ones, through the real server.

Guards against an upload that is quicker and another image, against an error
that is no longer Glance's own, and against the failure that every set-up
without enough threads has: slow clients, and the whole API stands still.
"""

import contextlib
import hashlib
import os
import pathlib
import subprocess
import threading
import time

import images
import psutil
import pytest
import rawhttp
import requests
import toolkit
from images import GIB
from images import KIB
from images import MIB

from glance_wsgi import size

pytestmark = pytest.mark.each_server

QUOTA = 48 * MIB

SETTINGS = f"""
[DEFAULT]
user_storage_quota = {QUOTA}
image_size_cap = {40 * MIB}
enabled_import_methods = [glance-direct]
[cheap]
filesystem_store_file_perm = 640
filesystem_thin_provisioning = true
"""


@pytest.fixture(scope='module', params=['pipeline', 'glance_alone'])
def limited(workspace, request):
    """A deployment with limits, once with the pipeline and once without."""
    switch = 'true' if request.param == 'pipeline' else 'false'
    with (
        toolkit.serving(
            workspace / f'limited-{request.param}',
            f'--upload-pipeline={switch}',
            '--workers=1',
            '--client-timeout=3',
            '--stores=fast:file,cheap:file,small:file',
            settings=SETTINGS,
        ) as deployment,
        deployment.connect() as cloud,
    ):
        yield deployment, cloud


@contextlib.contextmanager
def image_of(cloud, **properties):
    image = images.create(cloud, **properties)
    try:
        yield image
    finally:
        cloud.image.delete_image(image, ignore_missing=True)


def put(cloud, image, data, action='file', **headers):
    """The answer to an upload, whatever it is."""
    return cloud.image.put(
        f'/images/{image.id}/{action}',
        data=data,
        headers={'Content-Type': 'application/octet-stream', **headers},
        timeout=60,
        raise_exc=False,
    )


def assert_refused(limited, answer, image, status, text):
    """It is refused with Glance's own words, and nothing is left of it."""
    deployment, cloud = limited
    assert answer.status_code == status, answer.text
    assert text in answer.text
    toolkit.until(
        lambda: not images.files_of(deployment, image), 'no data is left'
    )
    assert cloud.image.get_image(image.id).status == 'queued'
    images.upload(cloud, image, b'second')
    images.assert_holds(cloud, image, b'second')


@images.framings
@pytest.mark.parametrize('size', [0, 1, 256 * KIB, 256 * KIB + 1, 9 * MIB])
@pytest.mark.parametrize('store', ['fast', 'cheap'])
def test_an_upload_has_the_digests_of_its_data(limited, framing, size, store):
    deployment, cloud = limited
    data = os.urandom(size)
    if size > MIB:  # holes, in the store that makes some
        data = data[:MIB] + bytes(4 * MIB) + data[5 * MIB :]
    with image_of(cloud) as image:
        body = images.BODIES[framing](data, 100 * KIB)
        answer = put(cloud, image, body, **{'x-image-meta-store': store})
        assert answer.status_code == 204, answer.text
        images.assert_holds(cloud, image, data)
        found = cloud.image.get_image(image.id)
        assert found.checksum == hashlib.md5(data).hexdigest()
        (file,) = images.files_of(deployment, image)
        assert file.parent.name == store
        rights = file.stat().st_mode & 0o777
        assert rights == (0o640 if store == 'cheap' else 0o600)
        if size > MIB:
            thin = file.stat().st_blocks * 512 < size - 3 * MIB
            assert thin == (store == 'cheap')


def test_an_image_is_the_same_after_staging_and_import(limited):
    deployment, cloud = limited
    data = os.urandom(9 * MIB)
    with image_of(cloud) as image:
        images.upload(cloud, image, data, 'stage')
        answer = cloud.image.post(
            f'/images/{image.id}/import',
            json={'method': {'name': 'glance-direct'}, 'stores': ['cheap']},
        )
        assert answer.status_code == 202, answer.text
        images.wait_for(cloud, image, 'active')
        images.assert_holds(cloud, image, data)
        (file,) = images.files_of(deployment, image)
        assert file.parent.name == 'cheap'


@pytest.mark.parametrize(
    ('announced', 'text'),
    [(2 * MIB, 'Size mismatch'), (MIB // 2, 'Size exceeds')],
    ids=['larger', 'smaller'],
)
def test_another_size_than_announced_is_refused(limited, announced, text):
    with image_of(limited[1]) as image:
        answer = put(
            limited[1],
            image,
            images.Frames(os.urandom(MIB), 64 * KIB),
            **{'x-openstack-image-size': str(announced)},
        )
        assert_refused(limited, answer, image, 400, text)


@images.framings
@pytest.mark.parametrize('action', ['file', 'stage'])
def test_more_than_an_image_may_have_is_refused(limited, framing, action):
    with image_of(limited[1]) as image:
        body = images.BODIES[framing](bytes(41 * MIB), MIB)
        answer = put(limited[1], image, body, action)
        assert_refused(limited, answer, image, 413, '')


def test_more_than_the_quota_is_refused(limited):
    cloud = limited[1]
    with image_of(cloud) as first, image_of(cloud) as image:
        images.upload(cloud, first, bytes(30 * MIB))
        answer = put(cloud, image, bytes(30 * MIB))
        assert_refused(limited, answer, image, 413, 'quota')


def test_more_than_the_quota_is_refused_when_its_size_is_known(limited):
    """Glance itself then forgets that the image is queued again."""
    deployment, cloud = limited
    with image_of(cloud) as first, image_of(cloud) as image:
        images.upload(cloud, first, bytes(30 * MIB))
        answer = put(cloud, image, images.Frames(bytes(30 * MIB), MIB))
        assert answer.status_code == 413, answer.text
        assert 'quota' in answer.text
        assert not images.files_of(deployment, image)
        assert cloud.image.get_image(image.id).status == 'saving'


@pytest.fixture
def tiny_disk(limited):
    """File systems of 8 MiB under the store "small" and under staging."""
    if os.geteuid():
        pytest.skip('a small file system can only be mounted by root')
    deployment, _ = limited
    with contextlib.ExitStack() as stack:
        for name in ('small', 'staging'):
            place = deployment.state_dir / 'data' / name
            facts = place.stat()
            options = f'size=8m,uid={facts.st_uid},gid={facts.st_gid}'
            command = ['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', place]
            if subprocess.run(command).returncode:
                pytest.skip('no tmpfs can be mounted here')
            stack.callback(subprocess.run, ['umount', place], check=True)
        yield


@images.framings
@pytest.mark.usefixtures('tiny_disk')
def test_a_full_disk_is_a_full_store(limited, framing):
    with image_of(limited[1]) as image:
        body = images.BODIES[framing](os.urandom(20 * MIB), MIB)
        answer = put(
            limited[1], image, body, **{'x-image-meta-store': 'small'}
        )
        text = 'Image storage media is full'
        assert_refused(limited, answer, image, 413, text)


@pytest.mark.usefixtures('tiny_disk')
def test_a_full_staging_area_is_said(limited):
    with image_of(limited[1]) as image:
        body = os.urandom(20 * MIB)
        answer = put(limited[1], image, body, 'stage')
        assert_refused(limited, answer, image, 413, '')


def test_data_of_another_format_is_refused(limited):
    """Glance itself then leaves the data where it is."""
    deployment, cloud = limited
    with image_of(cloud, disk_format='qcow2') as image:
        answer = put(cloud, image, os.urandom(MIB))
        assert answer.status_code == 415, answer.text
        assert 'Image disk_format qcow2 does not match' in answer.text
        assert cloud.image.get_image(image.id).status == 'queued'
        for file in images.files_of(deployment, image):
            file.unlink()


def test_data_for_an_active_image_is_refused(limited):
    with image_of(limited[1]) as image:
        images.upload(limited[1], image, b'first')
        assert put(limited[1], image, b'second').status_code == 409
        images.assert_holds(limited[1], image, b'first')


@images.framings
@pytest.mark.parametrize('action', ['file', 'stage'])
def test_a_client_that_stalls_too_long_is_cut_and_leaves_nothing(
    limited, framing, action
):
    """After --client-timeout, which is 3 seconds here."""
    deployment, cloud = limited
    headers, sent = rawhttp.framed(os.urandom(4 * MIB), framing)
    busy = {'file': 'saving', 'stage': 'uploading'}[action]
    with image_of(cloud) as image:
        client = rawhttp.Client.upload(cloud, image, headers, action)
        with contextlib.closing(client):
            client.send(sent[: len(sent) // 2])
            images.wait_for(cloud, image, busy)
            images.wait_for(cloud, image, 'queued')
        toolkit.until(
            lambda: not images.files_of(deployment, image), 'no data is left'
        )


def high_water(process: psutil.Process) -> int:
    """Bytes of memory that a process has had at most."""
    text = pathlib.Path(f'/proc/{process.pid}/status').read_text()
    (line,) = (line for line in text.splitlines() if 'VmHWM' in line)
    return int(line.split()[1]) * KIB


class Large:
    """A body of 1 GiB that is not in memory, and its digest."""

    def __init__(self) -> None:
        self.block = os.urandom(MIB)
        self.digest = hashlib.sha512()

    def __iter__(self):
        for _ in range(GIB // MIB):
            self.digest.update(self.block)
            yield self.block


class SizedLarge(Large):
    """The same with a length, which requests sends as Content-Length."""

    def __len__(self) -> int:
        return GIB


@pytest.mark.skipif(
    "toolkit.SERVER != 'uwsgi'",
    reason='Apache reads on, in a thread of its own, as long as it comes',
)
def test_a_refused_client_who_dribbles_does_not_hold_a_thread_for_ever(
    cloud, image
):
    """He needs no token for it."""
    client = rawhttp.Client.upload(
        cloud, image, {'X-Auth-Token': 'none', 'Content-Length': str(GIB)}
    )
    deadline = time.monotonic() + 120
    with contextlib.closing(client), pytest.raises(OSError):
        while time.monotonic() < deadline:
            client.send(b'x')
            time.sleep(0.25)


@pytest.mark.parametrize('body', [Large, SizedLarge])
def test_an_upload_of_1_gib_takes_less_than_16_mib(fresh, body):
    fresh.up('--workers=1')
    with fresh.connect() as cloud, image_of(cloud) as image:
        with image_of(cloud) as first:
            images.upload(cloud, first, os.urandom(3 * MIB))
        (worker,) = fresh.processes('glance-api worker')
        before = high_water(worker)
        data = body()
        answer = put(cloud, image, data)
        assert answer.status_code == 204, answer.text
        assert high_water(worker) - before < 16 * MIB
        found = cloud.image.get_image(image.id)
        assert found.hash_value == data.digest.hexdigest()


SLOW = 200


class Slow:
    """An upload that goes on, a little at a time."""

    FIRST, PIECE = 300 * KIB, 20

    def __init__(self, cloud, image, body, framing) -> None:
        self.image = image
        headers, self.sent = rawhttp.framed(body, framing)
        self.client = rawhttp.Client.upload(cloud, image, headers)
        self.position = 0
        self.turn = threading.Lock()
        self.send(self.FIRST)

    def send(self, size: int) -> None:
        with self.turn:
            piece = self.sent[self.position : self.position + size]
            if piece:
                self.client.send(piece)
            self.position += len(piece)

    def finish(self) -> int:
        """The status of the answer."""
        self.send(len(self.sent))
        return self.client.getresponse().status


@contextlib.contextmanager
def trickling(uploads):
    """Each upload gets a few bytes now and then."""
    done = threading.Event()

    def trickle():
        while not done.wait(0.2):
            for upload in [*uploads]:
                upload.send(Slow.PIECE)

    sender = threading.Thread(target=trickle)
    sender.start()
    try:
        yield
    finally:
        done.set()
        sender.join()


def resident(processes) -> int:
    """Bytes of memory that they have."""
    return sum(process.memory_info().rss for process in processes)


@pytest.mark.load
@pytest.mark.timeout(1500)
def test_two_hundred_slow_uploads_leave_the_api_answering(deployed, cloud):
    body = os.urandom(512 * KIB)
    workers = deployed.processes('glance-api worker')
    uploads = []

    def waiting() -> int:
        return len([*cloud.image.images(status='saving')])

    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(image_of(cloud)) for _ in range(SLOW)]
        before = resident(workers)
        with trickling(uploads):
            for number, image in enumerate(slow):
                framing = ('fixed-length', 'chunked')[number % 2]
                uploads.append(Slow(cloud, image, body, framing))
                stack.callback(uploads[-1].client.close)
            toolkit.until(lambda: waiting() == SLOW, 'all are received')
            for _ in range(5):
                health = requests.get(
                    f'{deployed.endpoint}/healthcheck', timeout=10
                )
                assert health.status_code == 200
                with image_of(cloud) as image:
                    images.upload(cloud, image, b'fast')
                    images.assert_holds(cloud, image, b'fast')
            assert waiting() == SLOW
            taken = resident(workers) - before
            print(f'{taken / SLOW / KIB:.0f} KiB for each slow upload')
            assert taken < SLOW * size.SLOW_UPLOAD
            # The others go on meanwhile, or they would be cut.
            assert {upload.finish() for upload in uploads} == {204}
        digest = hashlib.sha512(body).hexdigest()
        found = {image.id: image.hash_value for image in cloud.image.images()}
        assert {found[image.id] for image in slow} == {digest}


def test_an_upload_that_waits_for_its_client_holds_no_connection(
    fresh, mariadb
):
    """One connection in all is enough for everybody else."""
    fresh.write_own_settings(
        '[database]\nmax_pool_size = 1\nmax_overflow = 0\npool_timeout = 5\n'
    )
    with mariadb.database() as (_, url), contextlib.ExitStack() as stack:
        fresh.up(f'--database={url}', '--workers=1')
        cloud = stack.enter_context(fresh.connect())
        body = os.urandom(4 * MIB)
        uploads = []
        for action in ('file', 'stage') * 3:
            image = images.create(cloud)
            headers, sent = rawhttp.framed(body, 'fixed-length')
            client = rawhttp.Client.upload(cloud, image, headers, action)
            stack.callback(client.close)
            client.send(sent[:MIB])
            busy = {'file': 'saving', 'stage': 'uploading'}[action]
            images.wait_for(cloud, image, busy)
            uploads.append((client, sent))
        assert len([*cloud.image.images()]) == 6
        for client, sent in uploads:
            client.send(sent[MIB:])
            assert client.getresponse().status == 204
        fresh.purge()
