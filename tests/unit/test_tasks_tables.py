"""Whether a worker finds the tables that it needs."""

import pytest
import sqlalchemy

from glance_wsgi.db import engines
from glance_wsgi.db import own
from glance_wsgi.tasks import tables


@pytest.fixture
def url(tmp_path):
    return sqlalchemy.make_url(f'sqlite:///{tmp_path}/database')


def test_they_are_not_there_before_the_database_is_synced(url):
    engine = engines.make(url)
    assert not tables.exist(engine)
    own.sync(url)
    assert tables.exist(engine)


def test_an_older_table_is_not_taken_for_ours(url):
    own.sync(url)
    engine = engines.make(url)
    with engine.connect() as connection:
        connection.exec_driver_sql(
            f'ALTER TABLE {tables.JOBS.name} DROP COLUMN bytes'
        )
        connection.commit()
    assert not tables.exist(engine)
