"""The step that hands downloads off, with a Glance and a server of ours."""

import inspect
import pathlib
import time

import pytest
from oslo_config import cfg

from glance_wsgi.data import downloads
from glance_wsgi.data import regions
from glance_wsgi.data import tickets

ID = '11111111-2222-3333-4444-555555555555'
DATA = bytes(range(256)) * 300
SIZE = len(DATA)


class Body:
    """Pieces of an answer, which knows what has become of it."""

    def __init__(self, pieces):
        self.pieces = pieces
        self.ended = self.closed = False

    def __iter__(self):
        yield from self.pieces
        self.ended = True

    def close(self):
        self.closed = True


class Glance:
    """A WSGI application that answers with a part of a file."""

    def __init__(self, path):
        self.path = path
        self.status, self.span = '200 OK', (0, SIZE)
        self.changes = {}

    def __call__(self, environ, start_response):
        start, end = self.span
        headers = {
            'Content-Type': 'application/octet-stream',
            'Content-Length': str(end - start),
            **self.changes,
        }
        if self.status.startswith('206'):
            headers['Content-Range'] = f'bytes {start}-{end - 1}/{SIZE}'
        start_response(self.status, list(headers.items()))
        self.body = Body(self.pieces())
        return self.body

    def pieces(self):
        with self.path.open('rb') as file:
            file.seek(self.span[0])
            length = self.span[1] - self.span[0]
            region = regions._found(file, length)
            if region is not None:
                yield region
            else:
                yield file.read(length)


class Server:
    """A web server that sends what it gets, or refuses to."""

    refuses = False

    def __init__(self):
        self.sent = []

    def serves(self, environ):
        return 'served' in environ

    def send(self, download, environ, start_response):
        if self.refuses:
            return None
        start_response(download.status, download.headers)
        self.sent.append(b''.join(download.region.pieces()))
        return [b'handed off']


@pytest.fixture
def glance(tmp_path):
    (tmp_path / ID).write_bytes(DATA)
    return Glance(tmp_path / ID)


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def ask(glance, server, tmp_path):
    """Asks for the image's data; status, headers, and the body's pieces."""
    step = downloads.Downloads(glance, server, frozenset({str(tmp_path)}))

    def asked(method='GET', path=f'/v2/images/{ID}/file', **environ):
        started = []
        environ = {
            'REQUEST_METHOD': method,
            'PATH_INFO': path,
            'served': True,
            **environ,
        }
        body = step(environ, lambda *words: started.append(words[:2]))
        pieces = list(body)
        if hasattr(body, 'close'):
            body.close()
        ((status, headers),) = started
        return status, dict(headers), pieces

    return asked


def test_a_whole_image_is_handed_off(ask, glance, server):
    status, headers, pieces = ask()
    assert (status, pieces) == ('200 OK', [b'handed off'])
    assert headers['Content-Length'] == str(SIZE)
    assert server.sent == [DATA]


def test_glance_does_what_it_does_at_the_end(ask, glance):
    ask()
    assert glance.body.ended
    assert glance.body.closed


def test_a_range_is_handed_off(ask, glance, server):
    glance.status, glance.span = '206 Partial Content', (5, 900)
    ask()
    assert server.sent == [DATA[5:900]]


def assert_glances_own(ask, glance, server):
    _, _, pieces = ask()
    assert b''.join(pieces) == DATA[slice(*glance.span)]
    assert server.sent == []
    assert glance.body.ended
    assert glance.body.closed


def test_what_the_server_refuses_comes_from_glance(ask, glance, server):
    server.refuses = True
    assert_glances_own(ask, glance, server)


@pytest.mark.parametrize(
    'changes',
    [
        {'Content-Length': str(SIZE + 1)},
        {'Content-Encoding': 'gzip'},
        {'Content-Type': 'application/json'},
    ],
)
def test_what_is_no_simple_answer_comes_from_glance(
    ask, glance, server, changes
):
    glance.changes = changes
    assert_glances_own(ask, glance, server)


def test_a_part_that_is_told_as_all_comes_from_glance(ask, glance, server):
    glance.span = (0, SIZE - 1)
    assert_glances_own(ask, glance, server)


