"""What glance_wsgi.db.reading uses of Glance without its promise.

Run with every supported Glance: it counts what an image costs the database.
"""

import contracts
import pytest

from glance_wsgi import upstream

pytestmark = pytest.mark.smoke

# In a process of its own, since Glance's options are global.
CODE = """
import json, pathlib, tempfile

import sqlalchemy
from glance import context, db
from glance.common import config, exception
from glance.db.sqlalchemy import api, models
from oslo_config import cfg

from glance_wsgi.db import reading

begun = []


def get(tenant, image='image', admin=False):
    repository = db.ImageRepo(
        context.RequestContext(
            user_id=tenant, project_id=tenant, is_admin=admin, roles=['member']
        ),
        api,
    )
    begun.clear()
    try:
        found = repository.get(image)
    except exception.ImageNotFound:
        return 'not found', len(begun)
    return (
        [
            found.image_id,
            sorted(found.tags),
            dict(found.extra_properties),
            found.owner,
        ],
        len(begun),
    )


def answers():
    return [
        get('owner'),
        get('member'),
        get('stranger'),
        get('stranger', admin=True),
        get('owner', 'none'),
    ]


with tempfile.TemporaryDirectory() as directory:
    file = pathlib.Path(directory, 'glance-api.conf')
    file.write_text(
        f'[database]\\nconnection = sqlite:///{directory}/glance.sqlite'
    )
    cfg.CONF([], project='glance', default_config_files=[file])
    engine = api.get_engine()
    models.BASE.metadata.create_all(engine)
    admin = context.RequestContext(is_admin=True, project_id='owner')
    api.image_create(
        admin,
        {
            'id': 'image',
            'name': 'name',
            'status': 'queued',
            'owner': 'owner',
            'visibility': 'shared',
            'min_disk': 0,
            'min_ram': 0,
            'properties': {'color': 'red'},
        },
    )
    api.image_tag_set_all(admin, 'image', ['new', 'tried'])
    api.image_member_create(
        admin, {'image_id': 'image', 'member': 'member', 'can_share': False}
    )
    sqlalchemy.event.listen(engine, 'begin', lambda _: begun.append(1))
    before = answers()
    reading.read_at_once(None)
    reading.read_at_once(None)
    after = answers()
    # Whoever writes after that may.
    api.image_tag_create(admin, 'image', 'written')
    last = get('owner')
print(json.dumps({
    'before': [answer for answer, _ in before],
    'after': [answer for answer, _ in after],
    'transactions before': [number for _, number in before],
    'transactions': [number for _, number in after],
    'written': last[0][1],
    'nests': hasattr(api, 'session_for_read'),
}))
"""


@pytest.fixture(scope='module')
def facts():
    """What was read, before and after, and in how many transactions."""
    return contracts.facts(CODE, timeout=60)


def test_the_same_is_read(facts):
    image = ['image', ['new', 'tried'], {'color': 'red'}, 'owner']
    assert facts['before'] == facts['after']
    assert facts['after'] == [image, image, 'not found', image, 'not found']


def test_it_is_read_in_one_transaction_where_they_can_be_nested(facts):
    """Glance alone takes more, or there is nothing left to be mended."""
    if facts['nests']:
        assert facts['transactions before'] == [2, 2, 1, 2, 1]
        assert facts['transactions'] == [1] * 5
    else:
        assert facts['transactions'] == facts['transactions before']


def test_they_can_be_nested_in_all_but_the_oldest(facts):
    oldest = upstream.version().startswith(f'{upstream.OLDEST}.')
    assert facts['nests'] == (not oldest)


def test_what_is_written_afterwards_is_read(facts):
    assert facts['written'] == ['new', 'tried', 'written']
