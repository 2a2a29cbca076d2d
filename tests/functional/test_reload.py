"""New configuration and code without one failed request.

Guards against reloads that end the service, cut transfers, lose imports or
let requests fail; and against a killed worker that takes more with it than
what it was doing.
"""

import configparser
import contextlib
import hashlib
import os
import subprocess
import time

import images
import kills
import load
import psutil
import pytest
import toolkit
from images import GIB
from images import MIB

from glance_wsgi import probe

pytestmark = [pytest.mark.each_server, pytest.mark.load]

CLIENTS = 8
RELOADS = 5

BODY = images.random_bytes(64 * MIB)


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

    They would take many minutes: nobody has to be quick to find them under
    way. Once they are told to `hurry` they take some seconds more, which is
    longer than Apache lets its processes live when it ends them itself.
    """

    LONG, SHORT = 600, 8  # seconds

    def __init__(self, cloud, big, web) -> None:
        self.cloud, self.web = cloud, web
        image, self.digest = big
        self.uploaded, self.imported = (
            images.create(cloud),
            images.create(cloud),
        )
        self.download = load.Download(cloud, image, rate=GIB / self.LONG)
        self.upload = load.Upload(
            cloud, self.uploaded, BODY, rate=len(BODY) / self.LONG
        )

    def begin(self) -> None:
        self.web.rate = len(BODY) / self.LONG
        self.download.start()
        self.upload.start()
        self.cloud.image.import_image(
            self.imported, method='web-download', uri=self.web.url
        )
        assert self.download.begun.wait(30)
        assert self.upload.begun.wait(30)
        toolkit.until(lambda: self.web.clients, 'the import has begun')

    def assert_under_way(self) -> None:
        assert self.download.is_alive()
        assert self.upload.is_alive()
        assert self.web.clients

    def hurry(self, seconds: float = SHORT) -> None:
        self.download.pace.rate = GIB / seconds
        self.upload.pace.rate = self.web.rate = len(BODY) / seconds

    def land(self) -> None:
        """Wait for both ends of the transfers, whatever becomes of them."""
        self.hurry()
        self.upload.join()
        self.download.join()

    def assert_complete(self) -> None:
        self.land()
        assert (self.download.error, self.upload.error) == (None, None)
        assert self.download.digest.hexdigest() == self.digest
        images.assert_holds(self.cloud, self.uploaded, BODY)
        images.wait_for(self.cloud, self.imported, 'active')
        images.assert_holds(self.cloud, self.imported, BODY)

    def held_by(self, worker, deployed) -> set[load.Transfer]:
        """The transfers that are in this worker, and end with it.

        Apache sends a download itself: it lives on whoever is killed.
        uWSGI's offload threads are a worker's, and end with it.
        """
        sender = holders(deployed, self.download.image)
        assert len(sender) == (1 if toolkit.SERVER == 'uwsgi' else 0)
        receiver = {kills.receiver(deployed, self.uploaded)}
        return {
            transfer
            for transfer, who in (
                (self.download, sender),
                (self.upload, receiver),
            )
            if worker in who
        }

    def assert_lost_only(self, lost, deployed) -> None:
        """What a worker's end has cut is told to its client, and is gone.

        An import has no client that waits: it is done all the same.

        :param lost: the transfers that the worker had
        """
        self.land()
        transfers = {self.download, self.upload}
        assert {item for item in transfers if item.error} == lost
        if self.download not in lost:
            assert self.download.digest.hexdigest() == self.digest
        if self.upload in lost:
            kills.assert_mended(deployed, self.cloud, self.uploaded)
        else:
            images.assert_holds(self.cloud, self.uploaded, BODY)
        # Another process begins the import again, once it takes the killed
        # one for dead.
        images.wait_for(self.cloud, self.imported, 'active', within=120)
        images.assert_holds(self.cloud, self.imported, BODY)
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
    with load.SlowWeb(BODY, rate=MIB) as web:
        flight = Flight(cloud, big, web)
        flight.begin()
        try:
            yield flight
        finally:
            flight.land()
    cloud.image.delete_image(flight.uploaded)
    cloud.image.delete_image(flight.imported)


def reload_under(
    flight, deployment, until='glance-api: ', meanwhile=lambda: None
) -> str:
    """Reload; what it says. The transfers hurry once it waits for them.

    :param until: how the line begins by which it says so
    :param meanwhile: is called before they hurry
    """
    with subprocess.Popen(
        [
            *(toolkit.BIN / 'glance-wsgi', 'reload'),
            f'--state-dir={deployment.state_dir}',
        ],
        stdout=subprocess.PIPE,
        text=True,
    ) as reload:
        said = ''
        for line in reload.stdout:
            said += line
            if line.startswith(until):
                break
        meanwhile()
        flight.assert_under_way()
        flight.hurry()
        said += reload.stdout.read()
    assert reload.returncode == 0
    assert until in said
    return said


def workers(deployment) -> set[psutil.Process]:
    """Those of the Images API."""
    return set(deployment.processes('glance-api worker'))


def test_five_reloads_under_load_lose_nothing(loaded, cloud, big):
    with load.clients(cloud, CLIENTS) as clients:
        for _ in range(RELOADS):
            before = workers(loaded)
            with in_flight(cloud, big) as flight:
                reload_under(flight, loaded)
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
        said = reload_under(flight, loaded)
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


SETTING = {
    'uwsgi': 'client-timeout',
    'apache-uwsgi': 'answer-timeout',
    'mod_wsgi': 'client-timeout',
}
"""An option that changes what has to be waited for."""

WAITS = {
    'uwsgi': 'uwsgi: new requests wait',
    'apache-uwsgi': 'uwsgi: new requests wait',
    'mod_wsgi': 'apache: waits for a moment without',
}


def test_a_new_setting_of_the_server_cuts_no_transfer(loaded, cloud, big):
    """uWSGI lets requests wait for the transfers, mod_wsgi its new files."""
    with (
        load.clients(cloud, CLIENTS) as clients,
        in_flight(cloud, big) as flight,
    ):
        before = set(loaded.processes(''))

        def everybody_is_served_as_before() -> None:
            time_of_some_answers(clients)
            assert set(loaded.processes('')) == before

        name = SETTING[toolkit.SERVER].replace('-', '_')
        change_setting(loaded, name, '78')
        said = reload_under(
            flight,
            loaded,
            until=WAITS[toolkit.SERVER],
            meanwhile=everybody_is_served_as_before
            if toolkit.SERVER == 'mod_wsgi'
            else lambda: None,
        )
        assert 'for 3600 s at most' in said
        assert workers(loaded).isdisjoint(before)
        flight.assert_complete()
        time_of_some_answers(clients)
    # Who waits long enough is answered.
    assert not [f for f in load.failures(clients) if not f.out_of_patience]


def test_an_up_waits_as_long_as_the_transfers_last(loaded, cloud, big):
    """Longer than what it has started may take to answer."""
    with in_flight(cloud, big) as flight:
        flight.hurry(probe.READY_TIMEOUT + 45)
        said = loaded.up(f'--{SETTING[toolkit.SERVER]}=79').stdout
        assert WAITS[toolkit.SERVER] in said
        flight.assert_complete()


def change_setting(deployment, name: str, value: str) -> None:
    """Change an option of the server as a new version's files would."""
    file = deployment.state_dir / 'etc' / 'glance-wsgi.conf'
    options = configparser.ConfigParser(interpolation=None)
    options.read(file)
    options['server'][name] = value
    with file.open('w') as output:
        options.write(output)


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


def holders(deployed, image) -> set[psutil.Process]:
    """The workers that have a file of the image open."""
    files = {str(file) for file in images.files_of(deployed, image)}
    return {
        worker
        for worker in kills.workers(deployed)
        if files & {opened.path for opened in worker.open_files()}
    }


def test_a_killed_worker_fails_only_what_it_was_doing(loaded, cloud, big):
    for victim in workers(loaded):
        with (
            load.clients(cloud, CLIENTS) as clients,
            in_flight(cloud, big) as flight,
        ):
            time_of_some_answers(clients)
            before = set(loaded.processes(''))
            lost = flight.held_by(victim, loaded)
            flight.assert_under_way()
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
            flight.assert_lost_only(lost, loaded)
        # Nobody went with it: no other worker, no master, nothing of Apache.
        assert before - set(loaded.processes('')) == {victim}
        # A client has one request at a time: it is one of each at most.
        failed = load.failures(clients)
        assert not [f for f in failed if not f.was_in_hand(killed)]


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
