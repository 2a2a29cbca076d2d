"""Interoperable import: work that Glance goes on with after the answer.

Guards against imports that depend on what only Glance's own server had:
threads that run in a worker beside its requests, a staging directory that
the worker can write, and a Python that image conversion can start
(https://bugs.launchpad.net/bugs/1962581).
"""

import images
import pytest
import toolkit
from images import MIB

pytestmark = pytest.mark.each_server


@images.framings
def test_glance_direct_imports_what_was_staged(
    deployed, cloud, image, framing
):
    body = images.random_bytes(9 * MIB)
    images.upload(
        cloud, image, images.BODIES[framing](body, MIB), action='stage'
    )
    staged = images.wait_for(cloud, image, 'uploading')
    assert staged.size == len(body)
    cloud.image.import_image(staged, method='glance-direct')
    images.wait_for(cloud, image, 'active')
    images.assert_holds(cloud, image, body)
    toolkit.until(
        lambda: (
            [file.parent.name for file in images.files_of(deployed, image)]
            == ['fast']
        ),
        'the image is in its store only',
    )


def test_web_download_imports_what_a_server_has(cloud, image, web):
    body = images.random_bytes(9 * MIB)
    web.directory.joinpath('image').write_bytes(body)
    cloud.image.import_image(
        image, method='web-download', uri=f'{web.url}/image'
    )
    images.wait_for(cloud, image, 'active')
    images.assert_holds(cloud, image, body)


def test_web_download_of_nothing_leaves_a_queued_image(
    deployed, cloud, image, web
):
    """Glance puts it back to queued and names the stores that failed."""
    cloud.image.import_image(
        image, method='web-download', uri=f'{web.url}/none'
    )
    toolkit.until(
        lambda: details(cloud, image).get('os_glance_failed_import') == 'fast',
        'the import has failed',
    )
    toolkit.until(
        lambda: 'os_glance_import_task' not in details(cloud, image),
        'the import has let go of the image',
    )
    assert details(cloud, image)['status'] == 'queued'
    assert not images.files_of(deployed, image)
    body = images.random_bytes(MIB)
    web.directory.joinpath('image').write_bytes(body)
    cloud.image.import_image(
        image, method='web-download', uri=f'{web.url}/image'
    )
    images.wait_for(cloud, image, 'active')
    images.assert_holds(cloud, image, body)


def details(cloud, image) -> dict:
    """The image's record as Glance has it, with what imports note there."""
    return cloud.image.get(f'/images/{image.id}').json()


def test_copy_image_makes_the_same_file_in_the_other_store(
    deployed, cloud, image
):
    body = images.random_bytes(9 * MIB)
    images.upload(cloud, image, body)
    cloud.image.import_image(image, method='copy-image', stores=['cheap'])
    toolkit.until(
        lambda: (
            set(details(cloud, image)['stores'].split(','))
            == {'fast', 'cheap'}
        ),
        'the image is in both stores',
    )
    for store in ('fast', 'cheap'):
        copy = deployed.state_dir / 'data' / store / image.id
        assert images.sha256(copy.read_bytes()) == images.sha256(body)
    images.assert_holds(cloud, image, body)


CONVERSION = """
[image_import_opts]
image_import_plugins = ['image_conversion']

[image_conversion]
output_format = raw
"""


@pytest.fixture(scope='module')
def converting(workspace):
    """A deployment that makes each imported image a raw one."""
    with toolkit.serving(
        workspace / 'converting', settings=toolkit.LOCAL_SETTINGS + CONVERSION
    ) as deployment:
        yield deployment


def test_the_conversion_plugin_makes_raw_from_qcow2(converting, tmp_path):
    # A disk with holes and data. The CD alone would not do: Glance refuses to
    # end up with a raw image that looks like a CD.
    disk = tmp_path / 'disk'
    disk.write_bytes(bytes(MIB) + images.ISO.read_bytes() + bytes(MIB))
    qcow2 = images.converted(disk, tmp_path / 'disk.qcow2')
    raw = images.converted(qcow2, tmp_path / 'disk.raw').read_bytes()
    with converting.connect() as cloud:
        image = images.create(cloud, disk_format='qcow2')
        images.upload(cloud, image, qcow2.read_bytes(), action='stage')
        cloud.image.import_image(image, method='glance-direct')
        image = images.wait_for(cloud, image, 'active')
        assert image.disk_format == 'raw'
        images.assert_holds(cloud, image, raw)
        cloud.image.delete_image(image)
