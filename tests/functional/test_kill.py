"""Workers killed with SIGKILL while they receive an image.

Guards against what Glance alone is left with then: a file that no location
names, an image that is ``saving`` or ``uploading`` for ever, and half an
image that an import makes active.
"""

import contextlib
import pathlib

import images
import psutil
import pytest
import rawhttp
import toolkit
from images import MIB

BODY = images.random_bytes(9 * MIB)

actions = pytest.mark.parametrize('action', ['file', 'stage'])


@contextlib.contextmanager
def half_sent(deployed, cloud, image, action='file', framing='fixed-length'):
    """An upload that stalls in the middle; its client and what is to come."""
    headers, sent = rawhttp.framed(BODY, framing)
    middle = len(sent) // 2
    with contextlib.closing(
        rawhttp.Client.upload(cloud, image, headers, action)
    ) as client:
        client.send(sent[:middle])
        toolkit.until(
            lambda: sum(
                file.stat().st_size
                for file in images.files_of(deployed, image)
            ),
            'data has been written',
        )
        yield client, sent[middle:]


def receiver(deployed, image) -> psutil.Process:
    """The worker that writes an image's data."""
    (file,) = images.files_of(deployed, image)
    (worker,) = (
        worker
        for worker in deployed.processes('glance-api worker')
        if str(file) in {opened.path for opened in worker.open_files()}
    )
    return worker


def kill(worker: psutil.Process) -> None:
    """SIGKILL; returns when it is gone, and its locks with it."""
    worker.kill()
    toolkit.until(lambda: not toolkit.alive(worker), f'{worker} is dead')


def kill_half_sent(deployed, cloud, image, action='file', **options) -> None:
    """Kill the worker that has received half of an image."""
    with half_sent(deployed, cloud, image, action, **options):
        kill(receiver(deployed, image))


def journal(deployed) -> pathlib.Path:
    """The directory with an entry for each upload."""
    return deployed.state_dir / 'run' / 'locks' / 'uploads'


def entries(deployed, image) -> list[pathlib.Path]:
    """The image's entries in the journal."""
    return list(journal(deployed).glob(f'{image.id}.*'))


def assert_mended(deployed, cloud, image) -> None:
    """The image is queued, nothing of it is left, and it can be uploaded."""
    images.wait_for(cloud, image, 'queued')
    toolkit.until(
        lambda: not entries(deployed, image), 'the journal has no entry'
    )
    assert not images.files_of(deployed, image)
    images.upload(cloud, image, BODY)
    images.assert_holds(cloud, image, BODY)


@pytest.mark.smoke
@images.framings
@actions
def test_a_killed_upload_leaves_a_queued_image_and_no_data(
    deployed, cloud, image, action, framing
):
    kill_half_sent(deployed, cloud, image, action, framing=framing)
    assert_mended(deployed, cloud, image)


def test_half_a_staged_image_is_never_imported(deployed, cloud, image):
    """Not even at once, by another worker."""
    kill_half_sent(deployed, cloud, image, 'stage')
    response = cloud.image.post(
        f'/images/{image.id}/import',
        json={'method': {'name': 'glance-direct'}},
    )
    assert response.status_code == 409, response.text
    assert_mended(deployed, cloud, image)
