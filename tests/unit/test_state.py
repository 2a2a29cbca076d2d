"""The state directory: files that appear whole, with their rights."""

import fcntl
import json
import os
import stat
import subprocess
import sys

import pytest

from glance_wsgi import errors
from glance_wsgi import state
from glance_wsgi.state import Owner
from glance_wsgi.state import StateDir

ME = Owner.myself()
ROOT = os.geteuid() == 0


def rights(path):
    return stat.S_IMODE(path.stat().st_mode)


def write(path, text='text', mode=0o600):
    return state.write_file(path, text, ME, mode)


def test_a_new_file_has_its_rights_whatever_the_umask(tmp_path):
    before = os.umask(0o777)
    try:
        assert write(tmp_path / 'new', mode=0o640)
    finally:
        os.umask(before)
    assert rights(tmp_path / 'new') == 0o640


def test_a_file_is_secret_unless_told_otherwise(tmp_path):
    state.write_file(tmp_path / 'new', 'text', ME)
    assert rights(tmp_path / 'new') == 0o600


@pytest.mark.skipif(not ROOT, reason='only root may give files away')
def test_a_new_file_belongs_to_its_owner(tmp_path):
    state.write_file(tmp_path / 'new', 'text', Owner(12345, 23456))
    facts = (tmp_path / 'new').stat()
    assert (facts.st_uid, facts.st_gid) == (12345, 23456)


def test_a_file_that_is_the_same_is_not_touched(tmp_path):
    path = tmp_path / 'file'
    write(path)
    os.utime(path, ns=(1, 1))
    number = path.stat().st_ino
    assert write(path) is False
    assert path.stat().st_mtime_ns == 1
    assert path.stat().st_ino == number


def test_a_file_that_differs_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / 'file'
    write(path, 'old')
    with path.open() as reader:
        assert write(path, 'new') is True
        assert reader.read() == 'old'
    assert path.read_text() == 'new'
    assert os.listdir(tmp_path) == ['file']


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / 'file'
    write(path, 'old')
    with pytest.raises(UnicodeEncodeError):
        write(path, '\udc80')  # half a character: no encoding has it
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['file']


def test_a_write_over_a_directory_fails_and_leaves_nothing(tmp_path):
    path = tmp_path / 'file'
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write(path)
    assert os.listdir(tmp_path) == ['file']


def test_a_link_is_replaced_and_what_it_led_to_is_untouched(tmp_path):
    path, victim = tmp_path / 'file', tmp_path / 'victim'
    victim.write_text('precious')
    path.symlink_to(victim)
    write(path)
    assert victim.read_text() == 'precious'
    assert not path.is_symlink()
    assert path.read_text() == 'text'


def test_a_link_is_replaced_even_if_its_text_is_right(tmp_path):
    path, other = tmp_path / 'file', tmp_path / 'other'
    other.write_text('text')
    other.chmod(0o666)
    path.symlink_to(other)
    write(path)
    assert not path.is_symlink()


def test_rights_that_were_opened_are_closed_again(tmp_path):
    path = tmp_path / 'file'
    write(path)
    path.chmod(0o644)
    write(path)
    assert rights(path) == 0o600


def test_the_directories_are_made_once(tmp_path):
    place = StateDir(tmp_path / 'a' / 'b')
    assert place.make(ME) is True
    assert place.make(ME) is False
    for path in (*place.directories(), *place.service_directories()):
        assert path.is_dir()
    assert {path.name for path in place.etc.iterdir()} == {
        'apache',
        'glance',
        'keystone',
        'vassals',
        'wsgi',
    }


@pytest.mark.skipif(not ROOT, reason='only root may give directories away')
def test_the_service_owns_what_it_writes_and_nothing_else(tmp_path):
    place = StateDir(tmp_path)
    place.make(Owner(12345, 12345))
    for path in place.service_directories():
        assert path.stat().st_uid == 12345
    for path in place.directories():
        assert path.stat().st_uid == 0


