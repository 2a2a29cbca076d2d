"""What glance-wsgi writes itself passes its own checks."""

import dataclasses
import importlib.metadata
import itertools

import material
import pytest
from lint_cases import Machine

from glance_wsgi import applications
from glance_wsgi import errors
from glance_wsgi import lint
from glance_wsgi import programs
from glance_wsgi import servers
from glance_wsgi import state
from glance_wsgi.deployment import Deployment
from glance_wsgi.lint import reading
from glance_wsgi.lint.context import Identity
from glance_wsgi.lint.findings import Severity
from glance_wsgi.lint.view import View

SERVERS = sorted(
    found.name
    for found in importlib.metadata.entry_points(group='glance_wsgi.servers')
)


@pytest.fixture(
    params=itertools.product(SERVERS, ['gate', 'plain']), ids='-'.join
)
def rendered(request, tmp_path):
    """A deployment of each server whose files have been written."""
    me = state.Owner.myself()
    deployment = Deployment(
        tmp_path / 'state',
        None,
        {
            'server': request.param[0],
            'profile': request.param[1],
            'database': 'mysql+pymysql://g:s@h/g',
        },
    )
    deployment.user = programs.ServiceUser('glance-wsgi', me)
    deployment.state.make(me)
    assert deployment.passwords
    wanted = applications.of(deployment)
    for file in servers.load(deployment).all_files(wanted):
        file.path.parent.mkdir(parents=True, exist_ok=True)
        file.write()
    return deployment


def test_there_is_a_server_to_check():
    assert 'uwsgi' in SERVERS


def test_no_server_of_ours_has_a_warning_or_an_error(rendered):
    machine = Machine(resolve={'127.0.0.1'})
    found = lint.lint(lint.targets(rendered), machine)
    assert [one for one in found if one.severity > Severity.INFO] == []


def test_a_servers_file_that_is_not_there_is_not_checked(rendered):
    before = lint.targets(rendered)
    assert applications.glance_conf(rendered) in before
    before[0].unlink()
    assert lint.targets(rendered) == before[1:]


def test_a_deployment_without_glances_configuration_is_incomplete(rendered):
    applications.glance_conf(rendered).unlink()
    with pytest.raises(errors.StateMissing, match=r'glance-api\.conf'):
        lint.targets(rendered)


def test_a_deployment_that_is_half_made_is_none_to_check(tmp_path):
    deployment = Deployment(tmp_path)
    deployment.user = programs.ServiceUser('x', state.Owner.myself())
    with pytest.raises(errors.StateMissing, match='not complete'):
        lint.targets(deployment)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def of_others(tmp_path):
    """A server for a Glance that others have configured, and its files."""
    etc = tmp_path / 'glance'
    etc.mkdir()
    (etc / 'glance-api.conf').write_text('[database]\nconnection = x\n')
    _, _ = material.rendered(tmp_path / 'state', glance_config_dir=str(etc))
    return material.deployment(tmp_path / 'state', glance_config_dir=str(etc))


def test_the_configuration_of_others_is_checked_with_the_server(of_others):
    found = lint.targets(of_others)
    assert of_others.hosted / 'glance-api.conf' in found
    assert of_others.places.etc / 'vassals' / 'glance-api.ini' in found
    assert not of_others.state.secrets.exists()


def test_a_hosted_glance_without_its_script_is_incomplete(of_others):
    of_others.places = dataclasses.replace(of_others.places, system=True)
    script = of_others.places.etc / 'wsgi' / 'glance-api.wsgi'
    script.unlink()
    with pytest.raises(errors.StateMissing, match=str(script)) as caught:
        lint.targets(of_others)
    assert 'glance-wsgi install' in caught.value.action


def test_an_apache_of_our_own_is_not_run_by_the_systems_user(rendered):
    class Several(Machine):
        def identity(self, name):
            return Identity(name, None, frozenset())

    machine = Several()
    machine.service = machine.identity('glance-wsgi')
    machine.certain = True
    read = tuple(map(reading.read, lint.targets(rendered)))
    assert View(read, machine).service() == machine.service
