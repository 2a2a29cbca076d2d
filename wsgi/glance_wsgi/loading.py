"""Loading an application: what it consists of is no garbage.

Its modules, classes and settings stay for as long as the process does. While
they are made, Python's collector looks through those that are there again and
again, which takes a quarter of the time of a start; later, a tenth of a second
in the middle of a request. So it rests until all is loaded, and leaves that
alone from then on: https://docs.python.org/3/library/gc.html#gc.freeze
"""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Keep what the block makes from the garbage collector, for good.

    If the block fails, the collector works as before.
    """
    worked = gc.isenabled()
    gc.disable()
    try:
        yield
        # What was needed for loading only must not be kept for good, too.
        gc.collect()
        gc.freeze()
    finally:
        if worked:
            gc.enable()
