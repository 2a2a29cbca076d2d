"""The sockets of daemon processes, kept while Apache replaces these.

When Apache reads its files again, mod_wsgi removes the sockets first, and the
daemon processes end after that: they still serve what comes in the meantime,
but nobody finds them, and Apache's children answer 503 (wsgi_connect_daemon
in mod_wsgi's wsgi_remote.c). So what was removed is put back, for the children
to bring their last requests to the processes that know them. New ones get a
new socket in its place; there mod_wsgi removes whatever it finds
(wsgi_setup_socket, in wsgi_daemon.c).
"""

import contextlib
import logging
import os
import pathlib
import re
import threading
from collections.abc import Iterator

import psutil

LOG = logging.getLogger(__name__)

_KEPT = '.kept'
_INTERVAL = 0.0005  # seconds between two looks
_SOCKET = re.compile(r'wsgi\.\d+\.\S+\.sock$')


@contextlib.contextmanager
def kept(parent: psutil.Process) -> Iterator[None]:
    """While the block runs, sockets that this Apache removes are put back.

    Each once only: it finds them when it makes the new ones, and does not
    look twice. What it has not made again by the end of the block, it removes
    for good.
    """
    places = _links(parent)
    done = threading.Event()
    watchers = [
        threading.Thread(target=_put_back, args=(*pair, done), daemon=True)
        for pair in places.items()
    ]
    try:
        for watcher in watchers:
            watcher.start()
        yield
    finally:
        done.set()
        for watcher in watchers:
            if watcher.ident is not None:
                watcher.join()
        for name, place in places.items():
            _tidy(name, place, parent)


def _links(parent: psutil.Process) -> dict[pathlib.Path, pathlib.Path]:
    """Another name for each socket, with its place."""
    found = {}
    for place in _sockets(parent):
        name = place.with_name(place.name + _KEPT)
        try:
            name.unlink(missing_ok=True)  # a command was killed
            os.link(place, name)
        except OSError as error:
            # Apache may see another /tmp than we do. It goes without.
            LOG.info('%s: %s', place, error)
        else:
            found[name] = place
    return found


def _put_back(
    name: pathlib.Path, place: pathlib.Path, done: threading.Event
) -> None:
    while not done.wait(_INTERVAL):
        if not os.path.lexists(place):
            # Apache may have been faster.
            with contextlib.suppress(OSError):
                os.link(name, place)
            return


def _tidy(
    name: pathlib.Path, place: pathlib.Path, parent: psutil.Process
) -> None:
    with contextlib.suppress(OSError):
        # Where Apache has not read its files it still listens there.
        if place.samefile(name) and place not in _sockets(parent):
            place.unlink()
    with contextlib.suppress(OSError):
        name.unlink()


def _sockets(parent: psutil.Process) -> list[pathlib.Path]:
    """Those that it has made for daemon processes; not only for ours."""
    try:
        found = parent.net_connections('unix')
    except psutil.Error:
        return []
    names = sorted({item.laddr for item in found if item.laddr})
    return [pathlib.Path(name) for name in names if _SOCKET.search(name)]
