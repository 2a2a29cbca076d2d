"""A large chunk, which Glance gets in pieces under uWSGI."""

import types

import pytest

from glance_wsgi.servers import uwsgi_chunks
from glance_wsgi.servers.uwsgi_chunks import PIECE


@pytest.fixture
def uwsgi(monkeypatch):
    """What uWSGI has of a body: `chunks`, the next one first."""
    module = types.SimpleNamespace(chunks=[], timeouts=[])

    def chunked_read(*timeout):
        module.timeouts.append(timeout)
        return module.chunks.pop(0) if module.chunks else b''

    module.chunked_read = chunked_read
    monkeypatch.setattr(uwsgi_chunks, 'uwsgi', module)
    return module


def reading(uwsgi, times):
    """An application that reads so often, and answers what it has read."""

    def application(environ, start_response):
        return [uwsgi.chunked_read(30) for _ in range(times)]

    return uwsgi_chunks.in_pieces(application)


def test_a_large_chunk_comes_in_pieces_and_is_read_once(uwsgi):
    large = bytes(range(256)) * (PIECE // 256) * 3 + b'the end'
    uwsgi.chunks = [b'small', large, b'last']
    pieces = reading(uwsgi, 7)({}, None)
    assert [len(piece) for piece in pieces] == [5, *[PIECE] * 3, 7, 4, 0]
    assert b''.join(pieces) == b'small' + large + b'last'
    assert uwsgi.timeouts == [(30,)] * 4


def test_what_a_request_has_not_read_is_not_the_next_ones(uwsgi):
    application = reading(uwsgi, 1)
    uwsgi.chunks = [b'a' * PIECE * 2]
    assert application({}, None) == [b'a' * PIECE]
    uwsgi.chunks = [b'b']
    assert application({}, None) == [b'b']


def test_what_is_read_behind_an_answer_is_not_the_next_ones(uwsgi):
    application = reading(uwsgi, 1)
    uwsgi.chunks = [b'a', b'b' * PIECE * 2]
    application({}, None)
    uwsgi.chunked_read()
    assert application({}, None) == [b'']


def test_a_request_that_fails_leaves_nothing(uwsgi):
    def fails(environ, start_response):
        uwsgi.chunked_read()
        raise RuntimeError

    application = uwsgi_chunks.in_pieces(fails)
    uwsgi.chunks = [b'a' * PIECE * 2]
    with pytest.raises(RuntimeError):
        application({}, None)
    assert uwsgi.chunked_read() == b''


def test_elsewhere_the_application_is_as_it_was(monkeypatch):
    monkeypatch.setattr(uwsgi_chunks, 'uwsgi', None)
    assert uwsgi_chunks.in_pieces(print) is print
