"""A few requests at a time, in the order in which they came."""

import contextlib
import io
import socket
import threading
import time
import types

import pytest
from oslo_config import cfg

from glance_wsgi import admission
from glance_wsgi import conf
from glance_wsgi.servers import uwsgi_chunks
from glance_wsgi.servers import uwsgi_lingering

PLACES = 2
IMAGE = '/v2/images/4a7a3cb0-7d4c-4a43-9a43-1c0c1a1f5c5e'


def until(happened, within=10) -> None:
    deadline = time.monotonic() + within
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class Glance:
    """An application whose requests last until they are told to end."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside: list[str] = []
        self.most = 0
        self.ends: dict[str, threading.Event] = {}
        self.line = admission.Line(PLACES)
        self.application = admission.InLine(self, self.line)

    def __call__(self, environ, start_response):
        name = environ['name']
        with self.lock:
            self.inside.append(name)
            self.most = max(self.most, len(self.inside))
        try:
            if environ.get('reads'):
                environ['wsgi.input'].read()
            assert self.ends[name].wait(30)
        finally:
            with self.lock:
                self.inside.remove(name)
        return [name.encode()]

    def ask(self, name, path=IMAGE, **more) -> threading.Thread:
        """Ask in a thread of its own."""
        self.ends[name] = threading.Event()
        environ = {
            'name': name,
            'PATH_INFO': path,
            'wsgi.input': io.BytesIO(),
            **more,
        }
        client = threading.Thread(
            target=self.application, args=(environ, None)
        )
        client.start()
        return client

    def end_all(self) -> None:
        for end in self.ends.values():
            end.set()

    def until_inside(self, *names, within=10) -> None:
        until(lambda: sorted(self.inside) == sorted(names), within)

    def until_waiting(self, number) -> None:
        """Wait until so many are in line."""
        until(lambda: len(self.line._waiting) == number)


@pytest.fixture
def glance(monkeypatch):
    monkeypatch.setattr(admission, 'LONGEST', 60)
    asked = Glance()
    yield asked
    asked.end_all()


@contextlib.contextmanager
def full(glance, *beside):
    """As many requests in it as may be, and those."""
    names = [f'first {number}' for number in range(PLACES)]
    for name in names:
        glance.ask(name)
    glance.until_inside(*names, *beside)
    yield names


def test_no_more_are_let_in_and_who_came_first_is_next(glance):
    with full(glance) as inside:
        clients = []
        for number, name in enumerate(('b', 'c', 'a'), 1):
            clients.append(glance.ask(name))
            glance.until_waiting(number)
        for name in ('b', 'c', 'a'):
            leaving = inside.pop(0)
            glance.ends[leaving].set()
            inside.append(name)
            glance.until_inside(*inside)
    glance.end_all()
    for client in clients:
        client.join(30)
    assert glance.most == PLACES


@pytest.fixture
def allowed(monkeypatch):
    """Sets how many requests Glance's configuration allows."""
    made = conf.new()
    made([])
    monkeypatch.setattr(cfg, 'CONF', made)

    def allow(number: int) -> None:
        made.set_override('requests_at_once', number, 'admission')

    return allow


def test_as_many_are_let_in_as_the_configuration_allows(glance, allowed):
    allowed(3)
    glance.application = admission.in_line(glance)
    glance.line = glance.application._line
    clients = [glance.ask(name) for name in 'abcd']
    until(lambda: len(glance.inside) == 3)
    glance.until_waiting(1)
    glance.end_all()
    for client in clients:
        client.join(30)
    assert glance.most == 3


def test_there_is_no_line_where_the_configuration_allows_any_number(
    glance, allowed
):
    allowed(0)
    assert admission.in_line(glance) is glance


def test_a_request_that_fails_leaves_its_place():
    def fails(environ, start_response):
        raise RuntimeError

    line = admission.Line(PLACES)
    application = admission.InLine(fails, line)
    with pytest.raises(RuntimeError):
        application({'PATH_INFO': IMAGE, 'wsgi.input': None}, None)
    assert not line._since


def test_who_is_interrupted_in_line_takes_no_place(monkeypatch):
    """A handler of signals may raise what it likes."""

    class Interrupted(threading.Event):
        def wait(self, timeout=None):
            raise KeyboardInterrupt

    line = admission.Line(1)
    with line.place():
        with monkeypatch.context() as patch:
            patch.setattr(admission.threading, 'Event', Interrupted)
            with pytest.raises(KeyboardInterrupt):
                line.take(admission.Place(line))
        assert not line._waiting
    assert not line._since


def test_a_refusal_that_is_lingered_over_takes_no_place(monkeypatch):
    """uwsgi_lingering reads on after the answer, outside of the line."""

    def refuses(environ, start_response):
        start_response('404 Not Found', [])
        return [b'']

    line = admission.Line(PLACES)
    application = uwsgi_lingering.Lingering(admission.InLine(refuses, line))
    body = io.BytesIO(b'what nobody has read')
    environ = {
        'PATH_INFO': IMAGE,
        'REQUEST_METHOD': 'POST',
        'CONTENT_LENGTH': '20',
        'wsgi.input': body,
    }
    near, far = socket.socketpair()
    uwsgi = types.SimpleNamespace(connection_fd=near.fileno)
    monkeypatch.setattr(uwsgi_lingering, 'uwsgi', uwsgi)
    with near, far:
        answer = application(environ, lambda *words: None)
        list(answer)
        answer.close()
    assert body.tell() == 20
    assert not line._since


@pytest.mark.parametrize(
    'path', [f'{IMAGE}/file', f'{IMAGE}/stage', '/healthcheck']
)
def test_data_and_the_health_check_go_past_the_line(glance, path):
    with full(glance) as inside:
        glance.ask('past', path)
        glance.until_inside(*inside, 'past')


