"""The order of what ``up`` does."""

import material
import pytest

from glance_wsgi import applications
from glance_wsgi import errors
from glance_wsgi import probe
from glance_wsgi import steps
from glance_wsgi.deployment import Deployment


def names(tmp_path, **options):
    return [
        step.name
        for step in steps.Up(Deployment(tmp_path, None, options)).steps()
    ]


def test_each_step_finds_what_it_needs_done_before(tmp_path):
    order = names(tmp_path)
    for earlier, later in [
        ('state directory', 'secrets'),
        ('secrets', 'configuration'),
        ('configuration', 'db sync'),
        ('db sync', 'metadefs'),
        ('configuration', 'keystone keys'),
        ('keystone keys', 'keystone database'),
        ('keystone database', 'keystone bootstrap'),
        ('keystone bootstrap', 'start'),
        ('metadefs', 'start'),
        ('start', 'service and endpoints'),
        ('service and endpoints', 'ready'),
    ]:
        assert order.index(earlier) < order.index(later)
    assert order[0] == 'state directory'
    assert order[-1] == 'ready'


def test_no_two_steps_have_the_same_name(tmp_path):
    order = names(tmp_path)
    assert len(set(order)) == len(order)


def test_a_keystone_elsewhere_is_not_set_up(tmp_path):
    own = names(tmp_path)
    other = names(tmp_path, keystone='https://keystone.example.org/v3')
    left_out = [name for name in own if name not in other]
    assert left_out == [
        'keystone keys',
        'keystone database',
        'keystone bootstrap',
    ]


def test_every_step_says_what_it_does(tmp_path):
    for step in steps.Up(Deployment(tmp_path)).steps():
        assert step.work.__doc__


def test_looking_at_the_steps_changes_nothing(tmp_path):
    names(tmp_path)
    assert list(tmp_path.iterdir()) == []


def contents(up):
    """What is in the configuration of a deployment."""
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in up.state.etc.rglob('*')
        if path.is_file()
    }


@pytest.fixture
def serving(tmp_path, monkeypatch):
    """A configured deployment that seems to serve; and one with changes."""
    assert steps.Up(material.deployment(tmp_path)).configuration()
    changed = material.deployment(tmp_path, threads='5', client_timeout='7')
    up = steps.Up(changed)
    monkeypatch.setattr(up.server, 'processes', lambda: ['something'])
    return up


def test_configuration_that_is_refused_is_put_back(serving, monkeypatch):
    before = contents(serving)

    def refuse(wanted):
        assert contents(serving) != before
        raise errors.ServerRefuses('No.', 'Yes.')

    monkeypatch.setattr(serving.server, 'test', refuse)
    with pytest.raises(errors.ServerRefuses):
        serving.configuration()
    assert contents(serving) == before
    assert not serving.state.checkpoint.exists()


def test_the_emperor_gets_a_file_only_when_all_of_them_have_been_tried(
    serving, monkeypatch
):
    """It acts on it at once; what is refused it must never see."""
    vassal = serving.state.etc / 'vassals' / 'glance-api.ini'
    before = vassal.read_text()
    seen = []
    monkeypatch.setattr(serving.server, 'test', lambda wanted: None)
    monkeypatch.setattr(
        applications,
        'check_loads',
        lambda *words: seen.append(vassal.read_text()),
    )
    assert serving.configuration()
    assert set(seen) == {before}
    assert vassal.read_text() != before


def test_an_application_that_cannot_load_puts_everything_back(
    serving, monkeypatch
):
    before = contents(serving)
    tried = []

    def refuse(deployment, application):
        tried.append(application.name)
        raise errors.ServerRefuses('No.', 'Yes.')

    monkeypatch.setattr(serving.server, 'test', lambda wanted: None)
    monkeypatch.setattr(applications, 'check_loads', refuse)
    with pytest.raises(errors.ServerRefuses):
        serving.configuration()
    assert tried == ['keystone']
    assert contents(serving) == before


def test_configuration_that_is_accepted_stays(serving, monkeypatch):
    monkeypatch.setattr(serving.server, 'test', lambda wanted: None)
    monkeypatch.setattr(applications, 'check_loads', lambda *words: None)
    assert serving.configuration() is True
    text = (serving.state.etc / 'vassals' / 'glance-api.ini').read_text()
    assert '\nthreads = 5\n' in text
    assert 'threads = 5' in serving.state.options.read_text()
    assert serving.configuration() is False


def test_what_a_killed_command_has_written_is_put_back_first(tmp_path):
    up = steps.Up(material.deployment(tmp_path))
    assert up.configuration()
    before = contents(up)
    killed = steps.Up(material.deployment(tmp_path, threads='5'))
    for files in killed._configuration_files():
        steps._write(
            steps.checkpoint.Checkpoint(killed.state.checkpoint), files
        )
    assert contents(up) != before
    assert up.configuration() is False
    assert contents(up) == before


def test_nothing_that_runs_is_nothing_to_reload(tmp_path):
    up = steps.Up(material.deployment(tmp_path))
    with pytest.raises(errors.NotServing, match='glance-wsgi up'):
        up.check_running()


def test_what_the_server_waits_for_is_waited_for(tmp_path, monkeypatch):
    up = steps.Up(material.deployment(tmp_path / 'state', task_mercy=900))
    (*_, application) = applications.of(up.deployment)
    given = {}
    monkeypatch.setattr(
        probe, 'wait_until', lambda **words: given.update(words)
    )
    up.wait_for(application)
    assert given['patience'] == 900
    for lines in (['uwsgi: new requests wait'], []):
        monkeypatch.setattr(up.server, 'awaited', lambda _, lines=lines: lines)
        assert given['held']() is bool(lines)
