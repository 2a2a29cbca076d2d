"""What "install" puts back, and what the services are told of it.

The services are no real ones here: what becomes of those is seen in
tests/systemd.
"""

import types

import pytest

from glance_wsgi import errors
from glance_wsgi import install
from glance_wsgi import places
from glance_wsgi import servers
from glance_wsgi import state
from glance_wsgi import systemd

REFUSED = errors.InstallFailed('It is refused.', 'Mend it.')


class System:
    """The places of a machine, and services that note what they are told."""

    def __init__(self, root, monkeypatch):
        self.root = root
        self.told = []
        self.running = set()
        self.read_since = set()
        self.refused = set()
        self.server = None
        ours = places.Places(
            root / 'etc', root / 'run', root / 'log', system=True
        )
        for place in (ours.etc, ours.run, root / 'home'):
            place.mkdir()
        monkeypatch.setattr(install, 'HOME', root / 'home')
        monkeypatch.setattr(install.Places, 'of_system', lambda: ours)
        monkeypatch.setattr(install, 'check_root', lambda: None)
        monkeypatch.setattr(systemd, 'booted', lambda: True)
        monkeypatch.setattr(systemd, 'is_active', self.running.__contains__)
        monkeypatch.setattr(systemd, 'call', self.call)
        monkeypatch.setattr(
            systemd, 'stop', lambda unit: self.tell('stop', unit)
        )
        monkeypatch.setattr(servers, 'load', self.load)

    def call(self, *words):
        self.told.append(' '.join(map(str, words)))

    def tell(self, what, service):
        self.told.append(f'{what} {service}')
        if f'{what} {service}' in self.refused:
            raise REFUSED

    def load(self, deployment, name=None):
        names = (name or self.server).split('+')
        return types.SimpleNamespace(
            parts=tuple(self.part(item) for item in names)
        )

    def part(self, service):
        return types.SimpleNamespace(
            service=service,
            has_read_since=lambda moment: service in self.read_since,
            revert=lambda: self.tell('revert', service),
            leave=lambda: self.tell('leave', service),
            wait_until_quiet=lambda: self.tell('wait', service),
            withdraw=lambda before: [],
        )

    def installed(self, server):
        """Have something installed by an earlier command."""
        self.server = server
        state_dir = self.root / 'state'
        text = f'{{"state_dir": "{state_dir}", "files": []}}'
        self.write(install.lasting(), install._marker(), text)
        self.write(install.lasting(), self.root / 'etc' / 'file', 'old')

    def killed(self, server, active=()):
        """What a command leaves that is killed while it installs."""
        before = install._tentative()
        install._Note(server, 0, tuple(active)).write(before)
        self.write(before, self.root / 'etc' / 'file', 'new')

    def write(self, before, path, text):
        me = state.Owner.myself()
        before.write(install.Plain(path, '', {'text': text}, me))

    @property
    def file(self):
        path = self.root / 'etc' / 'file'
        return path.read_text() if path.exists() else None


@pytest.fixture
def machine(tmp_path, monkeypatch):
    return System(tmp_path, monkeypatch)


@pytest.mark.parametrize('service', ['apache', 'emperor'])
@pytest.mark.parametrize('what', ['wait', 'leave'])
def test_uninstalling_goes_on_where_it_has_failed(machine, service, what):
    machine.installed('emperor+apache')
    machine.refused = {f'{what} {service}'}
    with pytest.raises(errors.InstallFailed) as caught:
        install.uninstall()
    # What runs still has its files.
    assert machine.file == 'old'
    if what == 'leave':
        assert caught.value.outcome == install.GOES_ON
    machine.refused = set()
    machine.told.clear()
    deployment, kept = install.uninstall()
    assert deployment is not None
    assert kept == []
    assert machine.told == [
        'wait emperor',
        'wait apache',
        'leave apache',
        'leave emperor',
        'systemctl daemon-reload',
    ]
    assert machine.file is None
    with pytest.raises(errors.NotInstalled):
        install.uninstall()
