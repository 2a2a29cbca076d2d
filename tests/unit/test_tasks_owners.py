"""Who owns a job, and whether it lives: real processes."""

import os
import pathlib
import signal
import subprocess

import pytest

from glance_wsgi.tasks import owners
from glance_wsgi.tasks.owners import Owner


@pytest.fixture
def process():
    """A process that does nothing."""
    with subprocess.Popen(['sleep', '600']) as started:
        yield started
        started.kill()


def owner(process):
    place = Owner.myself('node').place
    text = pathlib.Path(f'/proc/{process.pid}/stat').read_text()
    return Owner(
        'node', place, process.pid, int(text.rpartition(')')[2].split()[19])
    )


def test_an_owner_is_written_and_read():
    me = Owner.myself('node')
    assert Owner.parse('node', str(me)) == me
    assert me.pid == os.getpid()
    assert not me.is_dead()


def test_what_is_no_owner_of_ours_is_a_stranger_that_may_live():
    assert not Owner.parse('node', 'something else').is_dead()


def test_a_process_that_has_ended_is_dead_before_anybody_has_waited(process):
    one = owner(process)
    assert not one.is_dead()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert one.is_dead()


def test_a_process_that_is_stopped_lives(process):
    process.send_signal(signal.SIGSTOP)
    assert not owner(process).is_dead()


def test_a_process_that_proc_hides_lives(process, monkeypatch):
    one = owner(process)
    monkeypatch.setattr(owners, '_started', lambda pid: None)
    assert not one.is_dead()
    process.kill()
    process.wait()
    assert one.is_dead()


def test_another_process_with_the_same_id_is_not_it(process):
    one = owner(process)
    assert Owner(one.node, one.place, one.pid, one.started - 1).is_dead()


def test_what_runs_in_another_container_can_not_be_seen(process):
    one = owner(process)
    process.kill()
    process.wait()
    assert not Owner(one.node, 'elsewhere', one.pid, one.started).is_dead()
