"""What "install" puts back, and what the services are told of it.

The services are no real ones here: what becomes of those is seen in
tests/systemd.
"""

import argparse
import types

import material
import pytest

from glance_wsgi import errors
from glance_wsgi import install
from glance_wsgi import places
from glance_wsgi import servers
from glance_wsgi import state
from glance_wsgi import systemd
from glance_wsgi.cmd import reload
from glance_wsgi.cmd import status
from glance_wsgi.deployment import Deployment

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
        monkeypatch.setattr(install.Places, 'of_system', lambda *_: ours)
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
        name = name or self.server
        return types.SimpleNamespace(
            name=name, parts=tuple(map(self.part, name.split('+')))
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


def test_a_service_that_has_read_nothing_meanwhile_is_told_nothing(machine):
    machine.installed('emperor+apache')
    machine.killed('emperor+apache', active=['emperor', 'apache'])
    assert install.recover()
    assert machine.file == 'old'
    assert machine.told == ['systemctl daemon-reload']


def test_a_service_that_has_read_half_of_the_files_reads_them_again(machine):
    """After a reboot, for instance; whether it had been told or not."""
    machine.installed('emperor+apache')
    machine.killed('emperor+apache', active=['emperor', 'apache'])
    machine.read_since = {'apache'}
    assert install.recover()
    assert machine.told == ['systemctl daemon-reload', 'revert apache']


def test_what_was_not_used_before_gives_its_addresses_back_first(machine):
    machine.installed('emperor')
    machine.killed('emperor+apache', active=['emperor', 'apache'])
    machine.read_since = {'emperor', 'apache'}
    assert install.recover()
    assert machine.told[1:] == ['revert apache', 'revert emperor']


def test_what_did_not_run_before_is_stopped(machine):
    machine.killed('emperor')
    assert install.recover()
    assert machine.told == ['stop emperor', 'systemctl daemon-reload']
    assert machine.file is None


def test_a_service_that_does_not_follow_is_told_of_once(machine):
    machine.installed('apache')
    machine.killed('emperor+apache', active=['apache'])
    machine.read_since = {'apache'}
    machine.refused = {'stop emperor', 'revert apache'}
    with pytest.raises(errors.InstallFailed) as caught:
        install.recover()
    assert caught.value.outcome.startswith('The files are as before')
    assert machine.file == 'old'
    assert machine.told[-1] == 'revert apache'
    assert not install.recover()


def test_a_kill_while_it_is_put_back_is_followed_by_the_rest(
    machine, monkeypatch
):
    machine.installed('apache')
    machine.killed('apache', active=['apache'])
    machine.read_since = {'apache'}

    def die(service):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(machine, 'tell', lambda what, service: die(service))
        with pytest.raises(KeyboardInterrupt):
            install.recover()
    assert install.recover()
    assert machine.told[-1] == 'revert apache'


def failing(machine, server, error):
    """An installation that fails after its first file."""
    made = object.__new__(install.Installation)
    made.before = None
    made.server = machine.load(None, server)
    made.server.name = server

    def work(before):
        made._begin(before)
        machine.write(before, machine.root / 'etc' / 'file', 'new')
        raise error

    return lambda: made._undoing(work)


@pytest.mark.parametrize(
    'kind', [errors.TemplateIncomplete, errors.KeystoneUnreachable]
)
def test_an_error_says_that_everything_is_as_it_was(machine, kind):
    machine.installed('emperor')
    with pytest.raises(kind) as caught:
        failing(machine, 'emperor', kind('Cause.', 'Action.'))()
    assert caught.value.line() == f'Cause. {install.AS_BEFORE} Action.'
    assert machine.file == 'old'


def test_an_error_says_what_could_not_be_put_back(machine):
    machine.installed('apache')
    machine.running.add('apache')
    machine.read_since = {'apache'}
    machine.refused = {'revert apache'}
    with pytest.raises(errors.NotReady) as caught:
        failing(machine, 'apache', errors.NotReady('Cause.', 'Action.'))()
    assert REFUSED.cause in caught.value.outcome
    assert install.AS_BEFORE not in caught.value.line()
    assert machine.file == 'old'


def test_an_error_before_the_first_file_says_that_nothing_was_changed(machine):
    made = object.__new__(install.Installation)

    def work(before):
        raise errors.ServerRefuses('Cause.', 'Action.')

    with pytest.raises(errors.ServerRefuses) as caught:
        made._undoing(work)
    assert caught.value.outcome == 'Nothing was changed.'


@pytest.mark.parametrize('by_up', [True, False])
def test_the_catalogue_follows_what_is_put_back(machine, monkeypatch, by_up):
    """Where it is ours, and not that of a Glance that others configure."""
    machine.installed('emperor')
    if by_up:
        state.StateDir(machine.root / 'state').path.mkdir()
        state.StateDir(machine.root / 'state').write_marker({})
    machine.killed('emperor', active=['emperor'])
    note = install._Note.read(install._tentative())
    install.dataclasses.replace(note, registered=True).write(
        install._tentative()
    )
    seen = []
    monkeypatch.setattr(install, '_wait_for_health', lambda known: None)
    monkeypatch.setattr(
        install, '_register', lambda up: seen.append(up.deployment.state.path)
    )
    assert install.recover()
    assert seen == ([machine.root / 'state'] if by_up else [])


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


def test_a_reload_takes_what_was_installed_before_a_kill(
    machine, monkeypatch, capsys
):
    machine.installed('emperor')
    before = install._tentative()
    install._Note('emperor', 0, ('emperor',)).write(before)
    machine.write(before, install.options_file(), '[server]\nthreads = 9\n')
    seen = []

    class Installation:
        def __init__(self, deployment):
            seen.append(deployment.conf.server.threads)

        def reload(self, timeout, told, told_awaited):
            return False

    monkeypatch.setattr(install, 'Installation', Installation)
    assert reloaded(machine) == 0
    assert seen == [Deployment(machine.root / 'state').conf.server.threads]
    assert seen != [9]


def reloaded(machine, state_dir=None, server=None):
    verb = reload.Reload(None, argparse.Namespace(debug=False))
    verb._runs_itself = lambda deployment: False
    words = {'state_dir': state_dir, 'server': server, 'timeout': None}
    return verb.run(argparse.Namespace(**words))


def test_a_reload_of_another_server_than_the_installed_one_is_refused(
    machine, monkeypatch, capsys
):
    machine.installed('emperor')
    done = []
    monkeypatch.setattr(
        install.Installation, 'reload', lambda *words: done.append(words)
    )
    assert reloaded(machine, server='apache') == errors.Exit.BAD_OPTION
    assert 'emperor that hosts' in capsys.readouterr().err
    assert done == []
    assert reloaded(machine, server='emperor') == errors.Exit.OK
    assert len(done) == 1


def test_after_a_first_install_was_killed_nothing_can_be_reloaded(
    machine, capsys
):
    before = install._tentative()
    install._Note('emperor', 0, ()).write(before)
    machine.write(
        before, install._marker(), '{"state_dir": "/nowhere", "files": []}'
    )
    assert reloaded(machine) == errors.Exit.NOT_INSTALLED
    assert 'put back' in capsys.readouterr().err


def test_a_state_directory_that_is_named_is_what_is_reloaded(machine, capsys):
    """And not what is installed, which is another one."""
    machine.installed('emperor')
    other = machine.root / 'other'
    assert reloaded(machine, other) == errors.Exit.STATE_MISSING
    assert str(other) in capsys.readouterr().err


def meant(state_dir=None, running=False):
    """What a verb works on that takes a --state-dir."""
    verb = status.Status(None, argparse.Namespace(debug=False))
    verb._runs_itself = lambda deployment: running
    return verb.meant(argparse.Namespace(state_dir=state_dir))


def made_by_up(path):
    material.deployment(path).state.write_marker({})
    return path


def test_what_up_has_made_is_meant_as_it_is_installed(machine):
    machine.installed('emperor')
    up = made_by_up(machine.root / 'state')
    assert meant(up).places.system
    other = made_by_up(machine.root / 'other')
    assert not meant(other).places.system
    assert meant(other).state.path == other


def test_what_is_installed_is_meant_where_up_has_made_nothing(machine):
    """The Glance of others, for instance."""
    machine.installed('emperor')
    for named in (None, machine.root / 'state'):
        found = meant(named)
        assert found.places.system
        assert found.hosted == install.GLANCE
    with pytest.raises(errors.StateMissing):
        meant(machine.root / 'other')


def test_what_up_has_started_is_meant_rather_than_what_is_installed(machine):
    machine.installed('emperor')
    up = made_by_up(machine.root / 'state')
    assert not meant(up, running=True).places.system


@pytest.mark.parametrize(('uid', 'system'), [(0, True), (1000, False)])
def test_only_root_means_what_is_installed_instead_of_their_own(
    machine, monkeypatch, uid, system
):
    machine.installed('emperor')
    own = made_by_up(machine.root / 'own')
    monkeypatch.setattr(
        'glance_wsgi.deployment.default_state_dir', lambda: own
    )
    monkeypatch.setattr('os.geteuid', lambda: uid)
    assert meant().places.system == system


def test_what_only_root_may_read_is_refused_to_others(machine, monkeypatch):
    machine.installed('emperor')
    install.options_file().write_text('')
    monkeypatch.setattr('os.access', lambda path, mode: False)
    with pytest.raises(errors.NotRoot):
        meant()


def test_files_of_a_deployment_are_never_removed_as_stale(
    machine, monkeypatch
):
    old = machine.root / 'etc' / 'old.conf'
    own = machine.root / 'state' / 'etc' / 'glance-api.conf'
    for path in (old, own):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setattr(
        install,
        'facts',
        lambda: {
            'state_dir': str(machine.root / 'state'),
            'files': [str(old), str(own)],
        },
    )
    made = object.__new__(install.Installation)
    monkeypatch.setattr(made, 'files', list, raising=False)
    monkeypatch.setattr(made, '_marks', list, raising=False)
    assert made._stale() == [old]


def test_vassals_are_changed_when_apache_has_accepted_its_files(
    machine, monkeypatch
):
    """The Emperor acts on them at once, and serves what was there."""
    etc = machine.root / 'etc'
    made = object.__new__(install.Installation)
    made.before = None
    made.deployment = install.in_system(Deployment(machine.root / 'state'))
    made.server = machine.load(None, 'emperor')
    made.server.name = 'emperor'
    made.outcomes = []
    vassals = etc / 'vassals'
    vassals.mkdir()
    for name in ('api.ini', 'stale.ini'):
        (vassals / name).write_text('old')
    seen = []
    new = [
        install._plain(path, 'new')
        for path in (etc / 'file', vassals / 'api.ini')
    ]
    monkeypatch.setattr(made, 'files', lambda: new, raising=False)
    monkeypatch.setattr(made, '_stale', lambda: [vassals / 'stale.ini'])
    monkeypatch.setattr(made, '_try_early', lambda: None)
    monkeypatch.setattr(made, '_enabling', list)
    monkeypatch.setattr(made, '_make_directories', lambda before: None)

    def refuse():
        seen.append(machine.file)
        seen.extend(path.read_text() for path in sorted(vassals.iterdir()))
        raise errors.ServerRefuses('Cause.', 'Action.')

    monkeypatch.setattr(made, '_try_late', refuse)
    with pytest.raises(errors.ServerRefuses):
        made._undoing(lambda before: made._install(before, lambda lines: None))
    assert seen == ['new', 'old', 'old']
    assert machine.file is None


def test_a_new_user_who_cannot_be_removed_is_told_of():
    """Nobody has this name, so the system's own command refuses."""
    why = errors.InstallFailed('It is refused.', 'Mend it.')
    install._remove_user('gw-nobody-at-all', why)
    assert why.outcome.startswith(errors.InstallFailed.outcome)
    assert 'the new user gw-nobody-at-all is left: ' in why.outcome
    assert 'failed: ' in why.outcome
