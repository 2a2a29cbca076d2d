"""Glance 30 becomes Glance 33 by the playbook of the job, for real."""

import pathlib
import shutil
import socket
import subprocess
import tempfile

import nodes
import pytest


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


@pytest.fixture
def place():
    """Where both series are installed, which the service user can enter."""
    path = pathlib.Path(
        tempfile.mkdtemp(prefix='glance-wsgi-upgrade-', dir='/var/tmp')
    )
    path.chmod(0o755)
    yield path
    for program in sorted(path.glob('*/bin/glance-wsgi'), reverse=True)[:1]:
        subprocess.run(
            [program, 'down', '--timeout=0', f'--state-dir={path}/state']
        )
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.timeout(3000)
def test_an_image_of_glance_30_is_the_same_in_glance_33(node, place):
    node.source = nodes.TOP
    made = node.run(
        'upgrade',
        place=str(place),
        listen=f'127.0.0.1:{free_port()}',
        keystone_listen=f'127.0.0.1:{free_port()}',
        glance_wsgi_old_series='2025.1',
        glance_wsgi_new_series='2026.2',
    )
    assert made.returncode == 0, made.stdout + made.stderr
