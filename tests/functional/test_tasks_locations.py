"""Locations that are being added, and old tasks, whose process dies.

What cannot be begun again. Guards against an image that stays ``importing``
and locked, a location that its image does not have, and a task that is
``processing`` for ever.
"""

import hashlib

import images
import interrupted
import psutil
import pytest
import toolkit
from images import MIB

from glance_wsgi import probe

pytestmark = pytest.mark.tasks


@pytest.fixture(scope='module')
def work(workspace):
    with toolkit.serving(
        workspace / 'locations',
        '--workers=2',
        '--stores=fast:file,cheap:file,web:http',
        # Locations are kept encrypted with it.
        settings='[DEFAULT]\nmetadata_encryption_key = 0123456789abcdef\n'
        + interrupted.SETTINGS,
    ) as deployment:
        yield interrupted.Work(deployment)


@pytest.fixture(scope='module')
def cloud(work):
    with work.deployment.connect() as connection:
        yield connection


@pytest.fixture
def web():
    """A web server whose gate is closed."""
    with interrupted.GatedWeb(images.random_bytes(8 * MIB)) as server:
        yield server


def add_location(cloud, image, url, digest=None):
    """Have Glance add a location, whose data it reads for its hash."""
    said = {'url': url}
    if digest:
        said['validation_data'] = {
            'os_hash_algo': 'sha512',
            'os_hash_value': digest,
        }
    response = cloud.image.post(f'/images/{image.id}/locations', json=said)
    assert response.status_code == 202, response.text


def locations(work, image) -> int:
    """How many it has."""
    return len(
        work.query(
            'SELECT 1 FROM image_locations WHERE image_id = ? AND deleted = 0',
            image.id,
        )
    )


def suspend(work, cloud, runner) -> None:
    """Stop a process, but not where it keeps all others from their work.

    It may be the one that writes to the database, or the one of mod_wsgi's
    whose turn it is to accept connections, which others get by requests.
    """
    url = images.url(cloud, '/')

    def is_stopped() -> bool:
        runner.suspend()
        if work.is_free() and all(
            not probe.health(url, timeout=2).startswith('no ')
            for _ in range(8)
        ):
            return True
        runner.resume()
        return False

    toolkit.until(is_stopped, 'it is stopped', within=120)


def test_killed_while_a_location_is_compared_with_its_hash(
    work, cloud, image, web
):
    """Nobody could use it yet, so it is not there; it can be added again."""
    digest = hashlib.sha512(web.body).hexdigest()
    add_location(cloud, image, web.url, digest)
    interrupted.end(work.runner(image))
    message = work.assert_usable(cloud, image)
    assert 'Add the location again' in message
    assert locations(work, image) == 0
    web.gate.set()
    add_location(cloud, image, web.url, digest)
    work.over(image)
    images.assert_holds(cloud, image, web.body)
    assert cloud.image.get_image(image).hash_value == digest


def test_who_wakes_up_when_a_location_was_added_again_does_no_damage(
    work, cloud, image, web
):
    """It compares to the end what it has; the image has another task since."""
    digest = hashlib.sha512(web.body).hexdigest()
    add_location(cloud, image, web.url, digest)
    runner = work.runner(image)
    toolkit.until(lambda: locations(work, image) == 1, 'it has its location')
    suspend(work, cloud, runner)
    work.assert_usable(cloud, image)
    with interrupted.GatedWeb(images.random_bytes(MIB)) as other:
        other.gate.set()
        right = hashlib.sha512(other.body).hexdigest()
        add_location(cloud, image, other.url, right)
        work.over(image)
        images.assert_holds(cloud, image, other.body)
        asleep = work.deployment.log.stat().st_size
        web.gate.set()
        runner.resume()
        first = work.tasks(image)[0][0]

        def it_has_stopped() -> bool:
            log = work.deployment.log.read_text()[asleep:]
            return f'{first} lost its lock during execution' in log

        toolkit.until(it_has_stopped, 'it has found its lock gone', within=60)
        images.assert_holds(cloud, image, other.body)
        assert cloud.image.get_image(image).hash_value == right
        assert locations(work, image) == 1


def test_killed_while_the_hash_of_a_location_is_computed(
    work, cloud, image, web
):
    """It could be used already, so it stays: without a hash, and without who
    was about to compute one, whom Glance would ask to delete it."""
    add_location(cloud, image, web.url)
    runner = work.runner(image)
    images.wait_for(cloud, image, 'active')
    interrupted.end(runner)
    work.over(image)
    web.gate.set()
    data = cloud.image.download_image(image).content
    assert images.sha256(data) == images.sha256(web.body)
    found = cloud.image.get(f'/images/{image.id}').json()
    assert found['os_hash_value'] is None
    assert found['os_hash_algo'] is None
    assert not work.query(
        'SELECT 1 FROM image_properties WHERE image_id = ? AND deleted = 0 '
        "AND name LIKE 'os_glance_%'",
        image.id,
    )
    assert locations(work, image) == 1
    assert work.tasks(image)[-1][1] == 'success'
    cloud.image.delete_image(image)


def test_killed_in_a_task_of_the_old_api(work, cloud, web):
    response = cloud.image.post(
        '/tasks',
        json={
            'type': 'import',
            'input': {
                'import_from': web.url,
                'import_from_format': 'raw',
                'image_properties': {
                    'name': 'old',
                    'disk_format': 'raw',
                    'container_format': 'bare',
                },
            },
        },
    )
    assert response.status_code == 201, response.text
    task_id = response.json()['id']

    def said() -> dict:
        return cloud.image.get(f'/tasks/{task_id}').json()

    def images_of_it() -> list:
        return list(cloud.image.images(name='old'))

    toolkit.until(
        lambda: said()['status'] == 'processing' and images_of_it(),
        'it runs, and has made its image',
    )
    ((owner,),) = work.query(
        'SELECT owner FROM glance_wsgi_jobs WHERE task_id = ?', task_id
    )
    interrupted.end(psutil.Process(int(owner.split(':')[0])))
    toolkit.until(
        lambda: said()['status'] == 'failure', 'it has failed', within=60
    )
    assert 'Delete its image' in said()['message']
    assert not work.query(
        'SELECT 1 FROM glance_wsgi_jobs WHERE task_id = ?', task_id
    )
    for made in images_of_it():
        cloud.image.delete_image(made)
    toolkit.until(lambda: not images_of_it(), 'its image is deleted')
