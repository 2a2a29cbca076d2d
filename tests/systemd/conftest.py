"""Fixtures: machines that have been prepared once, a moment after a boot."""

import pathlib
import shutil
import tempfile

import machine
import pytest


@pytest.fixture(scope='session')
def workspace():
    """Where the files of all machines are."""
    if why := machine.obstacle():
        pytest.skip(why)
    path = pathlib.Path(
        tempfile.mkdtemp(prefix='glance-wsgi-systemd-', dir='/var/tmp')
    )
    path.chmod(0o755)  # it is the root of what the machines' users may enter
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope='session')
def prepared(workspace):
    """The place of a machine on which "up" has been run, then "down"."""
    made = machine.Machine(workspace / 'prepared')
    try:
        made.boot()
        made.glance_wsgi('up')
        made.glance_wsgi('down')
        made.shut_down()
        yield made.place
    finally:
        made.remove()


@pytest.fixture(scope='module')
def fresh(workspace, prepared, request):
    """A machine with a deployment that has been stopped, for one module."""
    made = machine.Machine(workspace / request.module.__name__, prepared)
    try:
        made.boot()
        yield made
    finally:
        made.remove()
