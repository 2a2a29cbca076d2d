"""A MariaDB that can encrypt, and connections that share how."""

import certificates
import databases
import pytest
import sqlalchemy

from glance_wsgi.db import encryption

CIPHER = "SHOW STATUS LIKE 'Ssl_cipher'"


@pytest.fixture(scope='module')
def encrypting(mariadb, tmp_path_factory):
    """A server with a certificate; beside that it is like the others'."""
    place = tmp_path_factory.mktemp('encrypting')
    pair = certificates.make(place, 'localhost')
    with databases.MariaDB(place) as server:
        with server.away(
            f'--ssl-cert={pair.certificate}', f'--ssl-key={pair.key}'
        ):
            pass
        yield server


@pytest.fixture
def engine(encrypting):
    """Somebody's engine in a process of Glance."""
    encryption.share(print)
    with encrypting.database() as (_, url):
        made = sqlalchemy.create_engine(url)
        yield made
        made.dispose()
    sqlalchemy.event.remove(
        sqlalchemy.Engine, 'do_connect', encryption.connect
    )


@pytest.fixture
def alone(encrypting) -> str:
    """What a connection encrypts with that PyMySQL makes by itself.

    With a PyMySQL that only encrypts when it is told to that is nothing.
    """
    ((_, able),) = encrypting.execute("SHOW VARIABLES LIKE 'have_ssl'")
    assert able == 'YES'
    ((_, found),) = encrypting.execute(CIPHER)
    return found


def cipher(connection) -> str:
    """What the server says that it encrypts with."""
    return connection.exec_driver_sql(CIPHER).one()[1]


def test_connections_at_the_same_time_are_encrypted(engine, alone):
    with engine.connect() as first, engine.connect() as second:
        assert [cipher(first), cipher(second)] == [alone, alone]


def test_one_that_is_made_later_is_encrypted(engine, alone):
    with engine.connect() as first:
        assert cipher(first) == alone
    engine.dispose()
    with engine.connect() as second:
        assert cipher(second) == alone
