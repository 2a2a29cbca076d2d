"""Slow clients, and what becomes of their downloads.

Guards against clients that stop the API because each of them holds a thread,
against reloads that cut what was handed off, and against stalled clients that
nobody ever cuts.
"""

import contextlib
import hashlib
import os
import pathlib
import re
import time

import answers
import images
import pytest
import slow
import toolkit
from images import MIB

from glance_wsgi import programs
from glance_wsgi.data import tickets

pytestmark = pytest.mark.each_server

MANY = 1000
FEW = 4  # threads of each worker

STALL = 4  # seconds


@pytest.fixture(scope='module')
def patient(workspace):
    """A deployment that soon cuts a client which takes nothing."""
    with toolkit.serving(
        workspace / 'patient',
        f'--client-timeout={STALL}',
        settings=toolkit.LOCAL_SETTINGS
        + '[oslo_messaging_notifications]\ndriver = log\n',
    ) as deployment:
        yield deployment


@pytest.fixture(scope='module')
def lenient(workspace):
    """A deployment that never cuts a client while this machine is busy."""
    with toolkit.serving(
        workspace / 'lenient', '--client-timeout=1200'
    ) as deployment:
        yield deployment


@pytest.fixture
def narrow(workspace):
    """A deployment that has few threads."""
    with (
        toolkit.serving(
            workspace / 'narrow',
            '--workers=2',
            f'--threads={FEW}',
            '--client-timeout=1200',
        ) as deployment,
        deployment.connect() as connection,
    ):
        yield connection


@pytest.fixture(scope='module')
def cloud(lenient):
    with lenient.connect() as connection:
        yield connection


@pytest.fixture(scope='module')
def data():
    return images.random_bytes(16 * MIB)


@contextlib.contextmanager
def uploaded(cloud, data):
    image = images.create(cloud)
    images.upload(cloud, image, data)
    try:
        yield image
    finally:
        cloud.image.delete_image(image)


@pytest.fixture
def large(cloud, data):
    with uploaded(cloud, data) as image:
        yield image


def assert_answers(cloud, image) -> None:
    """The API does, whatever else it is asked for."""
    for path in (f'/images/{image.id}', '/images?limit=5'):
        assert answers.ask(cloud, path).status == 200


