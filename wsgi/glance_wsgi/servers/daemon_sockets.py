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
import os
import pathlib
import re
import threading
from collections.abc import Iterator

import psutil

_KEPT = '.kept'
_INTERVAL = 0.0005  # seconds between two looks
_SOCKET = re.compile(r'wsgi\.\d+\.\S+\.sock$')


@contextlib.contextmanager
def kept(parent: psutil.Process) -> Iterator[None]:
    """While the block runs, sockets that this Apache removes are put back.

    Each once only: it finds them when it makes the new ones, and does not
    look twice.
    """
    done = threading.Event()
    with contextlib.ExitStack() as stack:
        for place in _sockets(parent):
            name = place.with_name(place.name + _KEPT)
            name.unlink(missing_ok=True)  # a command was killed
            os.link(place, name)
            stack.callback(name.unlink, missing_ok=True)
            watcher = threading.Thread(
                target=_put_back, args=(name, place, done)
            )
            watcher.start()
            stack.callback(watcher.join)
        stack.callback(done.set)
        yield


def _put_back(
    name: pathlib.Path, place: pathlib.Path, done: threading.Event
) -> None:
    while not done.wait(_INTERVAL):
        if not os.path.lexists(place):
            # Apache may have been faster.
            with contextlib.suppress(FileExistsError):
                os.link(name, place)
            return


def _sockets(parent: psutil.Process) -> list[pathlib.Path]:
    """Those that it has made for daemon processes; not only for ours."""
    try:
        found = parent.net_connections('unix')
    except psutil.Error:
        return []
    names = sorted({item.laddr for item in found if item.laddr})
    return [pathlib.Path(name) for name in names if _SOCKET.search(name)]
