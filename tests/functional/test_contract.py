"""What glance_wsgi.data.halves uses of Glance without its promise.

Run on every supported Glance, so that one that changes a name is noticed by
that name and not by half an image that stays.
"""

import inspect
import os
import pathlib
import subprocess
import sys

import pytest
from oslo_config import cfg

from glance_wsgi.data import halves

pytestmark = pytest.mark.smoke


def source(name: str) -> str:
    """The text of a module of the installed Glance."""
    return pathlib.Path(sys.modules[name].__file__).read_text()


@pytest.fixture(scope='module')
def database():
    """Glance's database API, as a module; no database is opened."""
    from glance import db

    return db.get_api()


def test_an_image_can_be_read_even_when_it_is_deleted(database):
    inspect.signature(database.image_get).bind(
        'context', 'id', force_show_deleted=True
    )


def test_a_status_can_be_changed_from_the_one_that_was_seen(database):
    inspect.signature(database.image_update).bind(
        'context', 'id', {'status': 'queued'}, from_state='saving'
    )


def test_there_is_an_administrators_context():
    from glance import context

    inspect.signature(context.get_admin_context).bind()


def test_errors_have_their_names():
    from glance.common import exception

    for name in ('Conflict', 'ImageNotFound'):
        assert issubclass(getattr(exception, name), exception.GlanceException)


def test_uploads_have_the_statuses_and_the_property_that_we_know():
    import glance.api.v2.image_data

    text = source(glance.api.v2.image_data.__name__)
    for status in halves.RECEIVING:
        assert f"image.status = '{status}'" in text
        assert f"from_state='{status}'" in text
    assert "extra_properties['os_glance_stage_host'] =" in text


def test_an_import_is_known_by_its_property():
    from glance import db

    assert 'os_glance_import_task' in db.IMAGE_ATOMIC_PROPS
    assert {'os_glance_import_task', 'os_glance_stage_host'} == set(
        halves.OWNED
    )


# glance_store registers its options for good, so each of these has a process
# of its own.
DIRECTORIES = """
import glance_store
from oslo_config import cfg
from glance.common import wsgi_app
from glance_wsgi.data import halves
conf = cfg.CONF
conf([], default_config_files=['glance-api.conf'])
if conf.enabled_backends:
    glance_store.register_store_opts(
        conf, reserved_stores=wsgi_app.RESERVED_STORES)
else:
    glance_store.register_opts(conf)
print(*halves.directories(conf), sep='\\n')
"""


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        pytest.param(
            """
            [DEFAULT]
            enabled_backends = one:file, two:file, other:http
            [one]
            filesystem_store_datadir = /one
            [two]
            filesystem_store_datadir =
            filesystem_store_datadirs = /two/a:200
            filesystem_store_datadirs = /two/b
            [os_glance_staging_store]
            filesystem_store_datadir = /staging
            [os_glance_tasks_store]
            filesystem_store_datadir = /tasks
            """,
            ['/one', '/staging', '/two/a', '/two/b'],
            id='several_stores',
        ),
        pytest.param(
            """
            [DEFAULT]
            node_staging_uri = file:///staging
            [glance_store]
            stores = file,http
            filesystem_store_datadir = /only
            """,
            ['/only', '/staging'],
            id='the_single_store_of_old_configurations',
        ),
        pytest.param(
            """
            [DEFAULT]
            node_staging_uri = file:///staging
            [glance_store]
            stores = http
            """,
            ['/staging'],
            id='no_file_store',
        ),
    ],
)
def test_uploads_are_looked_for_where_glance_writes_them(
    tmp_path, text, expected
):
    (tmp_path / 'glance-api.conf').write_text(inspect.cleandoc(text))
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', DIRECTORIES],
        cwd=tmp_path,
        env={**os.environ, 'OS_GLANCE_CONFIG_DIR': str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert sorted(result.stdout.split()) == expected


def test_the_journal_has_a_place_of_its_own_only_where_locks_have_one():
    from oslo_concurrency import lockutils

    assert lockutils.get_lock_path(cfg.ConfigOpts()) is None