def test_transfers_begin_one_at_a_time_however_many_come(glance):
    glance.line = glance.application._transfers
    clients = [glance.ask('first', f'{IMAGE}/file')]
    glance.until_inside('first')
    for number, name in enumerate(('second', 'third'), 1):
        clients.append(glance.ask(name, f'{IMAGE}/file'))
        glance.until_waiting(number)
    glance.ends['first'].set()
    glance.until_inside('second')
    glance.end_all()
    for client in clients:
        client.join(30)
    assert glance.most == 1


def test_a_transfer_whose_data_flows_is_in_no_line_any_more(glance):
    body = SlowBody()
    flows = glance.ask(
        'flows', f'{IMAGE}/file', **{'reads': True, 'wsgi.input': body}
    )
    assert body.read_from.wait(10)
    glance.ask('next', f'{IMAGE}/file')
    glance.until_inside('flows', 'next')
    glance.ends['flows'].set()
    body.sent.set()
    flows.join(30)
    assert not flows.is_alive()
    glance.until_inside('next')


def test_a_body_that_uwsgi_reads_in_chunks_is_read_without_a_place(
    glance, allowed, monkeypatch
):
    body = SlowBody()
    uwsgi = types.SimpleNamespace(chunked_read=body.read)
    monkeypatch.setattr(uwsgi_chunks, 'uwsgi', uwsgi)

    def reads(environ, start_response):
        return glance({**environ, 'wsgi.input': Chunks()}, start_response)

    class Chunks:
        def read(self):
            assert uwsgi.chunked_read(30) == b'{}'

    allowed(PLACES)
    glance.application = admission.in_line(reads)
    flows = glance.ask('flows', f'{IMAGE}/file', reads=True)
    assert body.read_from.wait(10)
    glance.ask('next', f'{IMAGE}/file')
    glance.until_inside('flows', 'next')
    body.sent.set()
    # Outside of a request, as what lingers over a body reads it.
    assert uwsgi.chunked_read() == b'{}'
    glance.end_all()
    flows.join(30)


class SlowBody:
    """A body that comes when it is told to."""

    def __init__(self) -> None:
        self.read_from = threading.Event()
        self.sent = threading.Event()

    def read(self, *size):
        self.read_from.set()
        assert self.sent.wait(30)
        return b'{}'

    readline = readlines = read


def test_who_waits_for_a_body_has_no_place_meanwhile(glance):
    body = SlowBody()
    for number in range(PLACES):
        glance.ask(f'slow {number}', **{'reads': True, 'wsgi.input': body})
    slow = [f'slow {number}' for number in range(PLACES)]
    glance.until_inside(*slow)
    assert body.read_from.wait(10)
    quick = glance.ask('quick')
    glance.until_inside(*slow, 'quick')
    glance.ends['quick'].set()
    quick.join(30)
    body.sent.set()
    glance.end_all()


def test_who_has_read_a_body_is_in_line_again(glance):
    body = SlowBody()
    slow = glance.ask('slow', **{'reads': True, 'wsgi.input': body})
    assert body.read_from.wait(10)
    with full(glance, 'slow'):
        body.sent.set()
        glance.until_waiting(1)
    glance.end_all()
    slow.join(30)
    assert not slow.is_alive()


@pytest.mark.parametrize('method', ['read', 'readline', 'readlines'])
def test_a_body_is_read_as_it_is_without_the_line(method):
    read = []

    def reads(environ, start_response):
        read.append(getattr(environ['wsgi.input'], method)(3))
        read.extend(environ['wsgi.input'])
        return []

    data = b'ab\ncdef\n'
    for application in (
        reads,
        admission.InLine(reads, admission.Line(PLACES)),
    ):
        environ = {'PATH_INFO': IMAGE, 'wsgi.input': io.BytesIO(data)}
        application(environ, None)
    half = len(read) // 2
    assert read[:half] == read[half:]
    assert read


def test_who_is_left_of_a_long_line_waits_no_longer_for_the_late(
    glance, monkeypatch
):
    monkeypatch.setattr(admission, 'LONGEST', 0.05)
    stuck = [f'stuck {number}' for number in range(PLACES)]
    with contextlib.ExitStack() as stack:
        for _ in range(PLACES):
            stack.enter_context(glance.line.place())
        patch = stack.enter_context(monkeypatch.context())
        patch.setattr(glance.line, '_take_from_the_late', lambda: None)
        for number in range(100):
            glance.ask(f'quick {number}')
            glance.until_waiting(number + 1)
        glance.end_all()
        for name in (*stuck, 'left'):
            glance.ask(name)
        glance.until_waiting(100 + len(stuck) + 1)
    glance.until_inside(*stuck)
    glance.until_inside(*stuck, 'left', within=2)


def test_a_long_line_looks_for_the_late_as_seldom_as_a_short_one(glance):
    """Each look takes Python from the one that runs."""
    with full(glance):
        for number in range(50):
            glance.ask(f'waiting {number}')
        glance.until_waiting(50)
        looks_each_second = sum(
            1 / glance.line._patience(turn) for _, turn in glance.line._waiting
        )
        assert looks_each_second < 3 / admission.LONGEST
    glance.end_all()


def test_what_takes_too_long_keeps_nobody_waiting(glance, monkeypatch):
    monkeypatch.setattr(admission, 'LONGEST', 0.05)
    with full(glance) as stuck:
        glance.ask('next')
        glance.until_inside(*stuck, 'next')
        # They have no place to give back, but do not take one either.
        glance.end_all()
        glance.until_inside()
    monkeypatch.setattr(admission, 'LONGEST', 60)
    with full(glance):
        glance.ask('one too many')
        glance.until_waiting(1)
