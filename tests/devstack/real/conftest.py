"""Fixtures: one machine for all, and devstack on it for each server."""

import pathlib
import shutil
import sys
import tempfile

import pytest

SYSTEMD = pathlib.Path(__file__).parents[2] / 'systemd'
sys.path.insert(0, str(SYSTEMD))

import stacked  # noqa: E402


@pytest.fixture(scope='session')
def stack(request):
    """A machine without devstack; its logs are kept if a test fails."""
    if why := stacked.obstacle():
        pytest.skip(why)
    place = pathlib.Path(
        tempfile.mkdtemp(prefix='glance-wsgi-devstack-', dir='/var/tmp')
    )
    place.chmod(0o755)  # it is the root of what the machine's users may enter
    made = stacked.Stack(place)
    try:
        made.prepare()
        made.before = made.left_over()
        yield made
    finally:
        made.remove()
    if not request.session.testsfailed:
        shutil.rmtree(place)


@pytest.fixture(scope='module', params=stacked.VARIANTS, ids=str)
def variant(request, stack):
    """What stack.sh has been asked for, and has ended well with."""
    stack.configure(request.param)
    stack('./stack.sh', stacked.STACK).check()
    return request.param
