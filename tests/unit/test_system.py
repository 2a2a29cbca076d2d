"""The system's Apache, which has sites of others and must not end."""

import dataclasses
import os
import signal
import socket
import subprocess
import types

import pytest

from glance_wsgi import addresses
from glance_wsgi import checkpoint
from glance_wsgi import errors
from glance_wsgi import platforms
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


class Control:
    """An Apache that refuses its files while a condition holds."""

    def __init__(self, monkeypatch, tmp_path, refuses=lambda: False):
        self.refuses = refuses
        self.signals = []
        self.apache = object.__new__(apache_uwsgi.SystemProxy)
        self.pidfile = tmp_path / 'apache2.pid'
        self.pidfile.touch()
        os.utime(self.pidfile, ns=(1, 1))
        monkeypatch.setattr(system.SystemApache, '_pidfile', self.pidfile)
        monkeypatch.setattr(
            system.SystemApache,
            'parent',
            lambda apache: types.SimpleNamespace(send_signal=self.take),
        )
        monkeypatch.setattr(system.SystemApache, '_control', self.control)

    def take(self, number):
        self.signals.append(number)
        self.pidfile.touch()

    def control(self, *words):
        code, said = (1, 'AH00526: broken') if self.refuses() else (0, '')
        return subprocess.CompletedProcess(words, code, '', said)


def test_apache_reads_its_files_again(monkeypatch, tmp_path):
    control = Control(monkeypatch, tmp_path)
    control.apache.reread()
    assert control.signals == [signal.SIGUSR1]


def test_apache_is_not_told_to_read_what_it_would_end_over(
    monkeypatch, tmp_path
):
    control = Control(monkeypatch, tmp_path, refuses=lambda: True)
    with pytest.raises(errors.ServerRefuses, match='AH00526: broken'):
        control.apache.reread()
    assert control.signals == []


def test_an_apache_that_has_ended_has_read_nothing(monkeypatch, tmp_path):
    control = Control(monkeypatch, tmp_path)
    assert not control.apache.has_read_since(1)
    assert control.apache.has_read_since(0)
    control.pidfile.unlink()
    assert control.apache.has_read_since(1)
    monkeypatch.setattr(apache, '_START_TIMEOUT', 0.1)
    monkeypatch.setattr(control, 'take', control.signals.append)
    with pytest.raises(errors.NotReady):
        control.apache.reread()


@pytest.mark.parametrize('needed', [True, False])
def test_modules_that_others_have_come_to_need_stay_enabled(
    monkeypatch, tmp_path, needed
):
    conf, enabled = tmp_path / 'conf', tmp_path / 'conf' / 'mods-enabled'
    enabled.mkdir(parents=True)
    distribution = platforms.DEBIAN_APACHE.system
    monkeypatch.setattr(
        system.SystemApache,
        'system',
        dataclasses.replace(
            distribution,
            conf=conf,
            enable_module=f'touch {enabled}/{{name}}.load',
            module_marks=(f'{enabled}/{{name}}.load',),
        ),
    )
    before = checkpoint.Checkpoint(tmp_path / 'before')
    marks = [enabled / f'{name}.load' for name in ('proxy', 'http')]
    site = conf / 'site.conf'
    for path in (site, *marks):
        before.keep(path)
        path.touch()
    control = Control(
        monkeypatch,
        tmp_path,
        refuses=lambda: site.exists() or (needed and not marks[0].exists()),
    )
    kept = control.apache.withdraw(before)
    assert kept == (['proxy', 'http'] if needed else [])
    before.restore()
    assert [path.exists() for path in (site, *marks)] == [
        False,
        needed,
        needed,
    ]


def test_modules_stay_while_apache_refuses_something_else(
    monkeypatch, tmp_path
):
    before = checkpoint.Checkpoint(tmp_path / 'before')
    control = Control(monkeypatch, tmp_path, refuses=lambda: True)
    with pytest.raises(errors.ServerRefuses):
        control.apache.withdraw(before)


def test_an_apache_that_has_been_removed_is_in_nobodys_way(
    monkeypatch, tmp_path
):
    control = Control(monkeypatch, tmp_path)

    def missing(*words):
        raise FileNotFoundError('/usr/sbin/apache2ctl')

    monkeypatch.setattr(control, 'refuses', missing)
    before = checkpoint.Checkpoint(tmp_path / 'before')
    assert control.apache.withdraw(before) == []
