"""Interrupts of something that has to clean up, whatever ends it."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_TOLD = b'glance-wsgi: Cleaning up.\n'


@contextlib.contextmanager
def only_the_first(
    signals: Iterable[signal.Signals],
) -> Iterator[Callable[[], None]]:
    """In the block, the first interrupt is an exception, and none after it.

    Yields what to call before cleaning up: from then on not even the first is
    one. Where the block ends by an exception it stays so, until whoever had
    the signals handled before puts that right, as every verb does.

    :param signals: those that interrupt
    """

    def first(number: int, frame: object) -> None:
        hold()
        _tell(number, frame)
        before[number](number, frame)

    def hold() -> None:
        for number in before:
            signal.signal(number, _tell)

    # Not those that are ignored, as SIGHUP is below nohup(1).
    before: dict[int, Any] = {
        number: handler
        for number in signals
        if callable(handler := signal.getsignal(number))
    }
    for number in before:
        signal.signal(number, first)
    yield hold
    for number, handler in before.items():
        signal.signal(number, handler)


def _tell(number: int, frame: object) -> None:
    # Not by print(), which may be what was interrupted. A terminal that has
    # hung up can't be told.
    with contextlib.suppress(OSError):
        os.write(2, _TOLD)
