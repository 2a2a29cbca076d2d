"""Builds the Images API as one WSGI application.

The configuration is found as Glance finds it: ``glance-api.conf`` in the
directory that ``OS_GLANCE_CONFIG_DIR`` names, /etc/glance where it is unset.
Middleware is composed by Paste.Deploy: the ``[paste_deploy] config_file`` of
that configuration names our ini file, which wraps the one of the installed
Glance.
"""

from collections.abc import Callable, Iterable
from typing import Any

from glance_wsgi import upstream
from glance_wsgi.data import uploads
from glance_wsgi.db import sqlite

Application = Callable[..., Iterable[bytes]]


def build() -> Application:
    """The Images API, ready to serve.

    :raises errors.GlanceUnsupported: another Glance than we know
    :raises Exception: whatever Glance raises when its configuration is
        wrong; the web server logs it and must not serve
    """
    upstream.version()
    return uploads.outlive_kills(sqlite.take_turns(_glance()))


def _glance() -> Any:
    # Imported late: importing Glance registers its options globally, which
    # nothing but a server may do. glance.common.wsgi_app reads the
    # configuration, opens the stores and loads the Paste pipeline.
    from glance.common import wsgi_app

    return wsgi_app.init_app()
