"""Another server, of any kind, on the configuration of a deployment."""

import contextlib
import os
import pathlib
import subprocess
import time
from collections.abc import Iterator

import kills
import openstack
import pytest
import requests
import toolkit

from glance_wsgi import programs


def gunicorn(mercy: int) -> tuple[str, ...]:
    """gunicorn with one process.

    :param mercy: seconds that it may go on when it is told to end
    """
    return (
        'gunicorn',
        '--worker-class=gthread',
        '--threads=4',
        f'--graceful-timeout={mercy}',
        '--bind=127.0.0.1:{port}',
    )


GUNICORN = gunicorn(mercy=3)
WAITRESS = ('waitress-serve', '--listen=127.0.0.1:{port}')


@contextlib.contextmanager
def served(
    deployed: toolkit.Deployed, command: tuple[str, ...], log: pathlib.Path
) -> Iterator[openstack.connection.Connection]:
    """openstacksdk on a deployment, by way of another server.

    :param command: the server, with a place for its port
    """
    etc = deployed.state_dir / 'etc' / 'glance'
    port = toolkit.free_port()
    with started(deployed, command, port, etc, log) as (_, cloud):
        yield cloud


def configure(
    deployed: toolkit.Deployed,
    place: pathlib.Path,
    port: int,
    paste: pathlib.Path,
    more: str = '',
) -> None:
    """Make another node of a deployment, which differs by its name.

    :param place: where its configuration is written
    :param paste: its Paste file
    :param more: settings, after all others
    """
    etc = deployed.state_dir / 'etc' / 'glance'
    config = kills.write_like_glance(
        place / 'glance-api.conf',
        (etc / 'glance-api.conf').read_bytes()
        + (
            '\n[DEFAULT]\n'
            f'worker_self_reference_url = http://127.0.0.1:{port}\n'
            '[paste_deploy]\n'
            f'config_file = {paste}\n'
            f'{more}'
        ).encode(),
    )
    config.chmod(0o644)


@contextlib.contextmanager
def started(
    deployed: toolkit.Deployed,
    command: tuple[str, ...],
    port: int,
    etc: pathlib.Path,
    log: pathlib.Path,
    patience: float = 30,
    asked: str = '/healthcheck',
) -> Iterator[tuple[subprocess.Popen, openstack.connection.Connection]]:
    """Another server's process, and openstacksdk by way of it.

    :param command: the server, with a place for its port
    :param etc: where Glance finds its configuration
    :param patience: seconds in which it ends when it is told to
    :param asked: what shows that it serves
    """
    name, *words = command
    if not (toolkit.BIN / name).exists():
        pytest.skip(f'no {name}: pip install -r test-requirements.txt')
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
                {'OS_GLANCE_CONFIG_DIR': str(etc)},
            ),
            stdout=output,
            stderr=output,
            cwd='/',
            **toolkit.as_user(None if os.geteuid() else programs.SERVICE_USER),
        ) as process,
    ):
        try:
            _wait_until_serving(
                f'http://127.0.0.1:{port}{asked}', process, log
            )
            with openstack.connect(
                load_envvars=False,
                image_endpoint_override=f'http://127.0.0.1:{port}/v2',
                **deployed.account(),
            ) as cloud:
                yield process, cloud
        finally:
            process.terminate()
            process.wait(patience)


def _wait_until_serving(
    url: str, process: subprocess.Popen, log: pathlib.Path
) -> None:
    """Ask the server until it serves; show its log if it does not."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        # A server that still loads the application may accept, and be late.
        with contextlib.suppress(requests.ConnectionError, requests.Timeout):
            if requests.get(url, timeout=5).ok:
                return
        time.sleep(0.1)
    pytest.fail(log.read_text())
