"""Many clients at once.

Guards against "database is locked" with SQLite, which is what people start
with, and against the failure that every set-up without enough threads has: a
few slow downloads, and the whole API stands still.
"""

import concurrent.futures
import contextlib
import json
import time

import images
import load
import pytest
import rawhttp
import requests
from images import KIB
from images import MIB
from keystoneauth1 import session
from keystoneauth1.identity import v3

from glance_wsgi import conf

pytestmark = pytest.mark.each_server

CLIENTS = 8
SECONDS = 6


def test_many_clients_on_sqlite_are_all_answered(cloud):
    body = images.random_bytes(4 * MIB)
    bodies = [body, body, *[None] * (CLIENTS - 2)]
    until = time.monotonic() + SECONDS
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        clients = list(
            pool.map(
                lambda part: load.Client(cloud).run(
                    lambda: time.monotonic() > until, part
                ),
                bodies,
            )
        )
    assert not [failure for client in clients for failure in client.failures]
    assert all(client.answers >= 4 for client in clients)


def test_many_people_who_log_in_while_others_write_all_get_in(cloud):
    """A login writes into Keystone's database, which is SQLite, too."""

    def work(number: int) -> None:
        for turn in range(5):
            project = cloud.identity.create_project(
                name=f'at-once-{number}-{turn}'
            )
            session.Session(auth=fresh()).get_token()
            cloud.identity.delete_project(project)

    def fresh() -> v3.Password:
        return v3.Password(**cloud.config.config['auth'])

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(work, range(CLIENTS)))


@pytest.fixture
def newcomers(cloud):
    """The names of users who have never logged in; their password too."""
    names = [f'newcomer-{number}' for number in range(2 * CLIENTS)]
    with contextlib.ExitStack() as stack:
        project = cloud.identity.find_project('admin')
        role = cloud.identity.find_role('member')
        for name in names:
            user = cloud.identity.create_user(name=name, password=name)
            stack.callback(cloud.identity.delete_user, user)
            cloud.identity.assign_project_role_to_user(project, user, role)
        yield names


def test_everybody_can_log_in_for_the_first_time_at_once(deployed, newcomers):
    # Keystone then notes the day, by a transaction that reads before it
    # writes.
    def log_in(name):
        account = {**deployed.account()['auth'], 'project_name': 'admin'}
        account |= {'username': name, 'password': name}
        return v3.Password(**account).get_token(session.Session())

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        tokens = list(pool.map(log_in, newcomers))
    assert len(set(tokens)) == len(newcomers)


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


def test_clients_who_do_not_send_what_they_announce_keep_nobody_waiting(
    deployed, cloud, image
):
    """More of them than requests are let in at a time."""
    workers = len(deployed.processes('glance-api worker'))
    at_once = conf.new().admission.requests_at_once
    with contextlib.ExitStack() as stack:
        slow = []
        for _ in range(3 * at_once * max(workers, 2)):
            client = rawhttp.Client(
                cloud,
                'POST',
                '/images',
                {'Content-Type': 'application/json', 'Content-Length': '100'},
            )
            stack.callback(client.close)
            client.send(b'{"name": ')
            slow.append(client)
        for _ in range(10):
            assert cloud.image.get_image(image.id).id == image.id
        for client in slow:
            client.send(b'"slow"}'.ljust(91))
            answer = client.getresponse()
            assert answer.status == 201
            cloud.image.delete_image(json.loads(answer.read())['id'])
