"""Downloads that the web server sends, compared with Glance's own answers.

Beside each deployment there is a second server on the same configuration, of
a kind that sends nothing by itself: what it answers is Glance's own. Guards
against other headers, ranges that are cut otherwise, bytes of anything but
the image, and slow clients that stop the API.
"""

import os
import pathlib
import shutil

import answers
import images
import pytest
import toolkit
from images import MIB

from glance_wsgi.data import tickets

pytestmark = pytest.mark.each_server

SIZE = 3 * MIB + 1
LAST = SIZE - 1


@pytest.fixture(scope='module')
def data():
    return images.random_bytes(SIZE)


@pytest.fixture(scope='module')
def whole(cloud, data):
    """An image that nobody changes."""
    image = images.create(cloud)
    images.upload(cloud, image, data)
    yield image
    cloud.image.delete_image(image)


@pytest.fixture
def loaded(cloud, image, data):
    """An image that a test may spoil."""
    images.upload(cloud, image, data)
    return image


def stored(deployed, image) -> pathlib.Path:
    """The file of its data."""
    (file,) = images.files_of(deployed, image)
    return file


def test_a_download_is_handed_off(deployed, cloud, whole, data):
    answer = answers.download(cloud, whole)
    assert answer.digest == images.sha256(data)
    if toolkit.SERVER != 'uwsgi':
        assert images.handed_off(stored(deployed, whole))


HEADERS = {
    'nothing': {},
    'start': {'Range': 'bytes=0-9'},
    'middle': {'Range': 'bytes=1000-200000'},
    'to_the_end': {'Range': 'bytes=1000-'},
    'from_the_first_byte': {'Range': 'bytes=0-'},
    'all_of_it': {'Range': f'bytes=0-{LAST}'},
    'last_byte': {'Range': f'bytes={LAST}-{LAST}'},
    'end_behind_the_end': {'Range': f'bytes=7-{SIZE * 2}'},
    'suffix': {'Range': 'bytes=-10'},
    'suffix_of_all': {'Range': f'bytes=-{SIZE}'},
    'suffix_of_more_than_all': {'Range': f'bytes=-{SIZE * 2}'},
    'suffix_of_nothing': {'Range': 'bytes=-0'},
    'behind_the_end': {'Range': f'bytes={SIZE}-'},
    'far_behind_the_end': {'Range': f'bytes={SIZE * 2}-{SIZE * 3}'},
    'backwards': {'Range': 'bytes=9-1'},
    'several': {'Range': 'bytes=0-1,5-6'},
    'zeros': {'Range': 'bytes=0003-0007'},
    'blanks': {'Range': 'bytes = 3 - 7'},
    'blanks_inside': {'Range': 'bytes=3 -7'},
    'capitals': {'Range': 'BYTES=3-7'},
    'no_numbers': {'Range': 'bytes=a-b'},
    'nothing_at_all': {'Range': 'bytes=-'},
    'other_unit': {'Range': 'pages=1-2'},
    'no_unit': {'Range': '1-2'},
    'empty': {'Range': ''},
    'huge': {'Range': f'bytes={10**30}-{10**31}'},
    'content_range': {'Content-Range': 'bytes 3-7/*'},
    'content_range_with_size': {'Content-Range': f'bytes 3-7/{SIZE}'},
    'content_range_of_all': {'Content-Range': f'bytes 0-{LAST}/{SIZE}'},
    'content_range_behind': {'Content-Range': f'bytes {SIZE}-{SIZE + 3}/*'},
    'content_range_malformed': {'Content-Range': 'bytes 3/7'},
    'both_ranges': {
        'Range': 'bytes=3-7',
        'Content-Range': 'bytes 30-70/*',
    },
    'if_none_match': {'If-None-Match': '*'},
    'if_match': {'If-Match': '"something"'},
    'if_modified_since': {
        'If-Modified-Since': 'Fri, 01 Jan 2100 00:00:00 GMT'
    },
    'if_unmodified_since': {
        'If-Unmodified-Since': 'Sat, 01 Jan 2000 00:00:00 GMT'
    },
    'if_range': {'Range': 'bytes=3-7', 'If-Range': '"something"'},
    'request_range': {'Request-Range': 'bytes=3-7'},
    'no_token': {'X-Auth-Token': ''},
    'wrong_token': {'X-Auth-Token': 'nonsense'},
    'gzip': {'Accept-Encoding': 'gzip, deflate'},
    'forged_hand_off': {'Handoff': 'same-user /', 'X-Sendfile': '/etc/passwd'},
}


