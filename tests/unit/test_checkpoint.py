"""Changed files that are put back: bytes, rights, owner and times.

A kill is met by not calling anything afterwards: a later command finds the
directory as the killed one has left it.
"""

import contextlib
import errno
import os
import subprocess

import pytest

from glance_wsgi import checkpoint
from glance_wsgi import state
from glance_wsgi.checkpoint import Checkpoint
from glance_wsgi.render import File

ROOT = os.geteuid() == 0


class Text(File):
    """A file of a text instead of a template."""

    def text(self):
        return self.variables['text']


def file(path, text='new', mode=0o644):
    return Text(path, 'x', {'text': text}, state.Owner.myself(), mode)


def facts(directory):
    """Everything that can be seen of the files in a directory."""
    found = {}
    for path in sorted(directory.rglob('*')):
        seen = path.lstat()
        link = path.is_symlink()
        found[path.name] = (
            seen.st_mode,
            seen.st_uid,
            seen.st_gid,
            None if link else seen.st_mtime_ns,
            os.readlink(path) if link else path.read_bytes(),
        )
    return found


@pytest.fixture
def place(tmp_path):
    """A directory with one file of each kind in it."""
    made = tmp_path / 'etc'
    made.mkdir()
    (made / 'file').write_bytes(b'old\r\n\xff')
    (made / 'file').chmod(0o640)
    os.utime(made / 'file', ns=(10**18 + 1, 10**18 + 2))
    (made / 'link').symlink_to('file')
    (made / 'dangling').symlink_to('/nowhere')
    return made


@pytest.fixture
def kept(tmp_path):
    """Where the checkpoint is."""
    return tmp_path / 'kept'


def overwrite(made, place):
    # The file that is there has bytes that are no text.
    made.keep(place / 'file')
    (place / 'file').unlink()
    state.write_file(place / 'file', 'new', state.Owner.myself(), 0o600)


CHANGES = {
    'a file is overwritten': overwrite,
    'a file is made': lambda made, place: made.write(file(place / 'new')),
    'a file is removed': lambda made, place: made.remove(place / 'file'),
    'a file becomes a link': lambda made, place: made.link(
        place / 'file', 'elsewhere'
    ),
    'a link is made': lambda made, place: made.link(place / 'new', 'x'),
    'a link leads elsewhere': lambda made, place: made.link(
        place / 'link', 'x'
    ),
    'a link becomes a file': lambda made, place: made.write(
        file(place / 'link')
    ),
    'a link is removed': lambda made, place: made.remove(place / 'link'),
    'a link to nothing is removed': lambda made, place: made.remove(
        place / 'dangling'
    ),
}


@pytest.mark.parametrize('change', CHANGES.values(), ids=CHANGES)
def test_a_change_is_put_back_to_the_last_bit(place, kept, change):
    before = facts(place)
    made = Checkpoint(kept)
    change(made, place)
    assert facts(place) != before
    made.restore()
    assert facts(place) == before
    assert not kept.exists()


def test_all_changes_are_put_back_together(place, kept):
    before = facts(place)
    made = Checkpoint(kept)
    for change in CHANGES.values():
        change(made, place)
    made.restore()
    assert facts(place) == before


def test_a_file_that_changes_twice_is_what_it_was_at_first(place, kept):
    before = facts(place)
    made = Checkpoint(kept)
    made.remove(place / 'file')
    made.write(file(place / 'file', 'one'))
    made.write(file(place / 'file', 'two'))
    assert len(made.changes()) == 1
    made.restore()
    assert facts(place) == before


@pytest.mark.skipif(not ROOT, reason='only root may give files away')
def test_the_owner_is_put_back(place, kept):
    os.chown(place / 'file', 12345, 23456)
    before = facts(place)
    made = Checkpoint(kept)
    overwrite(made, place)
    made.restore()
    assert facts(place) == before


def test_what_is_right_already_is_not_touched_and_not_kept(place, kept):
    made = Checkpoint(kept)
    (place / 'file').write_text('text')
    (place / 'file').chmod(0o644)
    assert made.write(file(place / 'file', 'text')) is False
    assert made.link(place / 'link', 'file') is False
    assert made.remove(place / 'nothing') is False
    assert not kept.exists()


def test_a_changed_file_has_what_was_wanted(place, kept):
    made = Checkpoint(kept)
    (place / 'file').write_text('old')
    assert made.write(file(place / 'file', 'new')) is True
    assert made.link(place / 'link', 'other') is True
    assert made.remove(place / 'dangling') is True
    assert (place / 'file').read_text() == 'new'
    assert os.readlink(place / 'link') == 'other'
    assert not os.path.lexists(place / 'dangling')


def test_a_file_that_is_no_text_can_be_overwritten(place, kept):
    (place / 'file').chmod(0o644)
    before = facts(place)
    made = Checkpoint(kept)
    assert made.write(file(place / 'file')) is True
    made.restore()
    assert facts(place) == before


def test_what_is_kept_can_be_read_by_nobody_else(place, kept):
    made = Checkpoint(kept)
    (place / 'file').chmod(0o644)
    made.remove(place / 'file')
    assert kept.stat().st_mode & 0o777 == 0o700
    for path in kept.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


def test_changes_stand_once_the_checkpoint_is_forgotten(place, kept):
    made = Checkpoint(kept)
    made.remove(place / 'file')
    made.forget()
    assert checkpoint.recover(kept) is False
    assert not (place / 'file').exists()


