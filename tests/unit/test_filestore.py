"""A file store in a pipeline does what it does without one.

Each case is given to glance_store's own driver twice, as it is and with the
pipeline under it, and everything that can be seen of it is compared.
"""

import dataclasses
import errno
import hashlib
import io
import os
import pathlib
import resource
import shutil
import stat
import tempfile
import threading

import glance_store
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cursive import signature_utils
from glance_store._drivers import filesystem
from hypothesis import given
from hypothesis import strategies as st
from oslo_config import cfg

from glance_wsgi.conf import transfers
from glance_wsgi.data import filestore
from glance_wsgi.data import pipeline

IMAGE = '11111111-2222-3333-4444-555555555555'
KIB = 1024

ALGORITHMS = sorted(
    name
    for name in hashlib.algorithms_guaranteed
    if not name.startswith('shake')
)


@pytest.fixture(autouse=True)
def untouched():
    """The driver, as it was before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filesystem, 'utils', filesystem.utils)
        patch.setattr(filesystem.Store, 'add', filesystem.Store.add)
        # By this way it stays a static method.
        removing = vars(filesystem.Store)['_delete_partial']
        patch.setattr(filesystem.Store, '_delete_partial', removing)
        yield
    vars(filesystem).pop('open', None)


def make_store(options):
    """A store with a directory of its own."""
    directory = pathlib.Path(tempfile.mkdtemp())
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[])
    store = filesystem.Store(conf)
    for name, value in options.items():
        conf.set_override(name, value, 'glance_store')
    if 'filesystem_store_datadirs' not in options:
        conf.set_override(
            'filesystem_store_datadir', str(directory), 'glance_store'
        )
    store.configure()
    return store, directory


@dataclasses.dataclass
class Source:
    """Data that comes in pieces, and may break off.

    :param limit: bytes after which `error` is raised
    """

    data: bytes
    sizes: tuple[int, ...] = (64 * KIB,)
    limit: int | None = None
    error: Exception | None = None

    def __iter__(self):
        position, number = 0, 0
        while True:
            end = min(self.limit or 0, len(self.data))
            if self.error and position >= end:
                raise self.error
            if position >= len(self.data):
                return
            size = self.sizes[number % len(self.sizes)]
            yield self.data[position : position + size]
            position, number = position + size, number + 1


class Reader:
    """The same with `read`, which never gives more than asked for."""

    def __init__(self, source):
        self.pieces = iter(source)
        self.rest = b''

    def read(self, size):
        self.rest = self.rest or next(self.pieces, b'')
        piece, self.rest = self.rest[:size], self.rest[size:]
        return piece


def outcome(options, source, size, **words):
    """Everything that can be seen of one `add`."""
    store, directory = make_store(options)
    try:
        try:
            result = store.add(IMAGE, source, size, **words)
            said = [str(part).replace(str(directory), '') for part in result]
        except Exception as error:
            said = [type(error), str(error).replace(str(directory), '')]
        files = {
            str(path.relative_to(directory)): (
                path.read_bytes(),
                stat.S_IMODE(path.stat().st_mode),
                path.stat().st_blocks,
            )
            for path in directory.rglob('*')
            if path.is_file()
        }
        return said, files
    finally:
        shutil.rmtree(directory)


def assert_the_same(make_source, size, options=(), **words):
    """With the pipeline and without it; the outcome of both."""
    filesystem.Store.add, pipelined = _stock, filesystem.Store.add
    without = outcome(dict(options), make_source(), size, **words)
    filesystem.Store.add = pipelined
    assert outcome(dict(options), make_source(), size, **words) == without
    return without


_stock = filesystem.Store.add


@pytest.fixture
def small(monkeypatch):
    """Pieces so small that little data is many of them."""
    monkeypatch.setattr(pipeline, 'PIECE', 16)
    monkeypatch.setattr(pipeline, 'LARGEST', 64)
    filestore.install()


SIZES = st.lists(st.integers(1, 200), min_size=1, max_size=5).map(tuple)
DATA = st.binary(max_size=600) | st.lists(
    st.sampled_from([b'\0' * 40, b'data' * 10, b'\0', b'x']), max_size=20
).map(b''.join)


@pytest.mark.usefixtures('small')
class TestAnything:
    """Any data, in any pieces, with any hash."""

    @given(
        data=DATA,
        sizes=SIZES,
        reader=st.booleans(),
        algorithm=st.sampled_from(ALGORITHMS),
        thin=st.booleans(),
        chunk=st.integers(1, 100),
        wrong=st.sampled_from([0, 0, 0, 1, -1, 100]),
        announced=st.booleans(),
    )
    def test_that_is_stored_is_stored_the_same(
        self, data, sizes, reader, algorithm, thin, chunk, wrong, announced
    ):
        def source():
            made = Source(data, sizes)
            return Reader(made) if reader else iter(made)

        size = max(len(data) + wrong, 0) if announced else 0
        assert_the_same(
            source,
            size,
            {
                'filesystem_thin_provisioning': thin,
                'filesystem_store_chunk_size': chunk,
            },
            hashing_algo=algorithm,
        )

    @given(
        data=DATA,
        sizes=SIZES,
        limit=st.integers(0, 600),
        error=st.sampled_from(
            [
                OSError(errno.EPIPE, 'gone'),
                OSError(errno.ENOSPC, 'full'),
                ValueError('odd'),
                glance_store.exceptions.Invalid(message='wrong'),
            ]
        ),
    )
    def test_that_breaks_off_is_the_same_error_and_leaves_nothing(
        self, data, sizes, limit, error
    ):
        _, files = assert_the_same(
            lambda: Reader(Source(data, sizes, limit, error)),
            0,
            hashing_algo='sha512',
        )
        assert not files


@pytest.fixture
def piped():
    filestore.install()


@pytest.mark.usefixtures('piped')
@pytest.mark.parametrize(
    'size',
    [0, 1, pipeline.PIECE - 1, pipeline.PIECE, pipeline.PIECE + 1, 5_000_000],
)
def test_real_sizes_have_their_digests(size):
    data = os.urandom(size)
    said, files = assert_the_same(
        lambda: io.BytesIO(data), size, hashing_algo='sha512'
    )
    assert said[1:4] == [
        str(size),
        hashlib.md5(data).hexdigest(),
        hashlib.sha512(data).hexdigest(),
    ]
    assert files[IMAGE][0] == data


@pytest.mark.usefixtures('piped')
def test_staging_which_wants_no_multihash_gets_four_facts():
    said, _ = assert_the_same(lambda: io.BytesIO(b'data'), 4)
    assert len(said) == 4


@pytest.mark.usefixtures('piped')
@pytest.mark.parametrize('chunk', [4 * KIB, 64 * KIB, 96 * KIB, 2048 * KIB])
def test_the_same_chunks_become_holes(chunk):
    data = b''.join(
        bytes(64 * KIB) if number % 3 else os.urandom(64 * KIB)
        for number in range(40)
    )
    _, files = assert_the_same(
        lambda: io.BytesIO(data),
        len(data),
        {
            'filesystem_thin_provisioning': True,
            'filesystem_store_chunk_size': chunk,
        },
        hashing_algo='sha256',
    )
    assert files[IMAGE][0] == data
    if chunk == 64 * KIB:
        assert files[IMAGE][2] * 512 < len(data) * 0.7


@pytest.mark.usefixtures('piped')
def test_the_file_has_the_rights_that_are_configured():
    _, files = assert_the_same(
        lambda: io.BytesIO(b'data'),
        4,
        {'filesystem_store_file_perm': 640},
        hashing_algo='sha512',
    )
    assert files[IMAGE][1] == 0o640


@pytest.mark.usefixtures('piped')
def test_of_several_directories_the_best_one_is_taken(tmp_path):
    for name in ('one', 'two'):
        (tmp_path / name).mkdir()
    store, _ = make_store(
        {
            'filesystem_store_datadir': None,
            'filesystem_store_datadirs': [
                f'{tmp_path}/one:100',
                f'{tmp_path}/two:200',
            ],
        }
    )
    place, *_ = store.add(IMAGE, io.BytesIO(b'data'), 4, 'sha512')
    assert place == f'file://{tmp_path}/two/{IMAGE}'
    assert (tmp_path / 'two' / IMAGE).read_bytes() == b'data'


@pytest.mark.usefixtures('piped')
def test_an_image_that_is_there_already_is_left_alone():
    store, directory = make_store({})
    (directory / IMAGE).write_text('first')
    with pytest.raises(glance_store.exceptions.Duplicate):
        store.add(IMAGE, io.BytesIO(b'second'), 6, 'sha512')
    assert (directory / IMAGE).read_text() == 'first'


@pytest.fixture
def largest_file():
    """The kernel writes no file of ours beyond 1 MiB (EFBIG)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * KIB, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures('piped', 'largest_file')
