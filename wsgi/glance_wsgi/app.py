"""Builds the Images API as one WSGI application.

The configuration is found as Glance finds it: ``glance-api.conf`` in the
directory that ``OS_GLANCE_CONFIG_DIR`` names, /etc/glance where it is unset.
Glance composes its middleware by Paste.Deploy; what is added here is what
depends on the web server or the database, and has to be around all of that,
and what makes Glance's own parts do with less work.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any

from glance_wsgi import admission
from glance_wsgi import lifecycle
from glance_wsgi import policies
from glance_wsgi import upstream
from glance_wsgi.data import downloads
from glance_wsgi.data import filestore
from glance_wsgi.data import uploads
from glance_wsgi.db import encryption
from glance_wsgi.db import reading
from glance_wsgi.db import sqlite
from glance_wsgi.servers import sending
from glance_wsgi.servers import uwsgi_chunks
from glance_wsgi.servers import uwsgi_continue
from glance_wsgi.servers import uwsgi_lingering
from glance_wsgi.tasks import service

Application = Callable[..., Iterable[bytes]]


def build() -> Application:
    """The Images API, ready to serve.

    :raises errors.GlanceUnsupported: another Glance than we know
    :raises Exception: whatever Glance raises when its configuration is
        wrong; the web server logs it and must not serve
    """
    upstream.version()
    application = _glance()
    # From the inside out: each sees the request before those above it.
    for step in (
        policies.remember,
        encryption.share,
        reading.read_at_once,
        filestore.overlap,
        sqlite.take_turns,
        uploads.outlive_kills,
        functools.partial(downloads.hand_off, sender=sending.sender()),
        service.run_durably,
        admission.in_line,
        uwsgi_lingering.linger,
        uwsgi_continue.answer,
        uwsgi_chunks.in_pieces,
        lifecycle.watch,
    ):
        application = step(application)
    return application


def _glance() -> Any:
    # Imported late: importing Glance registers its options globally, which
    # nothing but a server may do. glance.common.wsgi_app reads the
    # configuration, opens the stores and loads the Paste pipeline.
    from glance.common import wsgi_app

    return wsgi_app.init_app()
