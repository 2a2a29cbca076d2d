"""What "install" needs of a checkpoint beyond files that are changed."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from test_checkpoint import facts
from test_checkpoint import file
from test_checkpoint import place  # noqa: F401

from glance_wsgi import checkpoint
from glance_wsgi import state
from glance_wsgi.checkpoint import Checkpoint


@pytest.fixture
def before(tmp_path):
    return Checkpoint(tmp_path / 'before')


def test_a_directory_that_was_made_is_removed_again(place, before):  # noqa: F811
    seen = facts(place)
    assert before.make_directory(place / 'new')
    assert not before.make_directory(place / 'new')
    before.write(file(place / 'new' / 'file'))
    before.restore()
    assert facts(place) == seen


def test_a_directory_that_others_use_by_now_stays(place, before):  # noqa: F811
    before.make_directory(place / 'new')
    (place / 'new' / 'theirs').touch()
    before.restore()
    assert (place / 'new' / 'theirs').exists()


def test_a_directory_that_was_there_is_kept_out_of_it(place, before):  # noqa: F811
    before.keep(place)
    assert not before.exists


def test_what_was_not_changed_after_all_is_not_touched(
    place,  # noqa: F811
    before,
):
    """The disk may be read-only by now."""
    for name in ('file', 'link', 'missing'):
        before.keep(place / name)
    seen = [path.lstat() for path in (place, *place.iterdir())]
    before.restore()
    assert [path.lstat() for path in (place, *place.iterdir())] == seen


def test_a_file_that_a_kill_has_left_unfinished_is_removed(place, before):  # noqa: F811
    seen = facts(place)
    before.keep(place / 'file')
    (place / f'{state.UNFINISHED}abc').write_text('half of')
    before.restore()
    assert facts(place) == seen


def test_the_first_of_several_changes_is_what_is_put_back(
    place,  # noqa: F811
    tmp_path,
):
    seen = facts(place)
    lasting = Checkpoint(tmp_path / 'lasting')
    for text in ('first', 'second'):
        change = Checkpoint(tmp_path / 'change')
        change.write(file(place / 'file', text))
        change.link(place / 'link', text)
        change.write(file(place / text))
        lasting.take_over(change)
        change.forget()
    lasting.restore()
    assert facts(place) == seen


def test_nothing_taken_over_is_nothing_to_be_put_back(tmp_path):
    lasting = Checkpoint(tmp_path / 'lasting')
    lasting.take_over(Checkpoint(tmp_path / 'none'))
    assert not lasting.exists


def test_it_can_be_put_back_again_until_it_is_forgotten(
    place,  # noqa: F811
    before,
):
    """By the next command, where something else has failed meanwhile."""
    seen = facts(place)
    for text in ('once', 'twice'):
        before.write(file(place / 'file', text))
        before.write(file(place / text))
        before.put_back()
        assert facts(place) == seen
    before.restore()
    assert facts(place) == seen


def test_a_part_can_be_put_back_before_the_rest(place, before):  # noqa: F811
    seen = facts(place)
    before.write(file(place / 'file'))
    before.write(file(place / 'new'))
    before.put_back(lambda path: path.name == 'new')
    assert facts(place).keys() == seen.keys()
    assert facts(place) != seen
    before.restore()
    assert facts(place) == seen


def test_a_change_that_is_let_stand_is_not_put_back(place, before):  # noqa: F811
    before.write(file(place / 'file'))
    before.write(file(place / 'new'))
    before.let_stand([place / 'new'])
    before.restore()
    assert (place / 'new').exists()


def test_a_secret_is_closed_from_the_first_moment_on_another_file_system(
    place,  # noqa: F811
    before,
    monkeypatch,
):
    (place / 'file').chmod(0o600)
    seen = facts(place)
    before.write(file(place / 'file'))
    rights = []

    def no_link(*paths):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    def spy(name, *words, **options):
        made = open(name, *words, **options)  # noqa: SIM115
        if words[:1] == ('wb',):
            rights.append(os.fstat(made.fileno()).st_mode & 0o077)
        return made

    real = os.replace
    monkeypatch.setattr(
        os,
        'replace',
        lambda old, new: (
            real(old, new) if place == Path(old).parent else no_link()
        ),
    )
    monkeypatch.setattr(os, 'link', no_link)
    for module in (checkpoint, shutil):
        monkeypatch.setattr(module, 'open', spy, raising=False)
    before.restore()
    assert facts(place) == seen
    assert rights == [0]
