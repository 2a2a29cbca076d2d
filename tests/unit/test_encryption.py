"""What connections to MariaDB encrypt with: PyMySQL's own, made once."""

import ssl

import pymysql
import pytest
import sqlalchemy

from glance_wsgi.db import encryption

URL = 'mysql+pymysql://glance:a-password@127.0.0.1:1/glance'


@pytest.fixture
def shared(monkeypatch):
    """Whoever connects with SQLAlchemy in this test shares it."""
    monkeypatch.setattr(encryption.Sharing, '_context', None)
    encryption.share(print)
    yield
    sqlalchemy.event.remove(
        sqlalchemy.Engine, 'do_connect', encryption.connect
    )


def ours(**words):
    """A connection as an engine makes it, which is not opened yet."""
    engine = sqlalchemy.create_engine(URL)
    (connect,) = engine.dialect.dispatch.do_connect
    return connect(engine.dialect, None, [], {'defer_connect': True, **words})


def facts(connection) -> list:
    """How it encrypts, and whether it has to."""
    context = getattr(connection, 'ctx', None)
    return [
        connection.ssl,
        getattr(connection, '_ssl_required', None),
        *(
            getattr(context, name, None)
            for name in (
                *('verify_mode', 'verify_flags', 'check_hostname'),
                *('minimum_version', 'maximum_version', 'options'),
            )
        ),
    ]


def test_connections_of_an_engine_encrypt_with_the_same(shared):
    first, second = ours(), ours()
    assert isinstance(first, pymysql.connections.Connection)
    assert getattr(first, 'ctx', None) is getattr(second, 'ctx', None)


def test_nothing_else_is_different(shared):
    theirs = pymysql.connections.Connection(defer_connect=True)
    assert facts(ours()) == facts(theirs)


def test_who_asks_for_a_certificate_has_it_looked_at(shared):
    ours()
    strict = ours(ssl_verify_cert=True)
    assert strict.ctx.verify_mode == ssl.CERT_REQUIRED
    assert strict.ctx is not getattr(ours(), 'ctx', None)


def test_a_context_that_is_given_is_taken(shared):
    own = ssl.create_default_context()
    assert ours(ssl=own).ctx is own


def test_other_databases_are_connected_to_as_ever(shared):
    with sqlalchemy.create_engine('sqlite://').connect() as connection:
        assert connection.exec_driver_sql('SELECT 1').scalar() == 1