@pytest.mark.parametrize('size', [1024 * KIB + 1, 3_000_000])
def test_a_file_that_becomes_too_large_is_a_full_store(size):
    data = os.urandom(size)
    said, files = assert_the_same(
        lambda: io.BytesIO(data), size, hashing_algo='sha512'
    )
    assert said[0] is glance_store.exceptions.StorageFull
    assert not files


@pytest.mark.usefixtures('piped', 'largest_file')
def test_a_full_store_comes_before_what_happens_later_in_the_stream():
    """As it does where each piece is written before the next is read."""
    said, _ = assert_the_same(
        lambda: Source(
            os.urandom(1500 * KIB),
            limit=1500 * KIB,
            error=ValueError('later'),
        ),
        0,
        hashing_algo='sha512',
    )
    assert said[0] is glance_store.exceptions.StorageFull


def verifier(signed, key):
    """A verifier of cursive's, as Glance makes one for a signed image."""
    made = signature_utils.create_verifier_for_pss
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    method = hashes.SHA256()
    signature = key.sign(
        signed,
        padding.PSS(padding.MGF1(method), padding.PSS.MAX_LENGTH),
        method,
    )
    return made(signature, method, key.public_key())


@pytest.mark.usefixtures('piped')
def test_a_verifier_has_seen_everything_when_the_image_is_stored():
    key = rsa.generate_private_key(65537, 2048)
    data = os.urandom(3_000_000)
    store, _ = make_store({})
    right, wrong = verifier(data, key), verifier(data + b'x', key)
    for image_id, made in (('right', right), ('wrong', wrong)):
        store.add(
            image_id, io.BytesIO(data), len(data), 'sha512', verifier=made
        )
    right.verify()
    with pytest.raises(Exception, match='') as caught:
        wrong.verify()
    assert type(caught.value).__name__ == 'InvalidSignature'


