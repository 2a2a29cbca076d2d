"""The system's Apache, which has sites of others and must not end."""

import socket
import types

import pytest

from glance_wsgi import addresses
from glance_wsgi import errors
from glance_wsgi.servers import apache
from glance_wsgi.servers import apache_uwsgi
from glance_wsgi.servers import system


@pytest.fixture
def held():
    """A socket of somebody else's on an address that we need."""
    with socket.create_server(('127.0.0.1', 0)) as made:
        yield made


@pytest.fixture
def proxy(held, monkeypatch):
    """An Apache that runs, and does not listen there."""
    address = addresses.Address(*held.getsockname())
    made = object.__new__(apache_uwsgi.SystemProxy)
    made.deployment = types.SimpleNamespace(
        conf=types.SimpleNamespace(server=types.SimpleNamespace(task_mercy=0)),
        listening=lambda: [('--listen', address)],
    )
    made.running_configuration = system.Configuration((), (), frozenset(), ())
    made.own = set()
    made.told = []
    monkeypatch.setattr(
        system.SystemApache, '_listening_now', lambda self: self.own
    )
    monkeypatch.setattr(
        apache.Apache, 'load_files', lambda self, what: self.told.append(what)
    )
    return made


def test_apache_is_not_told_of_an_address_that_another_one_has(proxy, held):
    with pytest.raises(errors.PortInUse, match=str(held.getsockname()[1])):
        proxy.load_files(())
    assert not proxy.told


def test_apache_is_told_once_its_address_is_free(proxy, held, monkeypatch):
    proxy.deployment.conf.server.task_mercy = 60
    # What had it ends while we wait.
    monkeypatch.setattr(system.time, 'sleep', lambda seconds: held.close())
    proxy.load_files(())
    assert proxy.told == [()]


def test_what_apache_has_already_it_need_not_wait_for(proxy, held):
    proxy.own = {addresses.Address(*held.getsockname())}
    proxy.load_files(())
    assert proxy.told


def test_what_another_site_listens_on_is_not_waited_for(proxy, held):
    listens = (f'*:{held.getsockname()[1]}',)
    proxy.running_configuration = system.Configuration(
        listens, (), frozenset(), ()
    )
    proxy.load_files(())
    assert proxy.told


def test_apache_does_not_wait_for_itself(proxy, held):
    """Its old socket stays open until it has all of the new ones."""
    proxy.deployment.conf.server.task_mercy = 60
    proxy.own = {addresses.Address('0.0.0.0', held.getsockname()[1])}
    with pytest.raises(errors.PortInUse):
        proxy.load_files(())
    assert not proxy.told
