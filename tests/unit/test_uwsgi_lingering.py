"""What is read after a refusal, without uWSGI.

uWSGI's module exists inside a uWSGI process only; all that is used of it is
chunked_read() and connection_fd(). More is in functional/test_uploads.py.
"""

import io
import socket
import types

import pytest

from glance_wsgi.servers import uwsgi_lingering
from glance_wsgi.servers.uwsgi_lingering import PIECE


@pytest.fixture
def connection():
    """The server's end of a connection whose client sends nothing more."""
    near, far = socket.socketpair()
    with near, far:
        yield near


@pytest.fixture
def chunks(monkeypatch, connection):
    """The chunks of a body that uWSGI has not been asked for yet."""
    left = [b'one', b'two', b'']
    module = types.SimpleNamespace(
        chunked_read=lambda: left.pop(0), connection_fd=connection.fileno
    )
    monkeypatch.setattr(uwsgi_lingering, 'uwsgi', module)
    return left


def answer(status, body, **headers):
    """The pieces of an answer, as a server takes them."""

    def application(environ, start_response):
        start_response(status, [])
        return [b'no', b'thanks']

    lingering = uwsgi_lingering.linger(application)
    environ = {'wsgi.input': body, 'CONTENT_LENGTH': '200000', **headers}
    return iter(lingering(environ, lambda status, headers: None))


def test_a_refusal_is_sent_first_and_then_the_body_is_read_to_its_end(chunks):
    body = io.BytesIO(bytes(3 * PIECE + 1))
    pieces = answer('413 Too Large', body)
    assert [next(pieces), next(pieces)] == [b'no', b'thanks']
    assert body.tell() == 0
    assert list(pieces) == []
    assert body.tell() == 3 * PIECE + 1


def test_a_chunked_body_is_read_by_uwsgis_own_call(chunks):
    pieces = answer('400 Bad', None, HTTP_TRANSFER_ENCODING='chunked')
    assert list(pieces) == [b'no', b'thanks']
    assert chunks == []


def test_what_is_no_refusal_is_left_as_it_is(chunks):
    body = io.BytesIO(bytes(PIECE))
    assert list(answer('200 OK', body)) == [b'no', b'thanks']
    assert body.tell() == 0


def test_a_body_that_was_not_invited_is_not_waited_for(chunks):
    body = types.SimpleNamespace(awaited=True)
    assert list(answer('401 Unauthorized', body)) == [b'no', b'thanks']


def test_a_client_that_never_ends_is_left_after_a_while(chunks, monkeypatch):
    monkeypatch.setattr(uwsgi_lingering, 'LONGEST', 0.1)
    body = types.SimpleNamespace(read=lambda size: b'more')
    assert list(answer('413 Too Large', body)) == [b'no', b'thanks']


def test_a_client_that_dribbles_is_left_after_a_while(
    chunks, monkeypatch, connection
):
    """uWSGI's read comes back when it has all that it was asked for."""
    monkeypatch.setattr(uwsgi_lingering, 'LONGEST', 0.1)

    def read(size):
        if not connection.recv(size):
            raise OSError('error during read(65536) on wsgi.input')

    body = types.SimpleNamespace(read=read)
    assert list(answer('401 Unauthorized', body)) == [b'no', b'thanks']


def test_a_request_without_a_body_is_not_read(chunks):
    nothing = {'CONTENT_LENGTH': ''}
    assert list(answer('404 Not Found', None, **nothing)) == [b'no', b'thanks']


def test_a_client_that_is_gone_is_no_error(chunks):
    def read(size):
        raise OSError('error during read(65536) on wsgi.input')

    body = types.SimpleNamespace(read=read)
    assert list(answer('413 Too Large', body)) == [b'no', b'thanks']


def test_the_answer_is_closed(chunks):
    closed = []

    class Body(list):
        def close(self):
            closed.append(True)

    def application(environ, start_response):
        start_response('413 Too Large', [])
        return Body([b'no'])

    body = {'wsgi.input': io.BytesIO()}
    uwsgi_lingering.linger(application)(body, lambda *words: None).close()
    assert closed


def test_under_any_other_server_the_application_is_unchanged(monkeypatch):
    monkeypatch.setattr(uwsgi_lingering, 'uwsgi', None)
    assert uwsgi_lingering.linger(print) is print
