"""Why image data may not be sent by the web server, in files like ours."""

import pathlib
from collections.abc import Iterator

from glance_wsgi.lint import httpd
from glance_wsgi.lint import view
from glance_wsgi.lint.context import Identity
from glance_wsgi.lint.documents import Document
from glance_wsgi.lint.documents import Ini
from glance_wsgi.lint.documents import Kind
from glance_wsgi.lint.findings import Hit
from glance_wsgi.lint.findings import Rule
from glance_wsgi.lint.findings import Severity
from glance_wsgi.lint.view import View
from glance_wsgi.servers import sending

ENTER = 1
NOBODY = 2**32 - 2  # a user id that owns nothing


def _told(document: httpd.Httpd, action: str) -> list[httpd.Directive]:
    """Where Glance is told what Apache sends, or that nobody tells it."""
    return [
        one
        for one in httpd.walk(document.directives)
        if one.name == 'requestheader'
        and [word.lower() for word in one.arguments[:2]] == [action, 'handoff']
    ]


def _by_glance(document: Document, seen: View) -> Iterator[Hit]:
    if isinstance(document, httpd.Httpd):
        unset = _told(document, 'unset')
        if unset and not _told(document, 'set'):
            yield unset[0].place, {}
    elif isinstance(document, Ini) and view.answers_expectations(document):
        socket = document.last('http-socket') or document.last('https-socket')
        behind = socket and socket.value.startswith('/')
        if socket and not behind and not document.last('offload-threads'):
            yield socket.place, {}


def _rights(document: httpd.Httpd, seen: View) -> Iterator[Hit]:
    for one in _told(document, 'set'):
        name, *directories = ' '.join(one.arguments[2:]).split() or ['']
        gid = seen.context.group(name)
        if name == sending.SAME_USER or gid is None:
            continue
        who = Identity(name, NOBODY, frozenset({gid}))
        for directory in map(pathlib.Path, directories):
            if seen.context.stat(directory) is None:
                continue
            if found := seen.context.obstacle(directory, who, ENTER):
                yield one.place, {'name': name, 'path': found}


RULES = (
    Rule(
        'image-data-by-glance',
        Severity.INFO,
        (Kind.APACHE, Kind.UWSGI),
        _by_glance,
        'Glance sends all image data itself.',
        'Each download holds one of its threads as long as the client likes '
        '(https://uwsgi-docs.readthedocs.io/en/latest/OffloadSubsystem.html, '
        'https://tn123.org/mod_xsendfile/).',
        'Under Apache install mod_xsendfile; under uWSGI alone write '
        'offload-threads, for HTTP only. See hand_off_downloads.',
    ),
    Rule(
        'image-data-rights',
        Severity.INFO,
        (Kind.APACHE,),
        _rights,
        'The group {name} of Apache may not enter {path}.',
        'Apache does not send the image data in it, Glance does, and a slow '
        'download holds one of its threads '
        '(https://tn123.org/mod_xsendfile/).',
        'chgrp it to that group with mode 2750, and set '
        'filesystem_store_file_perm = 640.',
    ),
)
