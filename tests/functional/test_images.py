"""The path of image bytes, through the real server and the real clients.

Guards against what web servers do to large bodies: chunks of 1 MiB and more
refused (https://bugs.launchpad.net/bugs/2158974), slow clients cut off
(https://bugs.launchpad.net/bugs/1701088), ``Expect: 100-continue`` left
without an answer, and half an upload taken for an image.
"""

import contextlib
import os
import time

import images
import pytest
import rawhttp
import toolkit
from images import GIB
from images import KIB
from images import MIB

pytestmark = pytest.mark.each_server

STALL = 20  # seconds


@pytest.mark.parametrize('disk_format', ['iso', 'qcow2', 'vmdk'])
def test_a_real_image_comes_back_as_it_was(cloud, tmp_path, disk_format):
    file = images.ISO
    if disk_format != 'iso':
        file = images.converted(file, tmp_path / f'disk.{disk_format}')
    image = images.create(cloud, filename=str(file), disk_format=disk_format)
    try:
        images.assert_holds(cloud, image, file.read_bytes())
    finally:
        cloud.image.delete_image(image)


def test_the_command_takes_the_iso_there_and_back(deployed, cloud):
    digests = images.Digests()
    digests.update(images.ISO.read_bytes())
    assert_the_command_keeps(deployed, cloud, images.ISO, 'iso', digests)


