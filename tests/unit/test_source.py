"""The source of images that a gate has: one directory, nothing beside it."""

import io
import os
import pathlib
import subprocess
import sys
from wsgiref import util
from wsgiref.validate import validator

import pytest

from glance_wsgi import source


@pytest.fixture
def ask(tmp_path):
    """Asks an application that serves a directory with one file."""
    directory = tmp_path / 'images'
    (directory / 'sub').mkdir(parents=True)
    (directory / 'one.raw').write_bytes(b'x' * 100_000)
    (tmp_path / 'secret').write_text('hidden')
    application = validator(source.serve(directory))

    def asked(path, method='GET'):
        environ = {
            'PATH_INFO': path,
            'REQUEST_METHOD': method,
            'SCRIPT_NAME': '',
        }
        util.setup_testing_defaults(environ)
        environ['wsgi.input'] = io.BytesIO()
        seen = {}

        def start_response(status, headers, exc_info=None):
            seen.update(status=status, headers=dict(headers))

        body = application(environ, start_response)
        try:
            content = b''.join(body)
        finally:
            body.close()
        return seen['status'], seen['headers'], content

    return asked


def test_a_file_is_served_whole_and_with_its_length(ask):
    status, headers, body = ask('/one.raw')
    assert (status, headers['Content-Length']) == ('200 OK', '100000')
    assert body == b'x' * 100_000


def test_its_length_can_be_asked_for_alone(ask):
    status, headers, body = ask('/one.raw', 'HEAD')
    assert (status, headers['Content-Length']) == ('200 OK', '100000')
    assert body == b''


def test_the_root_lists_the_files_and_tells_that_it_serves(ask):
    assert ask('/')[::2] == ('200 OK', b'one.raw\n')


@pytest.mark.parametrize(
    'path',
    ['/two.raw', '/sub', '/../secret', '/sub/../one.raw', '//etc/passwd'],
)
def test_what_is_no_file_of_the_directory_is_not_found(ask, path):
    status, _, body = ask(path)
    assert (status, body) == ('404 Not Found', b'404 Not Found\n')


@pytest.mark.parametrize('method', ['POST', 'PUT', 'DELETE'])
def test_nothing_can_be_written(ask, method):
    assert ask('/one.raw', method)[0] == '405 Method Not Allowed'


def test_the_entry_module_serves_the_directory_of_its_environment(tmp_path):
    (tmp_path / 'image.raw').touch()
    script = (
        'from glance_wsgi import source_api as api\n'
        'print(*api.application({"REQUEST_METHOD": "GET"}, print))'
    )
    result = subprocess.run(
        [sys.executable, '-c', script],
        env={**os.environ, source.DIRECTORY: str(tmp_path)},
        cwd=pathlib.Path('/'),
        capture_output=True,
        text=True,
    )
    assert "b'image.raw\\n'" in result.stdout, result.stderr
