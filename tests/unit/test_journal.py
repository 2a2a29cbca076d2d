"""The journal, with real locks of real processes."""

import contextlib
import multiprocessing
import os
import signal
import threading

import pytest

from glance_wsgi.data import journal

IMAGE = '11111111-2222-3333-4444-555555555555'
OTHER = '99999999-2222-3333-4444-555555555555'

FORK = multiprocessing.get_context('fork')


@pytest.fixture
def kept(tmp_path):
    return journal.Journal(tmp_path / 'locks' / 'uploads')


@pytest.fixture
def mended():
    """What was mended; its `append` is not what a journal calls."""
    return []


@pytest.fixture
def mend(mended):
    return lambda image_id, begun: mended.append(image_id)


def receive(kept, image_id, ready):
    """An upload that never ends."""
    with kept.entry(image_id):
        ready.set()
        signal.pause()


@contextlib.contextmanager
def uploading(kept, image_id=IMAGE):
    """A process that has an entry; killed at the end."""
    ready = FORK.Event()
    process = FORK.Process(target=receive, args=(kept, image_id, ready))
    process.start()
    try:
        assert ready.wait(30)
        yield process
    finally:
        process.kill()
        process.join()


def entries(kept):
    return [path for path in kept.directory.iterdir() if path.name[0] != '.']


def test_an_upload_that_ends_leaves_no_entry(kept, mended, mend):
    with kept.entry(IMAGE) as path:
        assert entries(kept) == [path]
    assert entries(kept) == []
    assert kept.settle(IMAGE, mend)
    assert mended == []


def test_an_upload_that_fails_leaves_no_entry(kept):
    with pytest.raises(ZeroDivisionError), kept.entry(IMAGE):
        raise ZeroDivisionError
    assert entries(kept) == []


def test_an_upload_whose_process_was_killed_is_mended_once(kept, mended, mend):
    with uploading(kept):
        pass
    assert kept.images() == [IMAGE]
    assert kept.settle(IMAGE, mend)
    assert kept.settle(IMAGE, mend)
    assert mended == [IMAGE]
    assert entries(kept) == []


def test_mending_is_told_when_the_first_of_the_dead_began(kept):
    for seconds in (2000, 1000, 3000):
        with uploading(kept):
            (new,) = (
                path for path in entries(kept) if path.stat().st_mtime > 10000
            )
            os.utime(new, (seconds, seconds))
    began = []
    assert kept.settle(IMAGE, lambda image_id, begun: began.append(begun))
    assert began == [1000]


def test_a_live_upload_is_left_alone(kept, mended, mend):
    with uploading(kept):
        assert not kept.settle(IMAGE, mend)
        assert len(entries(kept)) == 1
    assert mended == []


def test_a_dead_upload_waits_while_another_to_its_image_lives(
    kept, mended, mend
):
    with uploading(kept):
        with uploading(kept):
            pass
        assert not kept.settle(IMAGE, mend)
        assert mended == []
        assert len(entries(kept)) == 2
    assert kept.settle(IMAGE, mend)
    assert mended == [IMAGE]
    assert entries(kept) == []


def test_an_upload_settles_before_itself(kept, mended, mend):
    with uploading(kept):
        pass
    with kept.entry(IMAGE) as own:
        assert kept.settle(IMAGE, mend, own)
        assert mended == [IMAGE]
        assert entries(kept) == [own]


def test_an_upload_that_ends_while_others_look_is_not_taken_for_dead(
    kept, mended, mend, monkeypatch
):
    """Its entry was found, but is gone by the time its lock can be had."""
    upload = contextlib.ExitStack()
    upload.enter_context(kept.entry(IMAGE))
    lock = journal._lock

    def lock_later(descriptor):
        upload.close()
        return lock(descriptor)

    monkeypatch.setattr(journal, '_lock', lock_later)
    assert kept.settle(IMAGE, mend)
    assert mended == []


def test_an_image_is_not_mended_for_the_death_of_another(kept, mended, mend):
    with uploading(kept, OTHER):
        pass
    assert kept.settle(IMAGE, mend)
    assert mended == []
    assert kept.images() == [OTHER]


def test_an_error_leaves_the_entry_for_the_next_time(kept, mended, mend):
    def fail(image_id, begun):
        raise ZeroDivisionError

    with uploading(kept):
        pass
    with pytest.raises(ZeroDivisionError):
        kept.settle(IMAGE, fail)
    assert len(entries(kept)) == 1
    assert kept.settle(IMAGE, mend)
    assert mended == [IMAGE]


def test_who_settles_at_the_same_time_returns_when_it_is_done(
    kept, mended, mend
):
    """So an upload that comes after it can't be met by the mending."""
    begun, go = threading.Event(), threading.Event()

    def slowly(image_id, when):
        begun.set()
        assert go.wait(30)
        mended.append('first')

    def second():
        kept.settle(IMAGE, mend)
        mended.append('second')

    with uploading(kept):
        pass
    threads = [
        threading.Thread(target=kept.settle, args=(IMAGE, slowly)),
        threading.Thread(target=second),
    ]
    threads[0].start()
    assert begun.wait(30)
    threads[1].start()
    threads[1].join(0.2)
    assert mended == []
    go.set()
    for thread in threads:
        thread.join(30)
    assert mended == ['first', 'second']


def test_a_child_that_is_forked_meanwhile_keeps_nothing_locked(
    kept, mended, mend
):
    """As by a server that loads the application and forks its workers."""
    child = FORK.Process(target=signal.pause)
    with uploading(kept):
        pass
    assert kept.settle(IMAGE, lambda image_id, begun: child.start())
    try:
        with uploading(kept):
            pass
        second = threading.Thread(
            target=kept.settle, args=(IMAGE, mend), daemon=True
        )
        second.start()
        second.join(10)
        assert mended == [IMAGE]
    finally:
        child.kill()
        child.join()


@pytest.mark.parametrize(
    'name',
    [
        IMAGE,
        f'{IMAGE}.',
        f'{IMAGE}.{"0" * 31}',
        f'x{IMAGE}.{"0" * 32}',
        f'..{IMAGE}.{"0" * 32}',
        f'image.{"0" * 32}',
        'README',
    ],
)
def test_what_is_no_entry_is_left_alone(kept, name):
    (kept.directory / name).touch()
    assert kept.images() == []


def test_a_link_in_place_of_an_entry_is_not_followed(kept, tmp_path, mend):
    target = tmp_path / 'target'
    target.touch()
    (kept.directory / f'{IMAGE}.{"0" * 32}').symlink_to(target)
    with pytest.raises(OSError):
        kept.settle(IMAGE, mend)
    assert target.exists()


def test_a_directory_that_can_not_be_made_is_an_error(tmp_path):
    (tmp_path / 'locks').touch()
    with pytest.raises(OSError):
        journal.Journal(tmp_path / 'locks' / 'uploads')


def test_uploads_and_settlers_at_random_lose_no_entry(kept):
    """Entries that are half born are taken for dead ones; they come again."""
    done = threading.Event()

    def settle():
        while not done.is_set():
            kept.settle(IMAGE, lambda image_id, begun: None)

    settlers = [threading.Thread(target=settle) for _ in range(2)]
    for thread in settlers:
        thread.start()
    try:
        for _ in range(300):
            with kept.entry(IMAGE) as path:
                assert path.exists()
                kept.settle(IMAGE, lambda image_id, begun: None, path)
                assert path.exists()
    finally:
        done.set()
        for thread in settlers:
            thread.join()
    assert entries(kept) == []