def test_the_command_takes_1_gib_there_and_back(deployed, cloud, tmp_path):
    file = tmp_path / 'random'
    digests = images.Digests()
    with file.open('wb') as output:
        for _ in range(GIB // (16 * MIB)):
            block = os.urandom(16 * MIB)
            output.write(block)
            digests.update(block)
    try:
        assert_the_command_keeps(deployed, cloud, file, 'raw', digests)
    finally:
        file.unlink()


def assert_the_command_keeps(deployed, cloud, file, disk_format, digests):
    """Up and down with ``openstack``; `digests` are those of `file`."""
    image = images.create_by_command(deployed, cloud, file, disk_format)
    try:
        assert image.status == 'active'
        assert image.size == file.stat().st_size
        assert image.hash_value == digests.sha512.hexdigest()
        received = images.Digests()
        images.openstack(
            deployed, 'image', 'save', image.id, sink=received.update
        )
        assert received.sha256.hexdigest() == digests.sha256.hexdigest()
    finally:
        cloud.image.delete_image(image)


@images.framings
@pytest.mark.parametrize(
    ('frame', 'size'),
    [
        pytest.param(1, 5 * KIB, id='1_byte'),
        pytest.param(MIB - 1, 5 * MIB, id='1_mib_less_1'),
        pytest.param(MIB, 5 * MIB, id='1_mib'),
        pytest.param(MIB + 1, 5 * MIB, id='1_mib_and_1'),
        pytest.param(4 * MIB, 9 * MIB, id='4_mib'),
        pytest.param(32 * MIB, 65 * MIB, id='32_mib'),
    ],
)
def test_an_upload_in_frames_keeps_its_digest(
    cloud, image, framing, frame, size
):
    body = images.random_bytes(size)
    images.upload(cloud, image, images.BODIES[framing](body, frame))
    images.assert_holds(cloud, image, body)


@images.framings
def test_an_empty_upload_is_an_empty_image(cloud, image, framing):
    images.upload(cloud, image, images.BODIES[framing](b'', 1))
    images.assert_holds(cloud, image, b'')


@images.framings
def test_curl_is_told_to_continue_and_its_upload_is_right(
    cloud, image, tmp_path, framing
):
    body = images.random_bytes(3 * MIB)
    file = tmp_path / 'random'
    file.write_bytes(body)
    patience = ('--expect100-timeout', '30')
    result = images.upload_by_curl(cloud, image, file, framing, *patience)
    assert '< HTTP/1.1 100 Continue' in result.stderr
    images.assert_holds(cloud, image, body)


@images.framings
def test_a_client_that_waits_for_100_continue_gets_it(cloud, image, framing):
    body = images.random_bytes(3 * MIB)
    headers, sent = rawhttp.framed(body, framing)
    headers['Expect'] = '100-continue'
    with contextlib.closing(
        rawhttp.Client.upload(cloud, image, headers)
    ) as client:
        assert client.head() == 'HTTP/1.1 100 Continue'
        client.send(sent)
        assert client.getresponse().status == 204
    images.assert_holds(cloud, image, body)


@images.framings
def test_an_expectation_without_a_valid_token_is_refused(
    cloud, image, framing
):
    headers, sent = rawhttp.framed(images.random_bytes(MIB), framing)
    headers |= {'Expect': '100-continue', 'X-Auth-Token': 'none'}
    with contextlib.closing(
        rawhttp.Client.upload(cloud, image, headers)
    ) as client:
        answer = client.head()
        if toolkit.SERVER == 'mod_wsgi':
            # Apache asks for the body before anybody has looked at the token;
            # the other servers refuse the request without it.
            assert answer == 'HTTP/1.1 100 Continue'
            client.send(sent)
            answer = client.head()
        assert answer.startswith('HTTP/1.1 401 ')
    assert cloud.image.get_image(image.id).status == 'queued'


@pytest.fixture(scope='module')
def ranged(cloud):
    """An active image, and its bytes."""
    body = images.random_bytes(3 * MIB)
    image = images.create(cloud)
    images.upload(cloud, image, body)
    yield image, body
    cloud.image.delete_image(image)


LAST = 3 * MIB - 1


@pytest.mark.parametrize(
    ('asked', 'first', 'last'),
    [
        pytest.param('0-99', 0, 99, id='the_first_bytes'),
        pytest.param('0-0', 0, 0, id='one_byte'),
        pytest.param('65000-2000000', 65000, 2000000, id='the_middle'),
        pytest.param('-1000', LAST - 999, LAST, id='the_last_bytes'),
        pytest.param('-9000000', 0, LAST, id='more_last_bytes_than_it_has'),
        pytest.param('1000000-', 1000000, LAST, id='an_open_end'),
        pytest.param(f'0-{LAST}', 0, LAST, id='the_whole'),
        pytest.param('3000000-9000000', 3000000, LAST, id='past_the_end'),
    ],
)
def test_a_range_is_answered_with_just_that(cloud, ranged, asked, first, last):
    image, body = ranged
    response = images.download(
        cloud, image, headers={'Range': f'bytes={asked}'}
    )
    assert response.status_code == 206
    expected = f'bytes {first}-{last}/{len(body)}'
    assert response.headers['Content-Range'] == expected
    assert response.content == body[first : last + 1]


@pytest.mark.parametrize(
    ('asked', 'status'),
    [
        pytest.param(f'{LAST + 1}-', 416, id='begins_after_the_end'),
        pytest.param('9-1', 416, id='ends_before_it_begins'),
        # Glance knows one range at a time.
        pytest.param('0-9,20-29', 400, id='is_two'),
    ],
)
def test_a_range_is_refused_when_it(cloud, ranged, asked, status):
    image, _ = ranged
    response = images.download(
        cloud, image, headers={'Range': f'bytes={asked}'}
    )
    assert response.status_code == status, response.headers
    assert len(response.content) < KIB


def test_head_of_the_data_is_refused_and_the_next_request_is_answered(
    cloud, ranged
):
    image, _ = ranged
    response = cloud.image.head(f'/images/{image.id}/file')
    assert response.status_code == 405
    assert not response.content
    assert cloud.image.get_image(image.id).status == 'active'


def test_clients_that_stall_in_the_middle_can_go_on(cloud, ranged):
    """Uploads of both framings and a download, at once: 20 s, once."""
    body = images.random_bytes(40 * MIB)
    with contextlib.ExitStack() as stack:
        uploads = []
        for framing in ('fixed-length', 'chunked'):
            image = images.create(cloud)
            stack.callback(cloud.image.delete_image, image)
            headers, sent = rawhttp.framed(body, framing)
            client = rawhttp.Client.upload(cloud, image, headers)
            stack.callback(client.close)
            # The middle of a chunk, too.
            middle = len(sent) // 2 + KIB
            client.send(sent[:middle])
            uploads.append((image, client, sent[middle:]))
        source = images.create(cloud)
        stack.callback(cloud.image.delete_image, source)
        images.upload(cloud, source, body)
        # A small buffer, or the kernel reads on in place of the client.
        reader = rawhttp.Client(
            cloud, 'GET', f'/images/{source.id}/file', receive_buffer=64 * KIB
        )
        stack.callback(reader.close)
        response = reader.getresponse()
        read = response.read(10 * MIB)

        time.sleep(STALL)

        assert images.sha256(read + response.read()) == images.sha256(body)
        for image, client, rest in uploads:
            client.send(rest)
            assert client.getresponse().status == 204
            images.assert_holds(cloud, image, body)


@images.framings
@pytest.mark.parametrize('way', ['close', 'reset'])
@pytest.mark.parametrize(
    ('action', 'busy'),
    [('file', 'saving'), ('stage', 'uploading')],
    ids=['upload', 'stage'],
)
def test_a_client_that_disconnects_leaves_a_queued_image_and_no_data(
    deployed, cloud, image, framing, way, action, busy
):
    body = images.random_bytes(9 * MIB)
    headers, sent = rawhttp.framed(body, framing)
    client = rawhttp.Client.upload(cloud, image, headers, action)
    client.send(sent[: len(sent) // 2])
    images.wait_for(cloud, image, busy)
    getattr(client, way)()
    images.wait_for(cloud, image, 'queued')
    toolkit.until(
        lambda: not images.files_of(deployed, image), 'no data is left'
    )
    images.upload(cloud, image, body)
    images.assert_holds(cloud, image, body)


def test_a_location_of_the_http_store_becomes_the_image(cloud, image, web):
    body = images.random_bytes(3 * MIB)
    web.directory.joinpath('image').write_bytes(body)
    url = f'{web.url}/image'
    response = cloud.image.post(
        f'/images/{image.id}/locations', json={'url': url}
    )
    assert response.status_code == 202, response.text
    images.wait_for(cloud, image, 'active')
    # Glance computes the hash in the background.
    toolkit.until(
        lambda: cloud.image.get_image(image.id).hash_value, 'it has a hash'
    )
    images.assert_holds(cloud, image, body)
