"""Work on a stream of data that overlaps, each kind in a thread of its own.

hashlib and files release Python's lock while they work on a large piece. So
while one piece is read from the network, the one before it is hashed twice
and written at the same time. The pieces stay in order, and only so many wait:
whoever brings more has to wait too, and with it the client.
"""

import collections
from collections.abc import Callable
from concurrent import futures
from typing import Any

PIECE = 256 * 1024
"""Bytes that are handed over at once. With fewer the threads are busy with
each other; with more a piece has left the processor's cache before the next
thread comes to it."""

LARGEST = 1024 * 1024
"""Bytes of a piece at most, where a store is told to work in large ones."""

DEPTH = 4
"""Pieces that wait for each kind of work."""

MEMORY = (DEPTH + 4) * LARGEST
"""Bytes that one stream takes at most: the pieces that wait, and up to four
copies of the one that is on its way through the web server and Glance."""


class Stage:
    """Calls that are made one after the other, in another thread."""

    def __init__(self) -> None:
        self._executor = futures.ThreadPoolExecutor(1, 'pipeline')
        self._pending: collections.deque[futures.Future[Any]] = (
            collections.deque()
        )
        self._threads = True

    def do(self, call: Callable[..., Any], *words: Any) -> None:
        """Have a call made after those before it.

        :raises Exception: what an earlier call has raised
        """
        if len(self._pending) >= DEPTH:
            self._pending.popleft().result()
        if self._threads:
            try:
                self._pending.append(self._executor.submit(call, *words))
                return
            except RuntimeError:
                # Python is about to end and begins no thread any more. What
                # runs then, an import for example, is finished without.
                self._threads = False
        self.finish()
        call(*words)

    def finish(self) -> None:
        """Wait until every call has been made.

        :raises Exception: what the first one that failed has raised
        """
        while self._pending:
            self._pending.popleft().result()

    def close(self) -> None:
        """Make no further call, and wait for the one that runs."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._pending.clear()


class Pipeline:
    """The stages of one stream."""

    def __init__(self) -> None:
        self._stages: list[Stage] = []

    def stage(self) -> Stage:
        """One more kind of work."""
        self._stages.append(Stage())
        return self._stages[-1]

    def finish(self) -> None:
        """Wait for all work; see `Stage.finish`."""
        for stage in self._stages:
            stage.finish()

    def close(self) -> None:
        """Drop what has not begun, and wait for what has."""
        for stage in self._stages:
            stage.close()


class Hasher:
    """An object of hashlib whose work is done in a stage.

    Also a verifier of signatures, which has the same `update`.

    :param target: what does the work
    """

    def __init__(self, stage: Stage, target: Any) -> None:
        self._stage = stage
        self._target = target

    def update(self, piece: bytes) -> None:
        """Take in the next piece, soon."""
        self._stage.do(self._target.update, piece)

    def hexdigest(self) -> str:
        """The digest of all pieces."""
        self._stage.finish()
        return str(self._target.hexdigest())
