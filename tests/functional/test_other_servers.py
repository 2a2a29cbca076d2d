"""The entry module under other servers: any WSGI server must do."""

import contextlib
import os
import subprocess
import time

import images
import openstack
import pytest
import requests
import toolkit

from glance_wsgi import programs

COMMANDS = {
    'gunicorn': (
        'gunicorn',
        '--worker-class=gthread',
        '--threads=4',
        '--graceful-timeout=3',
        '--bind=127.0.0.1:{port}',
    ),
    'waitress': ('waitress-serve', '--listen=127.0.0.1:{port}'),
}


@pytest.fixture(scope='module', params=COMMANDS)
def served(request, deployed, tmp_path_factory):
    """openstacksdk on the shared deployment, by way of another server."""
    port = toolkit.free_port()
    name, *words = COMMANDS[request.param]
    if not (toolkit.BIN / name).exists():
        pytest.skip(f'no {name}: pip install -r test-requirements.txt')
    log = tmp_path_factory.mktemp(request.param) / 'log'
    with (
        log.open('w') as output,
        subprocess.Popen(
            [
                toolkit.BIN / name,
                *(word.format(port=port) for word in words),
                'glance_wsgi.api:application',
            ],
            env=programs.environment(
                deployed.state_dir / 'run',
                {'OS_GLANCE_CONFIG_DIR': f'{deployed.state_dir}/etc/glance'},
            ),
            stdout=output,
            stderr=output,
            cwd='/',
            **toolkit.as_user(None if os.geteuid() else programs.SERVICE_USER),
        ) as process,
    ):
        try:
            wait_until_healthy(f'http://127.0.0.1:{port}', process, log)
            with openstack.connect(
                load_envvars=False,
                image_endpoint_override=f'http://127.0.0.1:{port}/v2',
                **deployed.clouds,
            ) as cloud:
                yield cloud
        finally:
            process.terminate()
            process.wait(30)


def wait_until_healthy(url, process, log) -> None:
    """Ask the server until it serves; show its log if it does not."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        # A server that still loads the application may accept, and be late.
        with contextlib.suppress(requests.ConnectionError, requests.Timeout):
            if requests.get(f'{url}/healthcheck', timeout=5).ok:
                return
        time.sleep(0.1)
    pytest.fail(log.read_text())


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
