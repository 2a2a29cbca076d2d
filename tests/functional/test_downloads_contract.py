"""What glance_wsgi.data.regions uses of Glance without its promise.

Run on every supported Glance, so that one that reads its files in another way
is noticed by that, and not by downloads that are slow again.
"""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.smoke

# Glance's options are global, and what is put into it stays there: a process
# of its own.
CODE = """if True:
    import json, os, types
    from glance import image_cache
    from glance.api.middleware import cache
    from glance.common import utils
    from glance_store import location
    from glance_store._drivers import filesystem
    from oslo_config import cfg
    from glance_wsgi.data import regions

    cfg.CONF([], default_config_files=[], default_config_dirs=[])
    data = os.urandom(300000)
    place = os.getcwd()
    path = os.path.join(place, 'image')
    with open(path, 'wb') as file:
        file.write(data)
    here = frozenset({place})
    regions.install()

    def stored(offset=0, length=None):
        store = filesystem.Store.__new__(filesystem.Store)
        store._capabilities = filesystem.Store._CAPABILITIES
        store._resolve_location = lambda location: (path, len(data))
        found, _ = store.get(
            types.SimpleNamespace(), offset=offset, chunk_size=length)
        return iter(found)

    def seen(pieces):
        piece = regions.first(pieces, here)
        if not isinstance(piece, regions.Region):
            return [piece + b''.join(pieces) == data]
        rest = b''.join(pieces)
        read = b''.join(piece.pieces())
        return [
            len(piece), piece.offset, len(rest),
            read == data[piece.offset:piece.end]]

    class Cache(image_cache.ImageCache):
        def __init__(self):
            self.driver = types.SimpleNamespace(
                is_cacheable=lambda image_id: True,
                open_for_write=lambda image_id: open('filled', 'wb'),
                open_for_read=lambda image_id: open(path, 'rb'))

    class Filter(cache.CacheFilter):
        def __init__(self):
            self.cache = Cache()

    facts = {
        'whole': seen(stored()),
        'range': seen(stored(5, 70000)),
        'without_offer': b''.join(stored()) == data,
        'hit': seen(Filter().get_from_cache('id')),
        'hit_without_offer': b''.join(Filter().get_from_cache('id')) == data,
        'miss': seen(Cache().get_caching_iter('id', None, stored())),
    }
    with open('filled', 'rb') as file:
        facts['filled'] = file.read() == data
    print(json.dumps(facts))
"""


@pytest.fixture(scope='module')
def facts(tmp_path_factory):
    """What a process of Glance says of itself."""
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', CODE],
        cwd=tmp_path_factory.mktemp('store'),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ('what', 'expected'),
    [('whole', [300000, 0, 0, True]), ('range', [70000, 5, 0, True])],
)
def test_the_file_store_offers_a_region(facts, what, expected):
    assert facts[what] == expected


def test_a_hit_of_the_cache_is_offered_as_a_region(facts):
    assert facts['hit'] == [300000, 0, 0, True]


def test_a_miss_is_read_and_fills_the_cache(facts):
    assert facts['miss'] == [True]
    assert facts['filled']


def test_without_an_offer_everything_is_read(facts):
    assert facts['without_offer']
    assert facts['hit_without_offer']
