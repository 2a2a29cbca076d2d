"""Expect: 100-continue, over a real connection.

uWSGI itself is the one thing that isn't real: its module exists inside a
uWSGI process only, and all that the filter uses of it is connection_fd().
"""

import io
import socket
import types

import pytest

from glance_wsgi.servers import uwsgi_continue

ANSWER = b'HTTP/1.1 100 Continue\r\n\r\n'


@pytest.fixture
def client(monkeypatch):
    """The client's end of the connection that a request came by."""
    near, far = socket.socketpair()
    with near, far:
        far.setblocking(False)
        module = types.SimpleNamespace(connection_fd=near.fileno)
        monkeypatch.setattr(uwsgi_continue, 'uwsgi', module)
        yield far


def heard(client):
    """What has arrived at the client so far."""
    try:
        return client.recv(1000)
    except BlockingIOError:
        return b''


def call(application, **headers):
    environ = {'wsgi.input': io.BytesIO(b'one\ntwo\n'), **headers}
    wrapped = uwsgi_continue.filter_factory({})(application)
    return wrapped(environ, lambda status, headers: None)


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


def test_a_chunked_body_is_invited_at_once(client):
    """It is read by uWSGI's own call, past wsgi.input."""

    def application(environ, start_response):
        assert heard(client) == ANSWER
        environ['wsgi.input'].read()
        assert heard(client) == b''
        return []

    call(application, HTTP_TRANSFER_ENCODING='Chunked', **EXPECTING)


def test_under_any_other_server_there_is_no_filter(monkeypatch):
    monkeypatch.setattr(uwsgi_continue, 'uwsgi', None)

    def application(environ, start_response):
        return []

    assert uwsgi_continue.filter_factory({})(application) is application