@pytest.mark.usefixtures('piped')
def test_a_verifier_that_fails_fails_the_upload():
    class Broken:
        def update(self, piece):
            raise TypeError('broken')

    said, files = assert_the_same(
        lambda: io.BytesIO(b'data'),
        4,
        hashing_algo='sha512',
        verifier=Broken(),
    )
    assert said == [TypeError, 'broken']
    assert not files


@pytest.mark.usefixtures('piped')
def test_uploads_at_the_same_time_do_not_meet():
    store, directory = make_store({})
    data = {f'image-{n}': os.urandom(2_000_000 + n) for n in range(8)}
    found = {}

    def add(name):
        found[name] = store.add(
            name, io.BytesIO(data[name]), len(data[name]), 'sha256'
        )

    threads = [threading.Thread(target=add, args=(name,)) for name in data]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, content in data.items():
        assert found[name][3] == hashlib.sha256(content).hexdigest()
        assert (directory / name).read_bytes() == content


@pytest.mark.usefixtures('piped')
def test_what_waits_is_bounded(monkeypatch):
    """A disk that stands still must stop the client, not fill the memory."""
    go, read = threading.Event(), []
    monkeypatch.setattr(filestore._File, '_write', lambda *_: go.wait())

    class Endless:
        def read(self, size):
            read.append(size)
            return bytes(size) if sum(read) < 100_000_000 else b''

    store, _ = make_store({})
    client = threading.Thread(
        target=store.add, args=(IMAGE, Endless(), 0, 'sha512')
    )
    client.start()
    client.join(1)
    assert client.is_alive()
    assert sum(read) <= pipeline.MEMORY / 2
    go.set()
    client.join(60)


@pytest.mark.parametrize(
    'chunk', [1, 64 * KIB, 100_000, 2**20, 2**20 + 1, 2**30]
)
def test_a_piece_is_never_larger_than_the_memory_allows(chunk):
    piece = filestore._Add(chunk, thin=False).piece
    assert piece <= pipeline.LARGEST
    assert pipeline.MEMORY <= 16 * 2**20
    assert piece % chunk == 0 or chunk > pipeline.LARGEST


def test_it_can_be_switched_off(monkeypatch):
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[])
    monkeypatch.setattr(cfg, 'CONF', conf)
    transfers.register_opts(conf)
    conf.set_override('upload_pipeline', False, 'transfers')
    utilities = filesystem.utils
    assert filestore.overlap(str) is str
    assert filesystem.utils is utilities
    vars(filesystem).pop('open')
    conf.set_override('upload_pipeline', True, 'transfers')
    filestore.overlap(str)
    assert filesystem.utils is not utilities


@pytest.mark.parametrize('pipelined', [True, False])
def test_a_call_that_fails_late_removes_no_file_but_its_own(pipelined):
    """A process that was stopped finds that of the one that has gone on."""
    filestore.install(pipelined=pipelined)
    store, directory = make_store({})
    file = directory / IMAGE

    def late():
        yield b'half of it'
        file.unlink()
        file.write_bytes(b'of the successor')
        raise ValueError('the task is not mine any more')

    with pytest.raises(ValueError, match='not mine'):
        store.add(IMAGE, late(), 0, 'sha256')
    assert file.read_bytes() == b'of the successor'
    shutil.rmtree(directory)


@pytest.mark.parametrize('pipelined', [True, False])
def test_a_file_that_comes_between_is_not_written_to(pipelined, monkeypatch):
    filestore.install(pipelined=pipelined)
    store, directory = make_store({})
    file = directory / IMAGE
    file.write_bytes(b'of another')
    monkeypatch.setattr(os.path, 'exists', lambda path: False)
    with pytest.raises(FileExistsError):
        store.add(IMAGE, io.BytesIO(b'mine'), 4, 'sha256')
    assert file.read_bytes() == b'of another'
    shutil.rmtree(directory)


def test_files_that_are_opened_otherwise_are_what_they_were(tmp_path):
    filestore.install()
    file = tmp_path / 'file'
    with filesystem.open(file, 'wb') as handle:
        assert isinstance(handle, io.BufferedWriter)
    with filesystem.open(file) as handle:
        assert isinstance(handle, io.TextIOWrapper)
