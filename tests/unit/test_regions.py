"""Parts of files in place of data: what is one, and who gets one."""

import os

import pytest

from glance_wsgi.data import regions

DATA = bytes(range(256)) * 1000


@pytest.fixture
def store(tmp_path):
    (tmp_path / 'image').write_bytes(DATA)
    return tmp_path


@pytest.fixture
def file(store):
    with (store / 'image').open('rb') as opened:
        yield opened


def here(store):
    return frozenset({str(store)})


def offered(file, length=None):
    """Pieces as the file store has them, with what we have put into it."""
    region = regions._found(file, length)
    if region is not None:
        yield region
        return
    yield from iter(lambda: file.read(4096), b'')


@pytest.mark.parametrize(
    ('offset', 'length', 'expected'),
    [
        (0, None, DATA),
        (5, None, DATA[5:]),
        (5, 7, DATA[5:12]),
        (len(DATA) - 3, 7, DATA[-3:]),
        (0, 70000, DATA[:70000]),
    ],
)
def test_a_region_has_the_data_that_is_read(file, offset, length, expected):
    file.seek(offset)
    region = regions.Region.of(file, length)
    assert len(region) == len(expected)
    assert (region.offset, region.size) == (offset, len(DATA))
    file.close()
    assert b''.join(region.pieces()) == expected


@pytest.mark.parametrize('length', [0, -1])
def test_there_is_no_region_without_data(file, length):
    assert regions.Region.of(file, length) is None


def test_there_is_no_region_behind_the_end(file):
    file.seek(len(DATA))
    assert regions.Region.of(file, None) is None


def test_the_data_of_a_truncated_file_ends_where_it_does(file, store):
    region = regions.Region.of(file, None)
    os.truncate(store / 'image', 10)
    assert b''.join(region.pieces()) == DATA[:10]


def test_a_region_is_no_data_to_who_takes_it_for_some(file):
    region = regions.Region.of(file, None)
    assert region + b'x' == b'x'


def test_the_first_piece_is_a_region_and_no_later_one(file, store):
    pieces = offered(file)
    first = regions.first(pieces, here(store))
    assert isinstance(first, regions.Region)
    assert list(pieces) == []


def test_without_an_offer_everything_is_read(file):
    assert b''.join(offered(file)) == DATA


def test_an_offer_is_over_with_the_first_piece(file, store):
    def pieces():
        yield b'first'
        yield from offered(file)

    rest = pieces()
    assert regions.first(rest, here(store)) == b'first'
    assert b''.join(rest) == DATA


def test_nothing_at_all_is_an_empty_piece(store):
    assert regions.first(iter(()), here(store)) == b''


@pytest.mark.parametrize('change', [bytes, lambda piece: b'<%b>' % piece])
def test_who_makes_something_of_a_region_is_found_out(file, store, change):
    with pytest.raises(regions.Misused, match='hand_off_downloads'):
        regions.first(map(change, offered(file)), here(store))


def test_a_file_in_another_directory_is_read(file, store):
    elsewhere = frozenset({str(store.parent)})
    assert not isinstance(
        regions.first(offered(file), elsewhere), regions.Region
    )


@pytest.mark.parametrize(
    'name',
    [
        'link',
        'folder/image',
        'folder/../image-outside',
        'way/../image',
        '../outside',
    ],
)
def test_no_way_leads_out_of_the_store(tmp_path, name):
    store = tmp_path / 'store'
    outside = tmp_path / 'outside'
    outside.write_bytes(b'secret')
    (store / 'folder').mkdir(parents=True)
    (tmp_path / 'elsewhere' / 'deeper').mkdir(parents=True)
    (store / 'image').write_bytes(b'an image')
    (store / 'link').symlink_to(outside)
    (store / 'image-outside').symlink_to(outside)
    (store / 'folder' / 'image').write_bytes(b'deeper')
    # Below a link, ".." is not where it seems to lead.
    (store / 'way').symlink_to(tmp_path / 'elsewhere' / 'deeper')
    (tmp_path / 'elsewhere' / 'image').write_bytes(b'secret')
    with open(f'{store}/{name}', 'rb') as file:
        piece = regions.first(offered(file), here(store))
    assert piece
    assert not isinstance(piece, regions.Region)


def test_what_has_been_replaced_is_read_as_it_was(file, store):
    (store / 'image').unlink()
    (store / 'image').write_bytes(b'of another')
    piece = regions.first(offered(file), here(store))
    assert not isinstance(piece, regions.Region)
    assert piece == DATA[:4096]


def test_an_offer_that_fails_leaves_the_file_to_be_read(tmp_path):
    read, write = os.pipe()
    with open(write, 'wb') as end:
        end.write(b'from a pipe')
    with open(read, 'rb') as file:
        assert regions.first(offered(file), frozenset({''})) == b'from a pipe'
