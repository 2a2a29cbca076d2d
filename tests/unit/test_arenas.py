"""How many heaps the threads of a process take their memory from."""

import os
import subprocess
import sys

import pytest

from glance_wsgi import arenas

# Each thread takes memory of the C library's at the same time. All heaps but
# the first are at multiples of 64 MiB, and what they do not use yet is there
# without any right.
CODE = """
import ctypes, re, sys, threading
from glance_wsgi import arenas

if sys.argv[1] == 'share':
    arenas.share()
malloc = ctypes.CDLL(None).malloc
together = threading.Barrier(13)

def take():
    malloc(100_000)
    together.wait()
    together.wait()

for _ in range(12):
    threading.Thread(target=take, daemon=True).start()
together.wait()
with open('/proc/self/maps') as maps:
    found = [re.match('(\\w+)-(\\w+) (\\S+)', line).groups() for line in maps]
print(1 + sum(
    int(start, 16) % 2**26 == 0 and rights == 'rw-p'
    and (end, '---p') in [(begin, no) for begin, _, no in found]
    for start, end, rights in found
))
together.wait()
"""


def heaps(word, **environment):
    """How many twelve threads have."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ('MALLOC_ARENA_MAX', 'GLIBC_TUNABLES')
    }
    result = subprocess.run(
        [sys.executable, '-c', CODE, word],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(result.stdout)


def test_threads_have_two_heaps_together():
    if heaps('alone') <= arenas.MOST:
        pytest.skip('threads share heaps without it: this is no glibc')
    assert heaps('share') <= arenas.MOST


@pytest.mark.parametrize(
    'environment',
    [
        {'MALLOC_ARENA_MAX': '5'},
        {'GLIBC_TUNABLES': 'glibc.malloc.arena_max=5'},
    ],
    ids=' '.join,
)
def test_who_has_set_a_number_has_it(environment):
    alone = heaps('alone', **environment)
    assert heaps('share', **environment) == alone
