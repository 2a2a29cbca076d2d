"""The entry module under other servers: any WSGI server must do."""

import beside
import images
import pytest

COMMANDS = {'gunicorn': beside.GUNICORN, 'waitress': beside.WAITRESS}


@pytest.fixture(scope='module', params=COMMANDS)
def served(request, deployed, tmp_path_factory):
    """openstacksdk on the shared deployment, by way of another server."""
    log = tmp_path_factory.mktemp(request.param) / 'log'
    with beside.served(deployed, COMMANDS[request.param], log) as cloud:
        yield cloud


@images.framings
def test_an_image_comes_back_as_it_was_sent(served, deployed, framing):
    data = images.random_bytes(3 * images.MIB + 1)
    body = images.BODIES[framing](data, images.MIB)
    assert served.image.get_endpoint() != deployed.endpoint
    image = images.create(served)
    images.upload(served, image, body)
    images.assert_holds(served, image, data)
    served.image.delete_image(image)
    assert served.image.find_image(image.id) is None
