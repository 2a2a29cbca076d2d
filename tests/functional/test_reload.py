"""New configuration and code without one failed request.

Guards against reloads that end the service, cut transfers, lose imports or
let requests fail; and against a killed worker that takes more with it than
what it was doing.
"""

import contextlib
import hashlib
import os
import time

import images
import load
import psutil
import pytest
import toolkit
from images import GIB
from images import MIB

pytestmark = [pytest.mark.each_server, pytest.mark.load]

CLIENTS = 8
RELOADS = 5


@pytest.fixture(scope='module')
def loaded(workspace, mariadb):
    """A deployment on MariaDB, whose writers do not wait for each other."""
    deployment = toolkit.Deployed(workspace / 'loaded')
    deployment.write_own_settings(toolkit.LOCAL_SETTINGS)
    with mariadb.database() as (_, url):
        try:
            deployment.up(f'--database={url}')
            yield deployment
        finally:
            deployment.purge()


@pytest.fixture(scope='module')
def cloud(loaded):
    with loaded.connect() as connection:
        yield connection


@pytest.fixture
def big(cloud):
    """An image of 1 GiB, and the SHA-256 of its data."""
    digest = hashlib.sha256()

    def pieces():
        for _ in range(GIB // (16 * MIB)):
            piece = os.urandom(16 * MIB)
            digest.update(piece)
            yield piece

    image = images.create(cloud)
    images.upload(cloud, image, pieces())
    yield image, digest.hexdigest()
    cloud.image.delete_image(image)


@contextlib.contextmanager
def in_flight(cloud, big):
    """A download of 1 GiB, a chunked upload and an import, all begun.

    They have to end well when the block has.
    """
    image, digest = big
    body = images.random_bytes(64 * MIB)
    uploaded, imported = images.create(cloud), images.create(cloud)
    # About 15 seconds each.
    download = load.Download(cloud, image, rate=64 * MIB)
    upload = load.Upload(cloud, uploaded, body, rate=4 * MIB)
    with load.SlowWeb(body, rate=4 * MIB) as web:
        download.start()
        upload.start()
        cloud.image.import_image(imported, method='web-download', uri=web.url)
        assert download.begun.wait(30)
        assert upload.begun.wait(30)
        images.wait_for(cloud, imported, 'importing')
        yield
        upload.join()
        download.join()
        assert (download.error, upload.error) == (None, None)
        assert download.digest.hexdigest() == digest
        images.assert_holds(cloud, uploaded, body)
        images.wait_for(cloud, imported, 'active')
        images.assert_holds(cloud, imported, body)
    cloud.image.delete_image(uploaded)
    cloud.image.delete_image(imported)


def workers(deployment) -> set[psutil.Process]:
    """Those of the Images API."""
    return set(deployment.processes('glance-api worker'))


def test_five_reloads_under_load_lose_nothing(loaded, cloud, big):
    with load.clients(cloud, CLIENTS) as clients:
        for _ in range(RELOADS):
            before = workers(loaded)
            with in_flight(cloud, big):
                loaded('reload')
                assert workers(loaded).isdisjoint(before)
                assert loaded.status()['serving']
    assert not load.failures(clients)
    assert all(client.answers >= 4 * RELOADS for client in clients)


def test_new_settings_are_taken_under_load(loaded, cloud, big):
    with load.clients(cloud, CLIENTS) as clients, in_flight(cloud, big):
        loaded.write_own_settings(
            toolkit.LOCAL_SETTINGS + '[DEFAULT]\nimage_tag_quota = 3\n'
        )
        said = loaded('reload').stdout
        assert 'configuration changed' in said
    assert not load.failures(clients)
    image = images.create(cloud)
    url = f'/images/{image.id}'
    answers = [cloud.image.put(f'{url}/tags/{tag}') for tag in 'abcd']
    assert [answer.status_code for answer in answers] == [204, 204, 204, 413]
    cloud.image.delete_image(image)


def test_a_new_setting_of_the_server_fails_no_request(loaded, cloud):
    """Apache reads its files again, uWSGI's master starts anew."""
    with load.clients(cloud, CLIENTS) as clients:
        time_of_some_answers(clients)
        loaded.up('--client-timeout=77')
        time_of_some_answers(clients)
    assert not load.failures(clients)


def test_settings_that_cannot_be_loaded_are_refused_and_nothing_changes(
    loaded, cloud
):
    before = toolkit.snapshot(loaded.state_dir / 'etc')
    running = workers(loaded)
    own = loaded.state_dir / 'etc' / 'glance-api.local.conf'
    good = own.read_text()
    try:
        own.write_text(good + '[paste_deploy]\nflavor = nonsense\n')
        with load.clients(cloud, 2) as clients:
            result = loaded('reload', check=False)
    finally:
        own.write_text(good)
    assert result.returncode == 29, result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert 'nonsense' in result.stderr
    assert not load.failures(clients)
    assert workers(loaded) == running
    after = toolkit.snapshot(loaded.state_dir / 'etc')
    for files in (before, after):
        files.pop(str(own))
    assert after == before


def test_a_killed_worker_fails_only_what_it_was_doing(loaded, cloud):
    for victim in workers(loaded):
        with load.clients(cloud, CLIENTS) as clients:
            time_of_some_answers(clients)
            victim.kill()
            killed = time.time()
            toolkit.until(
                lambda victim=victim: (
                    loaded.status()['serving']
                    and len(workers(loaded) - {victim}) >= 2
                ),
                'another worker serves in its place',
            )
            time_of_some_answers(clients)
        later = [f for f in load.failures(clients) if f.began > killed]
        assert not later


def time_of_some_answers(clients) -> None:
    """Wait until each client has had some answers more."""
    before = [client.answers for client in clients]
    toolkit.until(
        lambda: all(
            client.answers > answers + 4
            for client, answers in zip(clients, before, strict=True)
        ),
        'every client is answered',
    )
