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
import kills
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
    with (
        mariadb.database() as (_, url),
        toolkit.serving(
            workspace / 'loaded', f'--database={url}'
        ) as deployment,
    ):
        yield deployment


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


class Flight:
    """A download of 1 GiB, a chunked upload and an import, all begun.

    About 15 seconds each.
    """

    def __init__(self, cloud, big) -> None:
        self.cloud = cloud
        image, self.digest = big
        self.body = images.random_bytes(64 * MIB)
        self.uploaded, self.imported = (
            images.create(cloud),
            images.create(cloud),
        )
        self.download = load.Download(cloud, image, rate=64 * MIB)
        self.upload = load.Upload(
            cloud, self.uploaded, self.body, rate=4 * MIB
        )

    def begin(self, url: str) -> None:
        self.download.start()
        self.upload.start()
        self.cloud.image.import_image(
            self.imported, method='web-download', uri=url
        )
        assert self.download.begun.wait(30)
        assert self.upload.begun.wait(30)
        images.wait_for(self.cloud, self.imported, 'importing')

    def land(self) -> None:
        """Wait for both ends of the transfers, whatever becomes of them."""
        self.upload.join()
        self.download.join()

    def assert_complete(self) -> None:
        self.land()
        assert (self.download.error, self.upload.error) == (None, None)
        assert self.download.digest.hexdigest() == self.digest
        images.assert_holds(self.cloud, self.uploaded, self.body)
        images.wait_for(self.cloud, self.imported, 'active')
        images.assert_holds(self.cloud, self.imported, self.body)

    def assert_whole_or_nothing(self, deployed) -> None:
        """What a worker's end has cut is told to its client, and is gone.

        An import has no client that waits: it is done all the same.
        """
        self.land()
        if self.download.error is None:
            assert self.download.digest.hexdigest() == self.digest
        if self.upload.error is None:
            images.assert_holds(self.cloud, self.uploaded, self.body)
        else:
            kills.assert_mended(deployed, self.cloud, self.uploaded)
        # Another process begins the import again, once it takes the killed
        # one for dead.
        images.wait_for(self.cloud, self.imported, 'active', within=120)
        images.assert_holds(self.cloud, self.imported, self.body)
        toolkit.until(
            lambda: (
                [
                    file.parent.name
                    for file in images.files_of(deployed, self.imported)
                ]
                == ['fast']
            ),
            'nothing but the image is left of the import',
        )


@contextlib.contextmanager
def in_flight(cloud, big):
    """Transfers that go on while the block does."""
    flight = Flight(cloud, big)
    with load.SlowWeb(flight.body, rate=4 * MIB) as web:
        flight.begin(web.url)
        try:
            yield flight
        finally:
            flight.land()
    cloud.image.delete_image(flight.uploaded)
    cloud.image.delete_image(flight.imported)


def workers(deployment) -> set[psutil.Process]:
    """Those of the Images API."""
    return set(deployment.processes('glance-api worker'))


def test_five_reloads_under_load_lose_nothing(loaded, cloud, big):
    with load.clients(cloud, CLIENTS) as clients:
        for _ in range(RELOADS):
            before = workers(loaded)
            with in_flight(cloud, big) as flight:
                loaded('reload')
                assert workers(loaded).isdisjoint(before)
                assert loaded.status()['serving']
                flight.assert_complete()
    assert not load.failures(clients)
    assert all(client.answers >= 4 * RELOADS for client in clients)


def test_new_settings_are_taken_under_load(loaded, cloud, big):
    with (
        load.clients(cloud, CLIENTS) as clients,
        in_flight(cloud, big) as flight,
    ):
        loaded.write_own_settings(
            toolkit.LOCAL_SETTINGS + '[DEFAULT]\nimage_tag_quota = 3\n'
        )
        said = loaded('reload').stdout
        assert 'configuration changed' in said
        flight.assert_complete()
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


def test_a_killed_worker_fails_only_what_it_was_doing(loaded, cloud, big):
    for victim in workers(loaded):
        with (
            load.clients(cloud, CLIENTS) as clients,
            in_flight(cloud, big) as flight,
        ):
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
            flight.assert_whole_or_nothing(loaded)
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
