"""Expect: 100-continue, over a real connection.

uWSGI itself is the one thing that isn't real: its module exists inside a
uWSGI process only, and all that is used of it is connection_fd() and
chunked_read().
"""

import concurrent.futures
import io
import socket
import threading
import types

import pytest

from glance_wsgi.servers import uwsgi_chunks
from glance_wsgi.servers import uwsgi_continue

ANSWER = b'HTTP/1.1 100 Continue\r\n\r\n'


@pytest.fixture
def client(monkeypatch):
    """The client's end of the connection that a request came by."""
    near, far = socket.socketpair()
    with near, far:
        far.setblocking(False)
        chunks = iter([b'one', b'two', b''])
        module = types.SimpleNamespace(
            opt={b'http-socket': b'127.0.0.1:9292'},
            connection_fd=near.fileno,
            chunked_read=lambda *timeout: next(chunks),
        )
        for user in (uwsgi_continue, uwsgi_chunks):
            monkeypatch.setattr(user, 'uwsgi', module)
        yield far


def heard(client):
    """What has arrived at the client so far."""
    try:
        return client.recv(1000)
    except BlockingIOError:
        return b''


def environ(**headers):
    return {
        'wsgi.input': io.BytesIO(b'one\ntwo\n'),
        **headers,
    }


def call(application, **headers):
    wrapped = uwsgi_continue.answer(application)
    return wrapped(environ(**headers), lambda status, headers: None)


EXPECTING = {'HTTP_EXPECT': '100-continue'}


@pytest.mark.parametrize(
    ('read', 'body'),
    [
        (lambda body: body.read(), b'one\ntwo\n'),
        (lambda body: body.read(3), b'one'),
        (lambda body: body.readline(), b'one\n'),
        (lambda body: body.readlines(), [b'one\n', b'two\n']),
        (lambda body: list(body), [b'one\n', b'two\n']),
    ],
    ids=['read', 'read some', 'readline', 'readlines', 'iterate'],
)
def test_the_body_is_invited_by_whatever_reads_it_first(client, read, body):
    def application(environ, start_response):
        assert heard(client) == b''
        assert read(environ['wsgi.input']) == body
        assert heard(client) == ANSWER
        return [b'stored']

    assert call(application, **EXPECTING) == [b'stored']


def test_the_body_is_invited_once_only(client):
    def application(environ, start_response):
        for _ in range(4):
            environ['wsgi.input'].read(2)
        return []

    call(application, **EXPECTING)
    assert heard(client) == ANSWER


def test_a_refused_upload_is_never_invited(client):
    call(lambda environ, start_response: [b'401'], **EXPECTING)
    assert heard(client) == b''


def test_a_client_that_expects_nothing_gets_nothing(client):
    def application(environ, start_response):
        return [environ['wsgi.input'].read()]

    assert call(application) == [b'one\ntwo\n']
    assert heard(client) == b''


def test_the_header_may_be_written_in_any_case(client):
    def application(environ, start_response):
        return [environ['wsgi.input'].read()]

    call(application, HTTP_EXPECT='100-Continue')
    assert heard(client) == ANSWER


CHUNKED = {**EXPECTING, 'HTTP_TRANSFER_ENCODING': 'chunked'}


def test_a_chunked_body_is_invited_once_by_the_first_read(client):
    """It is read by uWSGI's own call, past wsgi.input."""

    def application(environ, start_response):
        assert heard(client) == b''
        assert uwsgi_continue.uwsgi.chunked_read(30) == b'one'
        assert heard(client) == ANSWER
        assert uwsgi_continue.uwsgi.chunked_read() == b'two'
        assert heard(client) == b''
        return []

    call(application, **CHUNKED)


def test_a_refused_chunked_upload_is_never_invited(client):
    call(lambda environ, start_response: [b'401'], **CHUNKED)
    assert heard(client) == b''


def test_a_chunked_body_that_nobody_announced_is_read_without_a_word(client):
    def application(environ, start_response):
        assert uwsgi_continue.uwsgi.chunked_read() == b'one'
        return []

    call(application, HTTP_TRANSFER_ENCODING='chunked')
    assert heard(client) == b''


def test_the_next_request_of_a_thread_is_not_taken_for_the_last_one(client):
    """One that was refused has left its invitation unsent."""

    def application(environ, start_response):
        if 'HTTP_EXPECT' not in environ:
            uwsgi_continue.uwsgi.chunked_read()
        return []

    wrapped = uwsgi_continue.answer(application)
    wrapped(environ(**CHUNKED), None)
    wrapped(environ(), None)
    assert heard(client) == b''


def test_requests_of_two_threads_are_kept_apart(client):
    """The second one, which expects, comes while the first has yet to read."""
    begun, go = threading.Event(), threading.Event()

    def application(environ, start_response):
        if 'HTTP_EXPECT' in environ:
            go.set()
            return []
        begun.set()
        assert go.wait(10)
        return [uwsgi_continue.uwsgi.chunked_read()]

    wrapped = uwsgi_continue.answer(application)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        first = pool.submit(wrapped, environ(), None)
        assert begun.wait(10)
        wrapped(environ(**CHUNKED), None)
        assert first.result() == [b'one']
    assert heard(client) == b''


@pytest.mark.parametrize('headers', [EXPECTING, CHUNKED])
def test_an_encrypted_connection_is_never_written_to(client, headers):
    """What is written there would have to be encrypted."""

    def application(environ, start_response):
        uwsgi_continue.uwsgi.chunked_read()
        return [environ['wsgi.input'].read()]

    uwsgi_continue.uwsgi.opt = {'https-socket': b'127.0.0.1:9292,a,b'}
    assert call(application, **headers) == [b'one\ntwo\n']
    assert heard(client) == b''


def test_under_any_other_server_nothing_is_around_the_application(
    monkeypatch,
):
    monkeypatch.setattr(uwsgi_continue, 'uwsgi', None)

    def application(environ, start_response):
        return []

    assert uwsgi_continue.answer(application) is application
