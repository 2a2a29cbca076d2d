"""Pid files, and the real processes that they do or do not mean."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from glance_wsgi import processes

ME = os.geteuid()
SLEEP = [sys.executable, '-c', 'import time; time.sleep(60)']


@pytest.fixture
def child():
    with subprocess.Popen(SLEEP) as process:
        yield process
        process.kill()


@pytest.fixture
def pidfile(tmp_path, child):
    """The pid file that a server would have written."""
    path = tmp_path / 'pid'
    path.write_text(f'{child.pid}\n')
    return path


def shift(path, seconds):
    then = time.time() + seconds
    os.utime(path, (then, then))


def runs(process):
    """Whether it does; a zombie, which init has yet to see, does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_process_is_found_by_its_pid_file(pidfile, child):
    assert processes.from_pidfile(pidfile, ME) == psutil.Process(child.pid)


def test_a_process_is_found_long_after_it_wrote_the_file(pidfile, child):
    shift(pidfile, 3600)
    assert processes.from_pidfile(pidfile, ME).pid == child.pid


def test_a_process_that_began_after_the_file_has_a_recycled_pid(pidfile):
    shift(pidfile, -3600)
    assert processes.from_pidfile(pidfile, ME) is None


def test_clocks_may_differ_by_a_moment(pidfile, child):
    shift(pidfile, -processes.CLOCK_SLACK / 2)
    assert processes.from_pidfile(pidfile, ME).pid == child.pid


def test_a_process_of_another_user_is_not_ours(pidfile):
    assert processes.from_pidfile(pidfile, ME + 1) is None


def test_a_process_that_is_gone_is_not_found(pidfile, child):
    child.kill()
    child.wait()
    assert processes.from_pidfile(pidfile, ME) is None


def test_a_zombie_is_not_found(pidfile, child):
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    assert processes.from_pidfile(pidfile, ME) is None


@pytest.mark.parametrize(
    'text', ['', 'uwsgi', '-1', '0', '1.5', '9' * 30, '\0', '1 2', '99999999']
)
def test_a_file_without_a_pid_means_no_process(tmp_path, text):
    path = tmp_path / 'pid'
    path.write_text(text)
    assert processes.from_pidfile(path, ME) is None


def test_a_file_that_is_no_text_means_no_process(tmp_path):
    path = tmp_path / 'pid'
    path.write_bytes(b'\xff\xfe')
    assert processes.from_pidfile(path, ME) is None


def test_no_file_means_no_process(tmp_path):
    assert processes.from_pidfile(tmp_path / 'pid', ME) is None


def test_a_family_is_a_process_and_all_its_descendants():
    nested = f'import subprocess; subprocess.run({SLEEP!r})'
    with subprocess.Popen([sys.executable, '-c', nested]) as parent:
        process = psutil.Process(parent.pid)
        deadline = time.monotonic() + 30
        while not process.children() and time.monotonic() < deadline:
            time.sleep(0.01)
        family = processes.family(process)
        assert len(family) == 2
        assert family[0].pid == parent.pid
        processes.kill(family)
        assert parent.wait() == -signal.SIGKILL
        assert not any(runs(member) for member in family)
        assert processes.family(process) == []


def test_killing_what_is_gone_already_is_no_error(child):
    process = psutil.Process(child.pid)
    child.kill()
    child.wait()
    processes.kill([process])
