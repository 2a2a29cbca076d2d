"""Calls in a thread of their own: their order, their errors, their bound."""

import contextlib
import hashlib
import subprocess
import sys
import threading
import time
from concurrent import futures

import pytest

from glance_wsgi.data import pipeline


@pytest.fixture
def pipe():
    with contextlib.closing(pipeline.Pipeline()) as made:
        yield made


def names():
    """The names of the threads that run."""
    return [thread.name for thread in threading.enumerate()]


def test_calls_are_made_in_their_order_and_elsewhere(pipe):
    made, stage = [], pipe.stage()
    for number in range(100):
        stage.do(made.append, number)
    stage.do(lambda: made.append(threading.current_thread()))
    stage.finish()
    assert made[:-1] == [*range(100)]
    assert made[-1] is not threading.current_thread()


def test_two_stages_work_at_the_same_time(pipe):
    met = threading.Barrier(3, timeout=30)
    for stage in (pipe.stage(), pipe.stage()):
        stage.do(met.wait)
    met.wait()


def test_whoever_brings_too_much_waits(pipe):
    go, stage, brought = threading.Event(), pipe.stage(), []

    def bring():
        for number in range(pipeline.DEPTH + 1):
            stage.do(go.wait)
            brought.append(number)

    client = threading.Thread(target=bring)
    client.start()
    client.join(0.3)
    assert client.is_alive()
    assert len(brought) == pipeline.DEPTH
    go.set()
    client.join(30)
    assert len(brought) == pipeline.DEPTH + 1


def fail():
    raise OSError('full')


def test_an_error_is_raised_where_the_stream_comes_from(pipe):
    stage = pipe.stage()
    stage.do(fail)
    with pytest.raises(OSError, match='full'):
        for _ in range(pipeline.DEPTH + 1):
            stage.do(str)


def test_an_error_of_the_last_call_is_raised_at_the_end(pipe):
    pipe.stage().do(str)
    pipe.stage().do(fail)
    with pytest.raises(OSError, match='full'):
        pipe.finish()


def test_a_hasher_knows_all_it_was_given(pipe):
    hasher = pipeline.Hasher(pipe.stage(), hashlib.sha256())
    for _ in range(50):
        hasher.update(b'piece')
    assert hasher.hexdigest() == hashlib.sha256(b'piece' * 50).hexdigest()


def test_no_thread_is_begun_for_nothing_and_none_is_left():
    with contextlib.closing(pipeline.Pipeline()) as pipe:
        stage = pipe.stage()
        assert 'pipeline_0' not in names()
        stage.do(str)
        assert 'pipeline_0' in names()
    assert 'pipeline_0' not in names()


def test_what_has_not_begun_is_dropped_at_the_end():
    began, made = threading.Event(), []

    def wait():
        began.set()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if len(stage._pending) > 1 and stage._pending[-1].cancelled():
                return
            time.sleep(0.01)

    with contextlib.closing(pipeline.Pipeline()) as pipe:
        stage = pipe.stage()
        stage.do(wait)
        began.wait()
        stage.do(made.append, 1)
    assert made == []


ENDING = """
import hashlib, threading, time
from concurrent.futures import thread
from glance_wsgi.data import pipeline

def work():
    pipe = pipeline.Pipeline()
    begun, new = (
        pipeline.Hasher(pipe.stage(), hashlib.md5()) for _ in range(2))
    begun.update(b'1')
    while not thread._shutdown:
        time.sleep(0.01)
    for _ in range(20):
        begun.update(b'2')
        new.update(b'2')
    print(begun.hexdigest(), new.hexdigest())

threading.Thread(target=work).start()
"""


def test_what_runs_while_python_ends_is_finished():
    """Imports do, and Python then begins no thread any more."""
    result = subprocess.run(
        [sys.executable, '-c', ENDING],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.stderr == ''
    assert result.stdout.split() == [
        hashlib.md5(data).hexdigest() for data in (b'1' + b'2' * 20, b'2' * 20)
    ]


def test_without_new_threads_the_work_is_done_all_the_same(pipe, monkeypatch):
    """Python begins none while it ends, and imports run until then."""
    made, stage = [], pipe.stage()
    stage.do(made.append, 1)

    def refuse(*_):
        raise RuntimeError('cannot schedule new futures after shutdown')

    monkeypatch.setattr(futures.ThreadPoolExecutor, 'submit', refuse)
    stage.do(made.append, 2)
    stage.do(made.append, 3)
    assert made == [1, 2, 3]