@pytest.mark.load
def test_a_thousand_slow_downloads_leave_the_api_answering(cloud, large, data):
    expected = images.sha256(data)
    with slow.clients(cloud, large, MANY) as clients:
        assert {client.status for client in clients} == {200}
        assert_answers(cloud, large)
        assert answers.download(cloud, large).digest == expected
        for client in clients[:: MANY // 10]:
            assert client.rest() == expected
    assert_answers(cloud, large)


def test_more_slow_downloads_than_threads_leave_the_api_answering(
    narrow, data
):
    with (
        uploaded(narrow, data) as image,
        slow.clients(narrow, image, 5 * FEW) as clients,
    ):
        assert_answers(narrow, image)
        assert {client.rest() for client in clients} == {images.sha256(data)}


@pytest.mark.skipif(
    "toolkit.SERVER == 'mod_wsgi'", reason='Apache has the files open'
)
def test_a_worker_may_have_a_file_open_for_each_of_many_clients(lenient):
    for worker in lenient.processes('glance-api worker'):
        limits = pathlib.Path(f'/proc/{worker.pid}/limits').read_text()
        most = int(re.search(r'^Max open files +(\d+)', limits, re.M)[1])
        assert most == 16384  # whatever this machine has


def test_a_download_goes_on_when_its_image_is_deleted(cloud, data):
    with uploaded(cloud, data) as image, slow.clients(cloud, image, 3) as some:
        cloud.image.delete_image(image)
        assert answers.download(cloud, image).status == 404
        assert {client.rest() for client in some} == {images.sha256(data)}


def test_a_download_goes_on_when_its_image_is_deactivated(cloud, large, data):
    with slow.clients(cloud, large, 3) as clients:
        cloud.image.deactivate_image(large)
        assert {client.rest() for client in clients} == {images.sha256(data)}


def test_a_download_goes_on_when_its_file_is_another_one(
    lenient, cloud, large, data
):
    (file,) = images.files_of(lenient, large)
    with slow.clients(cloud, large, 3) as clients:
        new = file.with_name('new')
        new.write_bytes(bytes(len(data)))
        facts = file.stat()
        os.chown(new, facts.st_uid, facts.st_gid)
        new.replace(file)
        assert {client.rest() for client in clients} == {images.sha256(data)}


def test_a_reload_cuts_no_download_that_was_handed_off(cloud, lenient, large):
    with slow.clients(cloud, large, 8) as clients:
        before = {
            process.pid for process in lenient.processes('glance-api worker')
        }
        reading = [client.socket for client in clients]
        with read_meanwhile(clients) as digests:
            lenient('reload')
        assert len(reading) == len(digests)
    after = {process.pid for process in lenient.processes('glance-api worker')}
    assert after.isdisjoint(before)
    assert set(digests) == {images.sha256(images.random_bytes(16 * MIB))}


@contextlib.contextmanager
def read_meanwhile(clients):
    """Read their downloads to the end, but not before the block has begun.

    In about ten seconds, so that they are under way when a worker is told to
    end.
    """
    from concurrent import futures

    def read(client) -> str:
        digest, left = hashlib.sha256(), 16 * MIB
        while b'\r\n\r\n' not in client.begun:
            client.take()
        body = client.begun.partition(b'\r\n\r\n')[2]
        digest.update(body)
        left -= len(body)
        while left:
            piece = client.socket.recv(min(left, MIB // 4))
            assert piece, f'cut, with {left} bytes left'
            digest.update(piece)
            left -= len(piece)
            time.sleep(0.04)
        return digest.hexdigest()

    digests = []
    with futures.ThreadPoolExecutor(len(clients)) as pool:
        running = [pool.submit(read, client) for client in clients]
        yield digests
        digests += [future.result() for future in running]


def test_a_stop_waits_for_what_was_handed_off(patient, data):
    with patient.connect() as cloud, uploaded(cloud, data) as image:
        with slow.clients(cloud, image, 4) as clients:
            with read_meanwhile(clients) as digests:
                patient('down', '--timeout=300')
            assert set(digests) == {images.sha256(data)}
        patient.up()


def test_a_client_that_takes_nothing_is_cut(patient, data):
    with (
        patient.connect() as cloud,
        uploaded(cloud, data) as image,
        slow.clients(cloud, image, 2) as clients,
    ):
        began = time.monotonic()
        toolkit.until(
            lambda: not open_transfers(patient), 'both are cut', within=120
        )
        assert time.monotonic() - began > STALL / 2
        for client in clients:
            with contextlib.suppress(ConnectionResetError):
                assert client.rest() != images.sha256(data)


def open_transfers(deployment) -> int:
    """How many connections of clients its processes have."""
    return sum(
        connection.status == 'ESTABLISHED'
        for name, process in server_processes(deployment)
        for connection in process.net_connections('tcp')
        if connection.laddr.port == deployment.port
    )


def server_processes(deployment):
    """All of its processes, with their names."""
    import psutil

    for row in deployment.status()['processes']:
        with contextlib.suppress(psutil.NoSuchProcess):
            yield row['name'], psutil.Process(row['pid'])


def test_a_notification_tells_of_all_bytes(patient):
    with (
        patient.connect() as cloud,
        uploaded(cloud, images.random_bytes(12345)) as image,
    ):
        before = patient.log.stat().st_size
        assert answers.download(cloud, image).size == 12345
        partial = answers.download(cloud, image, {'Range': 'bytes=-345'})
        assert partial.size == 345

        def said() -> str:
            return programs.read_from(patient.log, before)

        for size in (12345, 345):
            toolkit.until(
                lambda size=size: f'"bytes_sent": {size}' in said(),
                f'a notification about {size} bytes',
            )
        assert said().count('image.send') >= 2


def test_tickets_are_gone_after_their_time(lenient, cloud, large):
    answers.download(cloud, large)
    (file,) = images.files_of(lenient, large)
    folder = file.parent / tickets.DIRECTORY
    if toolkit.SERVER == 'uwsgi':
        assert not folder.exists()
        return
    toolkit.until(
        lambda: not any(file.samefile(ticket) for ticket in folder.iterdir()),
        'no other name of the file is left',
        within=2 * tickets.LIFETIME,
    )
