"""Bodies in chunks under uWSGI, which Glance does not read by wsgi.input.

It reads them by uWSGI's own call.
https://uwsgi-docs.readthedocs.io/en/latest/Chunked.html
"""

from collections.abc import Callable
from typing import Any

try:
    import uwsgi
except ImportError:  # elsewhere Glance reads all bodies by wsgi.input
    uwsgi = None

Read = Callable[..., Any]


def read_by(around: Callable[[Read], Read]) -> None:
    """Have chunks be read by what `around` makes of uWSGI's call."""
    if uwsgi is not None:
        uwsgi.chunked_read = around(uwsgi.chunked_read)
