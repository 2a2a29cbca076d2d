"""What a process of mod_wsgi waits for before it ends."""

import fcntl
import os
import subprocess
import sys
import threading
import time
import types

import pytest

from glance_wsgi import imports
from glance_wsgi import lifecycle

IMAGE = '/images/11111111-2222-3333-4444-555555555555'
FILE = f'/v2{IMAGE}/file'


@pytest.fixture
def busy(tmp_path):
    return tmp_path / 'glance-api.busy'


@pytest.fixture
def life(busy):
    made = lifecycle.Lifecycle(str(busy))
    yield made
    os.close(made._lock)


def is_busy(file):
    """What another process finds out about the lock."""
    with file.open() as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def start(status, headers):
    """A start_response that nobody listens to."""


def call(life, application, path=FILE):
    return life.watch(application)({'PATH_INFO': path}, start)


class Answer:
    """A body as Glance's own are: it has to be closed."""

    closed = False

    def __iter__(self):
        return iter([b'one', b'two'])

    def close(self):
        self.closed = True


def test_the_answer_comes_through_and_is_closed(life):
    answer = Answer()
    body = call(life, lambda environ, start_response: answer)
    assert list(body) == [b'one', b'two']
    assert not answer.closed
    body.close()
    assert answer.closed


def test_a_request_counts_until_its_answer_is_closed(life):
    seen = []

    def application(environ, start_response):
        seen.append(life._requests)
        return [b'']

    body = call(life, application)
    list(body)
    assert life._requests == 1
    body.close()
    assert seen == [1]
    assert life._requests == 0


def test_a_request_that_fails_counts_no_longer(life, busy):
    def application(environ, start_response):
        assert life._requests == 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        call(life, application)
    assert life._requests == 0
    assert not is_busy(busy)
    assert caught.tb  # which has kept everything from being collected


def test_a_request_whose_answer_cannot_be_closed_counts_no_longer(life, busy):
    class Fails(Answer):
        def close(self):
            raise ZeroDivisionError

    body = call(life, lambda environ, start_response: Fails())
    with pytest.raises(ZeroDivisionError) as caught:
        body.close()
    assert life._requests == 0
    assert not is_busy(busy)
    assert caught.tb


# As Glance has them: with each version, or with none.
@pytest.mark.parametrize('end', ['', '/'])
@pytest.mark.parametrize('action', ['file', 'stage'])
@pytest.mark.parametrize('version', ['/v2', '/v2.0', '/v2.9', '/v2.18', ''])
def test_a_transfer_holds_the_lock_until_it_is_over(
    life, busy, version, action, end
):
    path = f'{version}{IMAGE}/{action}{end}'
    body = call(life, lambda environ, start_response: [b''], path)
    assert is_busy(busy)
    body.close()
    assert not is_busy(busy)


@pytest.mark.parametrize(
    'path',
    [
        '',
        '/healthcheck',
        '/v2/images',
        '/v2/images/file',
        f'/v2{IMAGE}',
        f'/v2{IMAGE}/import',
        f'/v2{IMAGE}/members/file',
        f'/v2{IMAGE}/file/x',
        f'/v2{IMAGE}/file//',
    ],
)
def test_anything_short_does_not_hold_the_lock(life, busy, path):
    body = call(life, lambda environ, start_response: [b''], path)
    assert not is_busy(busy)
    assert life._requests == 1
    body.close()


def test_the_lock_is_held_until_the_last_of_several_is_over(life, busy):
    first = call(life, lambda environ, start_response: [b''])
    second = call(life, lambda environ, start_response: [b''])
    first.close()
    assert is_busy(busy)
    second.close()
    assert not is_busy(busy)


def test_processes_of_one_application_hold_the_lock_together(life, busy):
    other = lifecycle.Lifecycle(str(busy))
    with life.long():
        with other.long():
            assert is_busy(busy)
        assert is_busy(busy)
    assert not is_busy(busy)
    os.close(other._lock)