@pytest.mark.skipif(ROOT, reason='root may write everywhere')
def test_a_directory_that_may_not_be_written_is_an_error(tmp_path):
    tmp_path.chmod(0o500)
    place = StateDir(tmp_path / 'state')
    with pytest.raises(errors.StateNotWritable):
        place.make(ME)
    with pytest.raises(errors.StateNotWritable), place.lock():
        pass


def test_a_file_in_place_of_the_directory_is_an_error(tmp_path):
    (tmp_path / 'file').write_text('')
    place = StateDir(tmp_path / 'file' / 'state')
    with pytest.raises(errors.StateNotWritable):
        place.make(ME)
    with pytest.raises(errors.StateNotWritable), place.lock():
        pass


HOLD = """if True:
    import sys, time
    from glance_wsgi.state import StateDir
    with StateDir(sys.argv[1]).lock():
        print('held', flush=True)
        time.sleep(60)
"""


def test_a_locked_directory_is_busy_for_others_until_they_end(tmp_path):
    command = [sys.executable, '-c', HOLD, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b'held\n'
        with (
            pytest.raises(errors.StateBusy, match=str(tmp_path)),
            StateDir(tmp_path).lock(),
        ):
            pass
        other.kill()
    with StateDir(tmp_path).lock():
        pass


def test_the_lock_is_given_back_after_an_error(tmp_path):
    place = StateDir(tmp_path)
    with pytest.raises(ZeroDivisionError), place.lock():
        1 / 0  # noqa: B018
    with place.lockfile.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_passwords_are_made_once_and_only_for_their_owner(tmp_path):
    place = StateDir(tmp_path)
    place.etc.mkdir()
    first = place.load_secrets(('admin', 'glance'))
    assert set(first) == {'admin', 'glance'}
    assert len(set(first.values())) == 2
    assert min(map(len, first.values())) >= 32
    assert rights(place.secrets) == 0o600
    assert place.load_secrets(('glance', 'admin')) == first


def test_a_password_that_a_newer_version_needs_is_added(tmp_path):
    place = StateDir(tmp_path)
    place.etc.mkdir()
    first = place.load_secrets(('admin',))
    both = place.load_secrets(('admin', 'new'))
    assert both['admin'] == first['admin']
    assert json.loads(place.secrets.read_text()) == both


def test_the_marker_reads_back(tmp_path):
    place = StateDir(tmp_path)
    assert place.read_marker() is None
    place.write_marker({'glance': '33.0.0'})
    assert place.read_marker() == {
        'glance': '33.0.0',
        'format': state.FORMAT,
    }


@pytest.mark.parametrize(
    'text', ['', '{', '[]', '5', 'null', '"x"', '{}', '\0', '{"format": null}']
)
def test_a_marker_that_is_none_is_refused(tmp_path, text):
    place = StateDir(tmp_path)
    place.marker.write_text(text)
    with pytest.raises(errors.StateForeign, match=str(place.path)):
        place.read_marker()


def test_a_marker_of_another_format_says_who_wrote_it(tmp_path):
    place = StateDir(tmp_path)
    place.marker.write_text('{"format": 99, "glance_wsgi": "7.1"}')
    with pytest.raises(errors.StateForeign, match=r'7\.1 in format 99'):
        place.read_marker()


@pytest.mark.skipif(ROOT, reason='root may read everything')
def test_a_marker_of_somebody_else_is_an_error_about_rights(tmp_path):
    place = StateDir(tmp_path)
    place.write_marker({})
    place.marker.chmod(0)
    with pytest.raises(errors.StateNotWritable):
        place.read_marker()


def test_damaged_secrets_are_an_error_that_names_the_file(tmp_path):
    place = state.StateDir(tmp_path)
    place.etc.mkdir()
    place.secrets.write_text('{"half')
    with pytest.raises(errors.StateForeign) as caught:
        place.load_secrets(('one',))
    assert str(place.secrets) in caught.value.cause
    assert place.secrets.read_text() == '{"half'
