"""The shortest path through a real server, run on every supported Glance.

Guards against a Glance, or the libraries of its series, that this package
comes up with but cannot serve with. Bodies are small; what a transfer can
suffer is in test_images.
"""

import images
import psutil
import pytest
from images import KIB
from images import MIB

pytestmark = pytest.mark.smoke


def test_status_says_that_it_serves(deployed):
    status = deployed.status()
    assert status['serving']
    assert status['endpoint'] == deployed.endpoint
    names = {process['name'] for process in status['processes']}
    assert names >= {'emperor', 'glance-api worker', 'keystone worker'}


@images.framings
def test_an_upload_comes_back_and_its_image_is_gone_when_deleted(
    deployed, cloud, image, framing
):
    body = images.random_bytes(MIB + KIB)
    images.upload(cloud, image, images.BODIES[framing](body, 64 * KIB))
    images.assert_holds(cloud, image, body)
    assert image.id in {found.id for found in cloud.image.images()}
    cloud.image.delete_image(image.id)
    assert image.id not in {found.id for found in cloud.image.images()}
    assert not images.files_of(deployed, image)


def test_a_bootable_cd_is_known_as_one(cloud):
    body = images.tiny_iso()
    image = images.create(cloud, disk_format='iso')
    try:
        images.upload(cloud, image, body)
        images.assert_holds(cloud, image, body)
    finally:
        cloud.image.delete_image(image)


def test_glance_direct_imports_what_was_staged(cloud, image):
    body = images.random_bytes(MIB)
    images.upload(cloud, image, body, action='stage')
    cloud.image.import_image(
        images.wait_for(cloud, image, 'uploading'), method='glance-direct'
    )
    images.wait_for(cloud, image, 'active')
    images.assert_holds(cloud, image, body)


def test_the_metadata_definitions_are_loaded(cloud):
    answer = cloud.image.get('/metadefs/namespaces').json()
    assert answer['namespaces']


def test_down_ends_every_process_and_up_serves_the_same_images(
    deployed, cloud, image
):
    body = images.random_bytes(MIB)
    images.upload(cloud, image, body)
    before = deployed.processes('')
    deployed('down')
    try:
        assert not deployed.status()['serving']
        assert not deployed.status()['processes']
        assert not [process for process in before if runs(process)]
    finally:
        deployed.up()
    images.assert_holds(cloud, image, body)


def runs(process: psutil.Process) -> bool:
    """Whether it does anything; the dead may wait for init a moment."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
