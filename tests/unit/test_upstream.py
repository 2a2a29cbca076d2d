"""Facts about an installed Glance, from installations of our making."""

import sys

import pytest

from glance_wsgi import errors
from glance_wsgi import upstream


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An empty place that packages are imported from, and none other is."""
    monkeypatch.setattr(sys, 'path', [str(tmp_path)])
    return tmp_path


def install(site, version, files=()):
    """What pip leaves of a wheel: its files, and a list of them."""
    folder = site / f'glance-{version}.dist-info'
    folder.mkdir()
    (folder / 'METADATA').write_text(
        f'Metadata-Version: 2.1\nName: glance\nVersion: {version}\n'
    )
    (folder / 'RECORD').write_text(''.join(f'{name},,\n' for name in files))
    for name in files:
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('')


@pytest.mark.parametrize(
    'version', ['30.0.0', '30.2.0', '31.0.0', '32.0.0.0rc1', '33.0.0']
)
def test_a_supported_glance_is_accepted(site, version):
    install(site, version)
    assert upstream.version() == version


@pytest.mark.parametrize('version', ['12.0.0', '29.1.0', '34.0.0', '100.0.0'])
def test_any_other_glance_is_refused_and_named(site, version):
    install(site, version)
    with pytest.raises(errors.GlanceUnsupported, match=version) as caught:
        upstream.version()
    assert 'Glance 30 to 33' in str(caught.value)


def test_no_glance_at_all_is_refused(site):
    with pytest.raises(errors.GlanceUnsupported, match='not installed'):
        upstream.version()


def test_a_file_that_glance_ships_is_found_outside_of_the_packages(site):
    """A wheel's data files are beside lib/, so the path leads upwards."""
    name = '../data/etc/glance/glance-api-paste.ini'
    install(site, '33.0.0', ['glance/__init__.py', name])
    found = upstream.shipped('glance-api-paste.ini')
    assert found == (site / name).resolve()


def test_a_directory_that_glance_ships_is_found(site):
    install(site, '33.0.0', ['x/etc/glance/metadefs/compute-aggr.json'])
    found = upstream.shipped('metadefs')
    assert found == site / 'x/etc/glance/metadefs'


def test_a_file_of_the_same_name_elsewhere_is_not_taken(site):
    install(site, '33.0.0', ['glance/tests/glance-api-paste.ini'])
    with pytest.raises(errors.GlanceUnsupported, match='no etc'):
        upstream.shipped('glance-api-paste.ini')


@pytest.mark.parametrize('name', ['glance-api-paste.ini', 'metadefs'])
def test_the_glance_that_is_really_installed_ships_what_we_need(name):
    assert upstream.shipped(name).exists()


def test_the_paste_file_of_the_installed_glance_has_our_pipeline():
    text = upstream.shipped('glance-api-paste.ini').read_text()
    assert '[composite:glance-api-keystone]' in text or (
        '[pipeline:glance-api-keystone]' in text
    )


def test_the_installed_glance_has_its_migrations_where_we_look():
    assert (upstream.migrations() / 'env.py').is_file()


def test_facts_about_glance_do_not_import_it():
    """Its options are global, and its import takes a second."""
    before = set(sys.modules)
    upstream.version(), upstream.shipped('metadefs'), upstream.migrations()
    new = set(sys.modules) - before
    assert not [name for name in new if name.startswith('glance.')]