@pytest.mark.parametrize('status', ['204 No Content', '404 Not Found'])
def test_an_answer_without_data_is_left_alone(ask, glance, server, status):
    glance.status = status
    assert ask()[0] == status
    assert server.sent == []


@pytest.mark.parametrize(
    ('method', 'path'),
    [
        ('PUT', f'/v2/images/{ID}/file'),
        ('HEAD', f'/v2/images/{ID}/file'),
        ('GET', f'/v2/images/{ID}'),
        ('GET', f'/v2/images/{ID}/stage'),
        ('GET', '/v2/images/x/file'),
    ],
)
def test_another_request_is_left_alone(ask, server, method, path):
    ask(method, path)
    assert server.sent == []


def test_a_server_that_cannot_send_this_one_is_not_asked(
    glance, server, tmp_path
):
    step = downloads.Downloads(glance, server, frozenset({str(tmp_path)}))
    environ = {
        'REQUEST_METHOD': 'GET',
        'PATH_INFO': f'/v2/images/{ID}/file',
    }
    assert b''.join(step(environ, lambda *words: None)) == DATA
    assert server.sent == []


def test_who_changes_the_data_is_told_and_sends_nothing(ask, glance, server):
    def changed():
        for piece in Glance.pieces(glance):
            yield bytes(piece)

    glance.pieces = changed
    with pytest.raises(regions.Misused):
        ask()
    assert glance.body.closed
    assert server.sent == []


def test_an_end_that_fails_leaves_the_client_its_data(ask, glance, server):
    def failing():
        yield from Glance.pieces(glance)
        raise OSError('no notification')

    glance.pieces = failing
    assert ask()[2] == [b'handed off']
    assert glance.body.closed


def test_what_an_ended_process_left_is_removed_where_nothing_is_sent(
    monkeypatch, glance, tmp_path
):
    made = cfg.ConfigOpts()
    monkeypatch.setattr(cfg, 'CONF', made)
    monkeypatch.setattr(downloads, 'directories', lambda conf: [str(tmp_path)])
    left = tmp_path / tickets.DIRECTORY / '1000000000-x'
    left.parent.mkdir()
    left.touch()
    made([])
    assert downloads.hand_off(glance, None) is glance
    deadline = time.monotonic() + 30
    while left.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def configured(tmp_path, text, stores=None):
    file = tmp_path / 'glance-api.conf'
    file.write_text(inspect.cleandoc(text))
    return list(map(str, downloads.configured(file, stores)))


MINE = {'fast': pathlib.Path('/mine')}


@pytest.mark.parametrize(
    ('text', 'stores', 'expected'),
    [
        pytest.param('', MINE, ['/mine'], id='nothing'),
        pytest.param('', None, ['/var/lib/glance/images'], id='old'),
        pytest.param(
            '[DEFAULT]\nimage_cache_dir = /cache/', MINE, ['/mine', '/cache']
        ),
        pytest.param(
            '[fast]\nfilesystem_store_datadir = /else', MINE, ['/else']
        ),
        pytest.param(
            '[fast]\nfilesystem_store_datadirs = /a:9\n'
            'filesystem_store_datadirs = /b',
            MINE,
            ['/a', '/b'],
        ),
        pytest.param(
            '[DEFAULT]\nenabled_backends = a:file,b:http,c:file\n'
            '[a]\nfilesystem_store_datadir = /a\n'
            '[c]\nfilesystem_store_datadir = /c',
            None,
            ['/a', '/c'],
        ),
        pytest.param(
            '[transfers]\nhand_off_downloads = false', MINE, [], id='off'
        ),
        pytest.param('[downloads\n', MINE, [], id='broken'),
        pytest.param('[DEFAULT]\nenabled_backends = a:http', MINE, []),
    ],
)
def test_it_is_known_what_is_sent_before_glance_is_loaded(
    tmp_path, text, stores, expected
):
    assert configured(tmp_path, text, stores) == expected


def test_a_file_that_is_not_there_says_nothing(tmp_path):
    found = downloads.configured(tmp_path / 'none', MINE)
    assert found == [pathlib.Path('/mine')]
