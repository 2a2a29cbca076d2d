"""A file store with several directories: uploads, and their downloads.

Guards against images that are handed off from the first directory alone, or
from one that is no longer the store's best.
"""

import answers
import beside
import images
import pytest
import slow
import toolkit

pytestmark = pytest.mark.each_server

# Unless its default is taken away there are two answers to where data is, and
# the store takes none.
SETTINGS = """
[DEFAULT]
enabled_backends = several:file
[glance_store]
default_backend = several
[several]
filesystem_store_datadir =
filesystem_store_datadirs = {best}:200
filesystem_store_datadirs = {other}:100
"""

RANGES = ({}, {'Range': 'bytes=7-'}, {'Range': 'bytes=3-9'})


@pytest.fixture
def directories(workspace):
    """Two of them, in which the service user may write."""
    return [toolkit.directory(workspace / name) for name in ('one', 'two')]


def test_each_directory_of_a_store_is_handed_off_from(
    workspace, directories, tmp_path
):
    one, two = directories
    data = images.random_bytes(slow.LARGE)

    def settings(best, other):
        return toolkit.LOCAL_SETTINGS + SETTINGS.format(best=best, other=other)

    with toolkit.serving(
        workspace / 'several', settings=settings(one, two)
    ) as deployed:

        def placed(best, other):
            with deployed.connect() as cloud:
                image = images.create(cloud)
                images.upload(cloud, image, data)
            assert (best / image.id).read_bytes() == data
            assert not (other / image.id).exists()
            return image, best / image.id

        stored = [placed(one, two)]
        deployed.write_own_settings(settings(two, one))
        deployed.up()
        stored.append(placed(two, one))
        with (
            deployed.connect() as cloud,
            beside.served(deployed, beside.GUNICORN, tmp_path / 'log') as own,
        ):
            for image, file in stored:
                for part in RANGES:
                    answered = answers.download(cloud, image, part)
                    assert answered == answers.download(own, image, part)
                assert answers.download(cloud, image).digest == images.sha256(
                    data
                )
                assert slow.is_handed_off(deployed, cloud, image, file)
                cloud.image.delete_image(image)
                assert not file.exists()