def test_the_lock_ends_with_its_process(busy):
    made = lifecycle.Lifecycle(str(busy))
    with made.long():
        child = os.fork()
        if not child:
            other = lifecycle.Lifecycle(str(busy))
            other.long().__enter__()
            os._exit(0)
        os.waitpid(child, 0)
    assert not is_busy(busy)
    os.close(made._lock)


def test_the_file_is_its_users_alone(life, busy):
    assert busy.stat().st_mode & 0o777 == 0o600


def waiting(life):
    """A thread that waits for the requests of a process."""
    thread = threading.Thread(target=life.wait_for_requests)
    thread.start()
    return thread


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(lifecycle, 'SETTLING', 0.1)


def test_with_no_request_the_waiting_is_over_after_a_moment(life, soon):
    began = time.monotonic()
    life.wait_for_requests()
    assert time.monotonic() - began >= 0.1


def test_the_waiting_lasts_as_long_as_a_request_does(life, soon):
    body = call(life, lambda environ, start_response: [b''], '/')
    thread = waiting(life)
    thread.join(0.3)
    assert thread.is_alive()
    body.close()
    thread.join(10)
    assert not thread.is_alive()


def test_a_request_that_comes_in_the_last_moment_is_waited_for(
    life, monkeypatch
):
    monkeypatch.setattr(lifecycle, 'SETTLING', 5)
    thread = waiting(life)
    body = call(life, lambda environ, start_response: [b''], '/')
    monkeypatch.setattr(lifecycle, 'SETTLING', 0.1)
    thread.join(0.3)
    assert thread.is_alive()
    body.close()
    thread.join(10)
    assert not thread.is_alive()


def application(environ, start_response):
    return [b'']


def test_outside_of_mod_wsgi_nothing_is_watched(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mod_wsgi', None)
    assert lifecycle.watch(application) is application


def test_a_mod_wsgi_without_daemon_processes_has_nothing_to_watch(
    monkeypatch,
):
    """The module of that name that PyPI's package has, outside of Apache."""
    bare = types.ModuleType('mod_wsgi')
    monkeypatch.setitem(sys.modules, 'mod_wsgi', bare)
    assert lifecycle.watch(application) is application


def test_in_mod_wsgi_the_end_waits_for_requests_then_for_imports(
    monkeypatch, busy, soon
):
    module = types.ModuleType('mod_wsgi')
    subscribed, order = [], []
    module.subscribe_shutdown = subscribed.append
    monkeypatch.setitem(sys.modules, 'mod_wsgi', module)
    monkeypatch.setenv(lifecycle.BUSY, str(busy))
    counted = []
    monkeypatch.setattr(imports, 'count', counted.append)
    monkeypatch.setattr(imports, 'close', lambda: order.append('closed'))
    monkeypatch.setattr(imports, 'drain', lambda: order.append('imports'))
    monkeypatch.setattr(
        lifecycle, 'end_within', lambda seconds: order.append('ending')
    )
    watched = lifecycle.watch(application)
    body = watched({'PATH_INFO': FILE}, start)
    (drain,) = subscribed
    thread = threading.Thread(target=drain, args=('process_stopping',))
    thread.start()
    thread.join(0.3)
    assert order == ['closed'], 'nothing begins on the way down'
    body.close()
    thread.join(10)
    assert order == ['closed', 'imports', 'ending']
    # An import is what holds the lock, too.
    (running,) = counted
    with running():
        assert is_busy(busy)
    assert not is_busy(busy)


STUCK = """
import threading
from glance_wsgi import lifecycle

threading.Thread(target=threading.Event().wait, name='stuck').start()
lifecycle.end_within(0.2)
"""


def test_a_thread_that_does_not_end_is_told_of_and_does_not_keep_the_process():
    ended = subprocess.run(
        [sys.executable, '-c', STUCK],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert 'Timeout' in ended.stderr
    assert 'in wait' in ended.stderr
