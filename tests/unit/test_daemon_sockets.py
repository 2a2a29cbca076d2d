"""Sockets that are put back as soon as they are removed."""

import contextlib
import os
import socket
import threading
import time

import psutil
import pytest

from glance_wsgi.servers import daemon_sockets


@pytest.fixture
def listening(tmp_path, monkeypatch):
    """A socket as mod_wsgi makes them, and the process that has it: us."""
    monkeypatch.chdir(tmp_path)  # its path is too long otherwise
    with contextlib.ExitStack() as stack:

        def listen(name):
            made = stack.enter_context(socket.socket(socket.AF_UNIX))
            made.bind(name)
            made.listen()
            listen.last = made
            return tmp_path / name

        yield listen


def connects(place) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(os.path.relpath(place))
        except OSError:
            return False
    return True


def until(happened):
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_socket_that_is_removed_is_found_again_and_serves(listening):
    place = listening('mod_wsgi.1.u-1.1.sock')
    with daemon_sockets.kept(psutil.Process()):
        place.unlink()
        until(lambda: connects(place))


def test_a_new_socket_is_left_alone(listening):
    place = listening('wsgi.1.0.1.sock')
    with daemon_sockets.kept(psutil.Process()):
        place.unlink()
        until(place.exists)
        place.unlink()
        listening(place.name)
        new = place.stat().st_ino
    assert place.stat().st_ino == new
    assert connects(place)


def test_it_is_put_back_once_only(listening):
    """A second time it would keep the new one from being made."""
    place = listening('wsgi.1.0.1.sock')
    with daemon_sockets.kept(psutil.Process()):
        place.unlink()
        until(place.exists)
        place.unlink()
        time.sleep(20 * daemon_sockets._INTERVAL)
        assert not place.exists()


def test_nothing_else_is_left_behind_or_looked_at(listening, tmp_path):
    place = listening('wsgi.1.0.1.sock')
    other = listening('cgisock.1')
    with daemon_sockets.kept(psutil.Process()):
        other.unlink()
        time.sleep(20 * daemon_sockets._INTERVAL)
        assert not other.exists()
    assert list(tmp_path.iterdir()) == [place]


def test_what_a_killed_command_has_left_is_no_hindrance(listening, tmp_path):
    place = listening('wsgi.1.0.1.sock')
    (tmp_path / f'{place.name}.kept').touch()
    with daemon_sockets.kept(psutil.Process()):
        place.unlink()
        until(lambda: connects(place))
    assert list(tmp_path.iterdir()) == [place]


def test_what_is_not_made_again_is_removed_in_the_end(listening, tmp_path):
    """Else children would try for long what nobody listens on."""
    place = listening('wsgi.1.0.1.sock')
    with daemon_sockets.kept(psutil.Process()):
        place.unlink()
        until(place.exists)
        listening.last.close()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_kept_is_no_hindrance_for_the_others(
    listening, tmp_path
):
    """Apache may see another /tmp than we do."""
    gone = listening('wsgi.1.0.1.sock')
    gone.unlink()
    place = listening('wsgi.1.0.2.sock')
    with daemon_sockets.kept(psutil.Process()):
        place.unlink()
        until(lambda: connects(place))
    assert list(tmp_path.iterdir()) == [place]


def test_an_error_in_the_meantime_leaves_nothing_behind(listening, tmp_path):
    places = {listening('wsgi.1.0.1.sock'), listening('wsgi.1.0.2.sock')}
    before = threading.active_count()
    with (
        pytest.raises(RuntimeError),
        daemon_sockets.kept(psutil.Process()),
    ):
        raise RuntimeError
    assert threading.active_count() == before
    assert set(tmp_path.iterdir()) == places


def test_an_apache_that_has_ended_has_no_sockets():
    ended = psutil.Popen(['true'])
    ended.wait()
    with daemon_sockets.kept(ended):
        pass
