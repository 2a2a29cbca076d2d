"""A source of images for Glance to download: the files of one directory.

A WSGI application (PEP 3333) for tests, hosted as Glance is. It has no
directories, no ranges and no types: Glance asks for none of them.
"""

import pathlib
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref import util

DIRECTORY = 'GLANCE_WSGI_SOURCE'
"""The variable of the environment that names the directory."""

Application = Callable[..., Iterable[bytes]]


def serve(directory: pathlib.Path) -> Application:
    """An application that answers GET and HEAD for each file in a directory.

    Its root lists their names. Nothing else has an answer: a name is looked
    for among those of the directory, so no path leads out of it.
    """

    def application(
        environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        method = environ['REQUEST_METHOD']
        if method not in ('GET', 'HEAD'):
            return _text(start_response, '405 Method Not Allowed', method)
        files = {
            item.name: item for item in directory.iterdir() if item.is_file()
        }
        name = environ.get('PATH_INFO', '').lstrip('/')
        if not name:
            return _text(start_response, '200 OK', method, sorted(files))
        if name not in files:
            return _text(start_response, '404 Not Found', method)
        headers = [
            ('Content-Type', 'application/octet-stream'),
            ('Content-Length', str(files[name].stat().st_size)),
        ]
        start_response('200 OK', headers)
        if method == 'HEAD':
            return []
        wrap = environ.get('wsgi.file_wrapper', util.FileWrapper)
        return wrap(files[name].open('rb'), 65536)

    return application


def _text(
    start_response: Callable[..., Any],
    status: str,
    method: str,
    lines: Iterable[str] = (),
) -> list[bytes]:
    body = ''.join(f'{line}\n' for line in lines or [status]).encode()
    headers = [
        ('Content-Type', 'text/plain; charset=utf-8'),
        ('Content-Length', str(len(body))),
    ]
    start_response(status, headers)
    return [] if method == 'HEAD' else [body]
