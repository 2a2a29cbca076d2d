"""What glance_wsgi.data.filestore uses of glance_store without its promise.

Run on every supported Glance, so that one that changes a name is noticed by
that name and not by uploads that are slow again.
"""

import inspect
import json
import subprocess
import sys

import pytest

from glance_wsgi.data import pipeline

pytestmark = pytest.mark.smoke

# In a process of its own, since the driver is changed for good.
CODE = """
import hashlib, io, json, os, pathlib, tempfile
from glance_store._drivers import filesystem
from oslo_config import cfg
from glance_wsgi.data import filestore
from glance_wsgi.data import pipeline

stages = []
stage = pipeline.Pipeline.stage
pipeline.Pipeline.stage = lambda self: stages.append(stage(self)) or stages[-1]
filestore.install()

class Verifier:
    seen = 0
    def update(self, piece):
        self.seen += len(piece)

class Data(io.BytesIO):
    sizes = set()
    def read(self, size):
        self.sizes.add(size)
        return super().read(size)

with tempfile.TemporaryDirectory() as directory:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[])
    store = filesystem.Store(conf)
    conf.set_override('filesystem_store_datadir', directory, 'glance_store')
    store.configure()
    data, verifier = os.urandom(3_000_000), Verifier()
    place, size, checksum, digest, _ = store.add(
        'image', Data(data), len(data), 'sha256', verifier=verifier)
    written = pathlib.Path(directory, 'image').read_bytes()
    old = store.add('staged', Data(data), len(data))
print(json.dumps({
    'stages': len(stages),
    'sizes': sorted(Data.sizes),
    'place': place == f'file://{directory}/image',
    'size': size == len(data) == verifier.seen,
    'md5': checksum == hashlib.md5(data).hexdigest(),
    'sha256': digest == hashlib.sha256(data).hexdigest(),
    'written': written == data,
    'staged': len(old),
    'chunk': [store.chunk_size, store.thin_provisioning],
}))
"""


@pytest.fixture(scope='module')
def facts():
    """What a process that adds an image says of it."""
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', CODE],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_the_image_is_stored_as_it_is(facts):
    assert facts['place']
    assert facts['size']
    assert facts['md5']
    assert facts['sha256']
    assert facts['written']
    assert facts['staged'] == 4


def test_every_kind_of_work_is_done_in_the_pipeline(facts):
    """A verifier, two digests, the file; and for staging, which has no
    verifier and is given none of the digests but the checksum, three."""
    assert facts['stages'] == 4 + 3


def test_data_is_read_in_pieces_that_are_worth_it(facts):
    assert facts['sizes'] == [pipeline.PIECE]


def test_the_store_says_how_it_writes(facts):
    assert facts['chunk'] == [64 * 1024, False]


def test_what_goes_wrong_is_mended_around_the_file():
    """So an error at the end of the file is one of the writing."""
    from glance_store._drivers import filesystem

    text = inspect.getsource(filesystem.Store)
    add = text[text.index('def add(') :]
    opened = add.index("with open(filepath, 'wb') as f:")
    assert add.index('try:') < opened < add.index('except IOError as e:')


def test_only_one_function_removes_what_could_not_be_written():
    """By a path that its first argument is, in every case."""
    from glance_store._drivers import filesystem

    text = inspect.getsource(filesystem.Store)
    text = text[text.index('def add(') : text.index('def _delete_partial')]
    removals = text.count('self._delete_partial(filepath, image_id)')
    assert removals == text.count('_delete_partial') > 0
    assert 'unlink' not in text
    delete = inspect.getsource(filesystem.Store._delete_partial)
    assert delete.count('unlink(filepath)') == 1


def test_uploads_imports_and_staging_all_come_by_the_store():
    from glance import location
    from glance.api.v2 import image_data

    assert 'add_with_multihash(' in inspect.getsource(location)
    assert 'staging_store.add(' in inspect.getsource(image_data)