@pytest.mark.parametrize('name', HEADERS)
def test_an_answer_is_glances_own(cloud, own, whole, name):
    expected = answers.download(own, whole, HEADERS[name])
    assert answers.download(cloud, whole, HEADERS[name]) == expected


@pytest.mark.parametrize('method', ['HEAD', 'POST', 'OPTIONS'])
def test_another_method_is_answered_as_glance_does(cloud, own, whole, method):
    expected = answers.download(own, whole, method=method)
    assert answers.download(cloud, whole, method=method) == expected


@pytest.mark.parametrize(
    'path', ['{}/file/', '{}/file?prefer=cheap', '{}/file?prefer=none', '{}']
)
def test_another_path_is_answered_as_glance_does(cloud, own, whole, path):
    path = f'/images/{path.format(whole.id)}'
    assert answers.ask(cloud, path) == answers.ask(own, path)


def assert_alike(cloud, own, image, status: int) -> answers.Answer:
    """Both answer the same; what they do."""
    expected = answers.download(own, image)
    assert answers.download(cloud, image) == expected
    for headers in ({'Range': 'bytes=5-'}, {'Range': 'bytes=2-4'}):
        assert answers.download(cloud, image, headers) == answers.download(
            own, image, headers
        )
    assert expected.status == status
    return expected


@pytest.mark.parametrize('size', [0, 1, 65536])
def test_images_of_every_size_come_as_from_glance(cloud, own, image, size):
    images.upload(cloud, image, images.random_bytes(size))
    assert assert_alike(cloud, own, image, 200).size == size


def test_an_image_without_data_is_answered_as_glance_does(cloud, own, image):
    assert_alike(cloud, own, image, 204)


def test_an_answer_has_no_header_that_is_not_glances(
    deployed, cloud, own, image
):
    images.upload(cloud, image, b'some data')
    answer = assert_alike(cloud, own, image, 200)
    assert answer.header('content-md5') is not None
    assert answer.header('etag') is None
    assert answer.header('last-modified') is None
    assert answer.header('x-sendfile') is None


def test_a_deactivated_image_is_answered_as_glance_does(cloud, own, loaded):
    cloud.image.deactivate_image(loaded)
    # An administrator may.
    assert_alike(cloud, own, loaded, 200)
    cloud.image.reactivate_image(loaded)
    assert_alike(cloud, own, loaded, 200)


def test_a_hidden_image_is_answered_as_glance_does(cloud, own, loaded):
    cloud.image.update_image(loaded, is_hidden=True)
    assert_alike(cloud, own, loaded, 200)


def test_a_deleted_image_is_answered_as_glance_does(cloud, own, loaded):
    cloud.image.delete_image(loaded)
    assert_alike(cloud, own, loaded, 404)


def test_an_image_whose_file_is_gone_is_answered_as_glance_does(
    deployed, cloud, own, loaded
):
    stored(deployed, loaded).unlink()
    assert_alike(cloud, own, loaded, 204)


@pytest.mark.parametrize('size', [0, 3, SIZE - 1])
def test_a_truncated_file_is_answered_as_glance_does(
    deployed, cloud, own, loaded, size
):
    os.truncate(stored(deployed, loaded), size)
    assert not assert_alike(cloud, own, loaded, 200).whole


def test_a_link_in_the_store_is_not_handed_off(
    deployed, cloud, own, loaded, tmp_path
):
    file = stored(deployed, loaded)
    outside = deployed.state_dir / 'outside'
    shutil.move(file, outside)
    file.symlink_to(outside)
    try:
        # What an operator has moved, Glance still reads.
        assert_alike(cloud, own, loaded, 200)
        assert not any(
            ticket.samefile(outside)
            for ticket in file.parent.glob(f'{tickets.DIRECTORY}/*')
        )
    finally:
        outside.unlink()


def test_no_request_leads_to_a_ticket(deployed, cloud, whole):
    data = answers.download(cloud, whole)
    file = stored(deployed, whole)
    for ticket in file.parent.glob(f'{tickets.DIRECTORY}/*'):
        for path in (str(ticket), f'/{tickets.DIRECTORY}/{ticket.name}'):
            for way in (f'/..{path}', f'/../..{path}', path):
                answer = answers.ask(cloud, way, {'X-Sendfile': str(ticket)})
                assert answer.status in (300, 400, 403, 404)
                assert answer.digest != data.digest
