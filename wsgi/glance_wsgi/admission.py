"""A few requests at a time in each process, the others in line.

Python runs one thread at a time, and who has waited for the database waits
again until a thread that runs lets go, after 5 ms (sys.getswitchinterval).
Where many requests run they all take longer, and fewer of them are answered:
most of the time goes into changing from one to the other. So each process
lets in as many as keep it busy, in the order in which they came.

Nobody is in line with a slow client: a place is given up while a body is read.
Transfers of image data have a line of their own, by which one begins at a
time, however many come at once; when their data flows they are in none. What
takes longer than Python mostly needs waits for something else, and keeps
nobody waiting either.
"""

import collections
import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from oslo_config import cfg

from glance_wsgi.conf import admission as options
from glance_wsgi.data import paths
from glance_wsgi.servers import uwsgi_chunks

LONGEST = 0.2
"""Seconds after which a request has its place no longer: most probably it
waits for Keystone, a store or a lock. An image is created within 0.1 seconds
where two do it at a time on busy processors; to let others in then would make
all of them slower still."""

Environ = dict[str, Any]
Application = Callable[..., Iterable[bytes]]


def in_line(application: Application) -> Application:
    """The application, with as many requests in it as its options allow."""
    options.register_opts(cfg.CONF)
    places = cfg.CONF.admission.requests_at_once
    if not places:
        return application
    lined = InLine(application, Line(places))
    uwsgi_chunks.read_by(lined.without_place)
    return lined


class InLine:
    """An application that lets in who has a place in a line.

    :param line: that of all but transfers
    """

    def __init__(self, application: Application, line: 'Line') -> None:
        self._application = application
        self._line = line
        self._transfers = Line(1)
        self._body = threading.local()

    def __call__(
        self, environ: Environ, start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Serve a request when it is its turn: PEP 3333."""
        path = environ.get('PATH_INFO', '')
        # It tells whether this process works, not how busy it is.
        if path == '/healthcheck':
            return self._application(environ, start_response)
        found = paths.find(path)
        transfers = bool(found and found[1] in paths.TRANSFERS)
        line = self._transfers if transfers else self._line
        with line.place() as place:
            # In a copy: a step around this one may read on when the place has
            # been given up.
            body = _Body(environ['wsgi.input'], place, for_good=transfers)
            self._body.left = body.left
            try:
                return self._application(
                    {**environ, 'wsgi.input': body}, start_response
                )
            finally:
                self._body.left = contextlib.nullcontext

    def without_place(self, read: Callable[..., Any]) -> Callable[..., Any]:
        """What reads a body in another way, and needs no place meanwhile."""

        @functools.wraps(read)
        def read_without_place(*words: Any) -> Any:
            with getattr(self._body, 'left', contextlib.nullcontext)():
                return read(*words)

        return read_without_place


class Line:
    """Who is let in, in the order of coming.

    :param places: how many may be in it at a time
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._lock = threading.Lock()
        self._waiting: collections.deque[tuple[Place, threading.Event]] = (
            collections.deque()
        )
        self._since: dict[Place, float] = {}

    @contextlib.contextmanager
    def place(self) -> Iterator['Place']:
        """Wait for a place, and have it while the block runs."""
        place = Place(self)
        self.take(place)
        try:
            yield place
        finally:
            self.give_up(place)

    def take(self, place: 'Place') -> None:
        """Wait for a place."""
        turn = threading.Event()
        with self._lock:
            self._waiting.append((place, turn))
            self._let_in()
        try:
            while not turn.wait(self._patience(turn)):
                self._take_from_the_late()
        except BaseException:
            with self._lock, contextlib.suppress(ValueError):
                self._waiting.remove((place, turn))
            self.give_up(place)
            raise

    def give_up(self, place: 'Place') -> None:
        """Let the next one in; nothing if that has been done."""
        with self._lock:
            self._since.pop(place, None)
            self._let_in()

    def _patience(self, turn: threading.Event) -> float:
        """How long somebody in line waits until it looks for a late one.

        Each look takes Python from the request that runs, so only the last
        one looks often: it is in line for as long as there is a line.
        """
        with self._lock:
            last = not self._waiting or self._waiting[-1][1] is turn
            return LONGEST if last else LONGEST * len(self._waiting)

    def _take_from_the_late(self) -> None:
        late = time.monotonic() - LONGEST
        with self._lock:
            for place, since in list(self._since.items()):
                if since < late:
                    del self._since[place]
            self._let_in()

    def _let_in(self) -> None:
        while self._waiting and len(self._since) < self._places:
            place, turn = self._waiting.popleft()
            self._since[place] = time.monotonic()
            turn.set()


class Place:
    """A place of one request."""

    def __init__(self, line: Line) -> None:
        self._line = line

    @contextlib.contextmanager
    def left(self, for_good: bool = False) -> Iterator[None]:
        """While something is waited for; then the request is in line again.

        :param for_good: it is not
        """
        self._line.give_up(self)
        try:
            yield
        finally:
            if not for_good:
                self._line.take(self)


class _Body:
    """A body that is read without a place: ``wsgi.input`` of PEP 3333.

    :param for_good: whether what follows needs none, either
    """

    def __init__(self, wrapped: Any, place: Place, for_good: bool) -> None:
        self._wrapped = wrapped
        self.left = functools.partial(place.left, for_good)

    def read(self, *size: int) -> bytes:
        with self.left():
            return self._wrapped.read(*size)

    def readline(self, *size: int) -> bytes:
        with self.left():
            return self._wrapped.readline(*size)

    def readlines(self, *hint: int) -> list[bytes]:
        with self.left():
            return self._wrapped.readlines(*hint)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b'')
