"""Loading an application without the garbage collector."""

import gc
import subprocess
import sys

import pytest

from glance_wsgi import loading

# Cycles that only loading needs, and what stays. The collector has none of it
# while it is made, as its rounds would be counted.
LOAD = """
import gc
from glance_wsgi import loading

class Cycle:
    def __init__(self):
        self.itself = self

rounds = sum(each['collections'] for each in gc.get_stats())
with loading.uncollected():
    assert not gc.isenabled()
    kept = [Cycle() for _ in range(100_000)]
    [Cycle() for _ in range(100_000)]
    assert sum(each['collections'] for each in gc.get_stats()) == rounds
assert gc.isenabled()
left = [each for each in gc.get_objects() if isinstance(each, Cycle)]
assert not left, len(left)
assert 100_000 <= gc.get_freeze_count() < 200_000, gc.get_freeze_count()
"""


def test_what_is_loaded_is_never_looked_through_again():
    subprocess.run([sys.executable, '-c', LOAD], check=True)


def test_a_load_that_fails_leaves_the_collector_as_it_was():
    frozen = gc.get_freeze_count()
    with pytest.raises(ImportError), loading.uncollected():
        raise ImportError
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen


def test_who_has_no_collector_gets_none():
    gc.disable()
    try:
        with pytest.raises(ImportError), loading.uncollected():
            raise ImportError
        assert not gc.isenabled()
    finally:
        gc.enable()
