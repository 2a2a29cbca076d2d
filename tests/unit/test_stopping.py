"""A lock that says that a server is being stopped.

Guards against tasks that begin in uWSGI while Apache in front still waits for
what it has passed on.
"""

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from glance_wsgi import stopping


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The file that the server's processes are told of."""
    path = tmp_path / 'stopping'
    monkeypatch.setenv(stopping.VARIABLE, str(path))
    return path


def test_it_is_seen_while_it_lasts(file):
    looks = [stopping.Stopping() for _ in range(2)]
    assert not any(look() for look in looks)
    with stopping.announced(file):
        assert all(look() for look in looks)
        assert stopping.Stopping()()
    assert not any(look() for look in looks)


def test_it_ends_with_the_process_that_stops_the_server(file):
    look = stopping.Stopping()
    code = (
        'import pathlib, sys, time\n'
        'from glance_wsgi import stopping\n'
        'with stopping.announced(pathlib.Path(sys.argv[1])):\n'
        '    print(flush=True)\n'
        '    time.sleep(60)\n'
    )
    with subprocess.Popen(
        [sys.executable, '-c', code, file], stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        assert look()
        process.kill()
    assert not look()


def test_nobody_is_waited_for_who_holds_it(file, monkeypatch):
    """Such as a process that was stopped while it looked."""
    monkeypatch.setattr(stopping, 'PATIENCE', 0.1)
    look = stopping.Stopping()
    with file.open() as halted:
        fcntl.flock(halted, fcntl.LOCK_SH)
        with stopping.announced(file):
            assert not look()


@pytest.mark.parametrize('there', ['nothing', 'a link', 'a pipe'])
def test_what_is_no_file_of_ours_is_left_alone(file, there):
    if there == 'a link':
        file.symlink_to(file.with_name('victim'))
    elif there == 'a pipe':
        os.mkfifo(file)
    with stopping.announced(file):
        assert not file.with_name('victim').exists()
    assert file.exists() == (there == 'a pipe')


def test_a_server_of_somebody_elses_is_never_stopped(monkeypatch):
    monkeypatch.delenv(stopping.VARIABLE, raising=False)
    assert not stopping.Stopping()()


def test_a_server_serves_where_the_file_can_not_be_made(file, caplog):
    file.mkdir()
    look = stopping.Stopping()
    assert not look()
    assert 'Tasks may begin here' in caplog.text


def test_a_server_serves_where_the_file_can_not_be_locked(
    file, monkeypatch, caplog
):
    look = stopping.Stopping()

    def fail(*words):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(stopping.fcntl, 'flock', fail)
    assert not look()
    assert not look()
    assert caplog.text.count('No locks available') == 1
