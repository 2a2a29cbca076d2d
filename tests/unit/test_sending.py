"""How Apache and uWSGI are told to send a file, without one of them."""

import os
import socket
import types

import pytest
from hypothesis import example
from hypothesis import given
from hypothesis import strategies as st
from webob import byterange

from glance_wsgi.data import downloads
from glance_wsgi.data import regions
from glance_wsgi.servers import sending

DATA = b'0123456789'
SIZE = len(DATA)


class Started:
    """A start_response that remembers."""

    def __call__(self, status, headers, exc_info=None):
        self.status, self.headers = status, dict(headers)


@pytest.fixture
def started():
    return Started()


def download(path, start=0, length=None, partial=False):
    with path.open('rb') as file:
        file.seek(start)
        region = regions.Region.of(file, length)
    headers = [
        ('Content-Type', 'application/octet-stream'),
        ('Content-MD5', 'abc'),
        ('Content-Length', str(len(region))),
    ]
    if partial:
        span = f'bytes {region.offset}-{region.end - 1}/{region.size}'
        headers.append(('Content-Range', span))
    status = '206 Partial Content' if partial else '200 OK'
    return downloads.Download(status, headers, region)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / 'image'
    path.write_bytes(DATA)
    return path


@pytest.fixture
def environ(path):
    return {sending.HEADER: f'same-user /other {path.parent}'}


def test_only_a_request_that_apache_has_marked_is_served():
    sender = sending.XSendfile()
    assert sender.serves({sending.HEADER: 'same-user /a'})
    assert not sender.serves({})


def test_apache_gets_a_name_and_none_of_the_lengths(path, environ, started):
    body = sending.XSendfile().send(download(path), environ, started)
    assert b''.join(body) == b''
    ticket = started.headers.pop('X-Sendfile')
    assert os.path.samefile(ticket, path)
    assert started.status == '200 OK'
    assert started.headers == {
        'Content-Type': 'application/octet-stream',
        'Content-MD5': 'abc',
        'Content-Length': '0',
    }


def test_apache_gets_no_name_in_a_directory_that_it_does_not_send(
    path, started
):
    environ = {sending.HEADER: f'same-user /other {path.parent.parent}'}
    sent = sending.XSendfile().send(download(path), environ, started)
    assert sent is None
    assert not vars(started)


def test_apache_gets_no_name_that_its_user_cannot_read(path, started):
    environ = {sending.HEADER: f'nogroup {path.parent}'}
    path.chmod(0o600)
    assert sending.XSendfile().send(download(path), environ, started) is None
    assert not vars(started)


def test_apache_gets_no_name_where_its_group_is_unknown(path, started):
    environ = {sending.HEADER: f'no-such-group {path.parent}'}
    path.chmod(0o644)
    assert sending.XSendfile().send(download(path), environ, started) is None


def test_apache_cuts_a_range_itself(path, environ, started):
    environ['HTTP_RANGE'] = 'bytes=2-4'
    wanted = download(path, 2, 3, partial=True)
    assert sending.XSendfile().send(wanted, environ, started) is not None
    assert started.status == '200 OK'
    assert 'Content-Range' not in started.headers


def test_apache_cuts_nothing_that_was_asked_for_in_another_way(
    path, environ, started
):
    environ['HTTP_CONTENT_RANGE'] = 'bytes 2-4/10'
    wanted = download(path, 2, 3, partial=True)
    assert sending.XSendfile().send(wanted, environ, started) is None


def test_apache_would_cut_what_glance_has_not(path, environ, started):
    environ['HTTP_RANGE'] = 'bytes=2-4'
    assert sending.XSendfile().send(download(path), environ, started) is None


def glances(text):
    """What Glance makes of a range, by webob; None if it refuses it."""
    try:
        found = byterange.Range.parse(text)
    except ValueError:  # it fails: "bytes=-"
        return None
    if ',' in text or found is None or found.start >= SIZE:
        return None
    start, end = found.start, found.end
    if start < 0:
        start = SIZE + start if abs(start) < SIZE else 0
    return start, min(end, SIZE) if end is not None else SIZE


numbers = st.integers(0, 2 * SIZE).map(str) | st.sampled_from(['', '007', 'x'])


@given(start=numbers, last=numbers, space=st.sampled_from(['', ' ']))
@example('', '0', '')
@example('0', '9', '')
@example('9', '9', '')
def test_a_range_is_left_to_apache_only_where_both_mean_the_same(
    start, last, space
):
    text = f'bytes={start}-{space}{last}'
    expected = glances(text)
    found = sending._RANGE.fullmatch(text)
    span = found and sending._span(found[1], found[2], SIZE)
    if expected is not None and span and span[0] < span[1]:
        assert span == expected


class UWSGI(types.SimpleNamespace):
    """What an application sees of uWSGI."""

    def __init__(self, **options):
        opt = {
            name.replace('_', '-'): value for name, value in options.items()
        }
        super().__init__(opt=opt, atexit=lambda: self.ended.append('glance'))
        self.ended = []
        self.sent = []

    def connection_fd(self):
        return self.connection.fileno()

    def sendfile(self, *words):
        self.sent.append(words)


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({'http_socket': b':80', 'offload_threads': b'1'}, sending.Offload),
        ({'http_socket': b':80'}, type(None)),
        ({'http_socket': b'/run/glance.sock'}, sending.XSendfile),
        ({'https_socket': b':443', 'offload_threads': b'1'}, type(None)),
        ({'http': b':80', 'offload_threads': b'1'}, type(None)),
    ],
)
def test_uwsgi_sends_only_what_goes_to_the_client_as_it_is(
    monkeypatch, options, expected
):
    monkeypatch.setattr(sending, 'uwsgi', UWSGI(**options))
    assert type(sending.sender()) is expected


def test_an_unknown_server_sends_nothing(monkeypatch):
    monkeypatch.setattr(sending, 'uwsgi', None)
    assert sending.sender() is None


@pytest.fixture
def server(monkeypatch):
    server = UWSGI(socket_timeout=b'7')
    server.connection, other = socket.socketpair()
    monkeypatch.setattr(sending, 'uwsgi', server)
    monkeypatch.setattr(sending, '_limit_stall', lambda *words: None)
    yield server
    server.connection.close()
    other.close()


@pytest.mark.parametrize(('start', 'length'), [(0, None), (4, None), (4, 6)])
def test_uwsgi_gets_an_open_file_with_an_offset_and_a_length(
    server, path, started, start, length
):
    wanted = download(path, start, length, partial=bool(start))
    assert sending.Offload().send(wanted, {}, started) == []
    ((descriptor, chunk, offset, size),) = server.sent
    assert (chunk, offset, size) == (0, start, SIZE - start)
    assert os.pread(descriptor, SIZE, offset) == DATA[start:]
    os.close(descriptor)
    assert started.status == wanted.status
    assert started.headers == dict(wanted.headers)


def test_uwsgi_would_send_too_much_of_what_ends_before_the_file(
    server, path, started
):
    wanted = download(path, 2, 3, partial=True)
    assert sending.Offload().send(wanted, {}, started) is None
    assert not vars(started)


def test_a_worker_ends_when_all_has_been_sent_and_not_before(
    server, path, started
):
    sender = sending.Offload()
    sender.send(download(path), {}, started)
    (descriptor, *_), *_ = server.sent
    assert any(map(sending._is_open, sender._running))
    # Another file with the same number is not waited for.
    other = os.open(path.parent, os.O_RDONLY)
    os.dup2(other, descriptor)
    server.atexit()
    assert server.ended == ['glance']
    os.close(other)
    os.close(descriptor)
