"""Tickets: other names of open files, which are valid for a while."""

import os
import stat
import time

import pytest

from glance_wsgi.data import regions
from glance_wsgi.data import tickets

DATA = b'an image'


@pytest.fixture
def image(tmp_path):
    path = tmp_path / 'store' / 'image'
    path.parent.mkdir()
    path.write_bytes(DATA)
    return path


@pytest.fixture
def region(image):
    with image.open('rb') as file:
        return regions.Region.of(file, None)


def test_a_ticket_is_the_very_file_that_was_opened(region):
    ticket = tickets.Tickets().make(region)
    assert ticket.samefile(region.path)
    assert ticket.read_bytes() == DATA


def test_a_ticket_outlives_what_happens_to_the_first_name(region, image):
    ticket = tickets.Tickets().make(region)
    image.unlink()
    image.write_bytes(b'of another')
    assert ticket.read_bytes() == DATA


def test_a_file_that_is_gone_has_no_ticket(region, image):
    image.unlink()
    image.write_bytes(b'of another')
    assert tickets.Tickets().make(region) is None
    assert not list((image.parent / tickets.DIRECTORY).iterdir())


def test_no_two_tickets_have_the_same_name(region):
    maker = tickets.Tickets()
    assert maker.make(region) != maker.make(region)


def wait_until(happened):
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_ticket_is_removed_when_its_time_is_over(region):
    ticket = tickets.Tickets(lifetime=0).make(region)
    wait_until(lambda: not ticket.exists())


def test_what_a_dead_process_has_left_is_removed_when_its_time_is_over(
    region, image
):
    directory = image.parent / tickets.DIRECTORY
    directory.mkdir()
    now = int(time.time())
    names = ('1000000000-x', f'{now - 59}-x', f'{now - 10}-x', 'something')
    old, ending, young, foreign = paths = [directory / name for name in names]
    for path in paths:
        path.touch()
    ticket = tickets.Tickets().make(region)
    wait_until(lambda: not old.exists() and not ending.exists())
    assert set(directory.iterdir()) == {young, foreign, ticket}


def test_what_is_left_is_removed_where_nothing_is_handed_off(image):
    directory = image.parent / tickets.DIRECTORY
    left, foreign = directory / f'{time.time():.0f}-x', directory / 'something'
    maker = tickets.Tickets(lifetime=0)
    maker.take_over(image.parent)
    assert not directory.exists()
    directory.mkdir()
    for path in (left, foreign):
        path.touch()
    maker.take_over(image.parent)
    wait_until(lambda: not left.exists())
    assert foreign.exists()


def test_tickets_are_made_again_when_their_directory_was_removed(
    region, image
):
    maker = tickets.Tickets()
    maker.make(region).unlink()
    (image.parent / tickets.DIRECTORY).rmdir()
    assert maker.make(region) is None
    assert maker.make(region).read_bytes() == DATA


def test_others_may_enter_the_directory_but_see_no_name_in_it(region):
    umask = os.umask(0o077)
    try:
        ticket = tickets.Tickets().make(region)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(ticket.parent.stat().st_mode) == 0o711


def test_a_directory_that_cannot_be_written_gives_no_ticket(region, image):
    (image.parent / tickets.DIRECTORY).write_text('a file')
    assert tickets.Tickets().make(region) is None


OURS = 54321  # a group that no file has


@pytest.mark.parametrize(
    ('mode', 'group', 'readable'),
    [
        (0o600, False, False),
        (0o640, False, False),
        (0o604, False, True),
        (0o640, True, True),
        (0o604, True, False),
    ],
)
def test_another_user_reads_by_its_group_or_as_everybody(
    region, image, mode, group, readable
):
    image.chmod(mode)
    ticket = tickets.Tickets().make(region)
    gid = image.stat().st_gid if group else OURS
    # pytest's directory is closed to others, and not what this is about.
    assert bool(tickets._rights(ticket.stat(), gid) & 4) == readable


def test_no_file_is_readable_in_a_closed_directory(region, image):
    image.chmod(0o644)
    ticket = tickets.Tickets().make(region)
    image.parent.chmod(0o700)
    assert not tickets.may_read(ticket, OURS)
