"""What can't work is refused by the first tasks, which ask no host."""

import fleet
import pytest

REQUIRED = (
    'glance_wsgi_public_url',
    'glance_wsgi_keystone_url',
    'glance_wsgi_keystone_admin',
    'glance_wsgi_service_password',
    'glance_wsgi_database_password',
    'glance_wsgi_store',
)
PLAYBOOKS = ('deploy.yaml', 'upgrade.yaml')
UNKNOWN = {'kind': 'tape'}
ADMIN = {'username': 'admin', 'password': 'x', 'project_name': 'admin'}


@pytest.fixture(scope='module')
def operator(net, workspace):
    """Somebody with an inventory whose hosts are not there."""
    place = workspace / 'operator'
    place.mkdir()
    made = fleet.Fleet(net, place, [], '1.0', names='')
    made.variables = {'glance_wsgi_keystone_admin': ADMIN}
    return made


def refused(operator, playbook, inventory=None, **variables) -> str:
    known = inventory or operator.inventory()
    played = operator.play(playbook, inventory=known, **variables)
    assert played.code
    assert 'Nothing was changed.' in played.said, played.said
    assert set(played.changed().values()) == {0}
    return played


@pytest.mark.parametrize('playbook', PLAYBOOKS)
@pytest.mark.parametrize('name', REQUIRED)
def test_a_missing_variable_is_named_by_the_first_task(
    operator, playbook, name
):
    played = refused(operator, playbook, **{name: ''})
    assert f'{name} is not set: give it ' in played.said
    assert len(played.tasks()) == 1


@pytest.mark.parametrize('value', [None, {}])
@pytest.mark.parametrize('name', REQUIRED)
def test_a_blank_variable_is_one_that_is_missing(operator, name, value):
    played = refused(operator, 'deploy.yaml', **{name: value})
    assert f'{name} is not set: give it ' in played.said
    assert len(played.tasks()) == 1


def test_a_number_is_a_password_too(operator):
    played = refused(
        operator,
        'deploy.yaml',
        glance_wsgi_service_password=12345,
        glance_wsgi_database_password=0.5,
    )
    assert "can't be reached" in played.said, played.said


@pytest.mark.parametrize('playbook', PLAYBOOKS)
@pytest.mark.parametrize(
    ('variables', 'said'),
    [
        ({'glance_wsgi_server': 'nginx'}, 'set it to uwsgi, apache-uwsgi'),
        ({'glance_wsgi_series': 'zed'}, 'constraints/zed.txt'),
        ({'glance_wsgi_store': UNKNOWN}, 'mounted, nfs, s3, ceph'),
        ({'glance_wsgi_store': {'kind': 'nfs'}}, 'nfs "path" and "source"'),
        ({'glance_wsgi_uid': ''}, 'glance_wsgi_uid is not set'),
        (
            {'glance_wsgi_options': {'tls_key': '/key', 'database': 'x'}},
            'glance_wsgi_options has database, tls_key',
        ),
        (
            {'glance_wsgi_options': {'workers': 2, 'treads': 4}},
            'glance_wsgi_options has treads, which',
        ),
        (
            {'glance_wsgi_keystone_admin': ADMIN | {'password': ''}},
            'glance_wsgi_keystone_admin has no password',
        ),
        (
            {'glance_wsgi_public_url': 'https://images.example.org'},
            'write http://HOST:PORT, without a path',
        ),
        (
            {'glance_wsgi_public_url': 'http://images.example.org/image'},
            'write http://HOST:PORT, without a path',
        ),
        (
            {'smoke_member': {'username': 'demo', 'password': 'x'}},
            'smoke_member has no project_name',
        ),
        ({'haproxy_certificate': '/cert'}, 'write https://HOST:PORT'),
        (
            {'glance_wsgi_public_url': 'http://[2001:db8::1]:9292'},
            'glance_wsgi_public_url has an IPv6 address',
        ),
        (
            {'glance_wsgi_database_host': '2001:db8::1'},
            'glance_wsgi_database_host has an IPv6 address',
        ),
    ],
)
def test_a_value_that_cannot_work_is_refused_without_asking_a_host(
    operator, playbook, variables, said
):
    played = refused(operator, playbook, **variables)
    assert said in ' '.join(played.said.split())
    assert 'Ask every host what it is' not in played.tasks()


def test_a_group_without_hosts(operator):
    inventory = operator.inventory()
    inventory['all']['children']['haproxy'] = {}
    played = refused(operator, 'deploy.yaml', inventory)
    assert 'The group "haproxy" has no host' in played.said


def test_two_databases(operator):
    inventory = operator.inventory()
    inventory['all']['children']['database']['hosts']['b'] = None
    played = refused(operator, 'deploy.yaml', inventory)
    assert 'The group "database" has a, b: leave one in' in played.said


def test_a_drain_looks_at_the_settings_too(operator):
    inventory = operator.inventory()
    inventory['all']['vars']['glance_wsgi_series'] = 'zed'
    played = refused(operator, 'drain.yaml', inventory, node='a')
    assert 'constraints/zed.txt' in played.said


@pytest.mark.parametrize('playbook', PLAYBOOKS)
def test_hosts_that_cannot_be_reached(operator, playbook):
    played = refused(operator, playbook)
    said = ' '.join(played.said.split())
    assert "a, b, c can't be reached: correct ansible_host" in said, said
    assert played.tasks()[-1] == (
        'glance_wsgi : See that every host can be reached'
    )


def test_a_node_or_an_haproxy_that_cannot_be_reached_stops_a_drain(operator):
    played = refused(operator, 'drain.yaml', node='b')
    assert "a, b can't be reached: correct ansible_host" in ' '.join(
        played.said.split()
    )


@pytest.mark.parametrize('given', [{}, {'node': 'nobody'}])
def test_a_node_that_is_none_cannot_be_drained(operator, given):
    played = refused(operator, 'drain.yaml', **given)
    assert 'give -e node=NAME, one of a, b, c.' in played.said
    assert len(played.tasks()) == 1