@pytest.mark.parametrize('change', CHANGES.values(), ids=CHANGES)
def test_after_a_kill_the_next_command_puts_a_change_back(place, kept, change):
    before = facts(place)
    change(Checkpoint(kept), place)
    assert checkpoint.recover(kept) is True
    assert facts(place) == before
    assert checkpoint.recover(kept) is False


def test_a_kill_between_keeping_and_changing_loses_nothing(place, kept):
    before = facts(place)
    made = Checkpoint(kept)
    for name in ('file', 'link', 'dangling', 'new'):
        made.keep(place / name)
    assert checkpoint.recover(kept) is True
    assert facts(place) == before


def test_a_kill_before_anything_was_kept_is_nothing_to_put_back(place, kept):
    before = facts(place)
    kept.mkdir()
    (kept / '0').write_bytes(b'half a co')
    assert checkpoint.recover(kept) is False
    made = Checkpoint(kept)
    made.remove(place / 'file')
    made.restore()
    assert facts(place) == before


@pytest.mark.parametrize('done', range(len(CHANGES) + 1))
def test_a_kill_while_it_is_put_back_is_followed_by_the_rest(
    place, kept, done
):
    before = facts(place)
    made = Checkpoint(kept)
    for change in CHANGES.values():
        change(made, place)
    for change in [*reversed(made.changes())][:done]:
        made._put_back(change)
    assert checkpoint.recover(kept) is True
    assert facts(place) == before


def test_an_error_in_the_middle_puts_everything_back(place, kept):
    before = facts(place)
    with pytest.raises(ZeroDivisionError), checkpoint.tentatively(kept) as it:
        it.remove(place / 'file')
        it.write(file(place / 'new'))
        1 / 0  # noqa: B018
    assert facts(place) == before
    assert not kept.exists()


def test_control_c_in_the_middle_puts_everything_back(place, kept):
    before = facts(place)
    with pytest.raises(KeyboardInterrupt), checkpoint.tentatively(kept) as it:
        it.remove(place / 'file')
        raise KeyboardInterrupt
    assert facts(place) == before


def test_without_an_error_the_changes_stand(place, kept):
    with checkpoint.tentatively(kept) as it:
        it.remove(place / 'file')
    assert not (place / 'file').exists()
    assert not kept.exists()


def test_what_a_killed_command_left_is_put_back_before_new_changes(
    place, kept
):
    before = facts(place)
    Checkpoint(kept).remove(place / 'file')
    with checkpoint.tentatively(kept):
        assert facts(place) == before


@contextlib.contextmanager
def small_disk(path):
    """A file system with room for a few pages."""
    path.mkdir()
    command = ['mount', '-t', 'tmpfs', '-o', 'size=32k', 'tmpfs', path]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        pytest.skip(f'no tmpfs can be mounted here: {result.stderr}')
    try:
        yield path
    finally:
        subprocess.run(['umount', path], check=True)


def fill(path):
    with contextlib.suppress(OSError), open(path, 'wb', 0) as taken:
        while True:
            taken.write(bytes(1024))


@pytest.mark.skipif(not ROOT, reason='only root may mount a file system')
@pytest.mark.parametrize('same', [True, False], ids=['same', 'another'])
def test_a_disk_that_fills_in_the_middle_leaves_everything_as_it_was(
    tmp_path, same
):
    """Whether what is kept is on the same disk or on another one."""
    with small_disk(tmp_path / 'disk') as disk:
        kept = disk / 'kept' if same else tmp_path / 'kept'
        place = disk / 'etc'
        place.mkdir()
        for name in 'ab':
            (place / name).write_bytes(b'old\xff' * 100)
        before = facts(place)
        with pytest.raises(OSError) as caught:  # noqa: SIM117
            with checkpoint.tentatively(kept) as it:
                it.keep(place / 'a')
                (place / 'a').unlink()
                state.write_file(place / 'a', 'new', state.Owner.myself())
                fill(disk / 'taken')
                it.keep(place / 'b')
                (place / 'b').unlink()
                state.write_file(
                    place / 'b', 'new' * 10000, state.Owner.myself()
                )
        assert caught.value.errno == errno.ENOSPC
        assert facts(place) == before
        assert not kept.exists()


@pytest.mark.skipif(not ROOT, reason='only root may mount a file system')
def test_a_file_is_put_back_from_another_file_system(tmp_path):
    with small_disk(tmp_path / 'disk') as disk:
        (disk / 'file').write_bytes(b'old\xff')
        os.chown(disk / 'file', 12345, 23456)
        (disk / 'file').chmod(0o640)
        before = facts(disk)
        made = Checkpoint(tmp_path / 'kept')
        made.remove(disk / 'file')
        made.write(file(disk / 'file'))
        made.restore()
        assert facts(disk) == before


@pytest.mark.skipif(not ROOT, reason='only root may mount a file system')
def test_a_link_in_the_place_of_a_file_is_not_followed_when_it_is_put_back(
    tmp_path,
):
    with small_disk(tmp_path / 'disk') as disk:
        (disk / 'file').write_bytes(b'old')
        (disk / 'other').write_bytes(b'precious')
        before = facts(disk)
        made = Checkpoint(tmp_path / 'kept')
        made.link(disk / 'file', 'other')
        made.restore()
        assert facts(disk) == before
