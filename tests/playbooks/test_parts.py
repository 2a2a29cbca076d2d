"""What is refused when hosts and Keystone have been asked.

Parts of the playbooks, done on the machine of the tests: they change nothing
there.
"""

import pathlib
import sys

import fleet
import network
import pytest

ADMIN = {'username': 'admin', 'password': 'x', 'project_name': 'admin'}
TASKS = pathlib.Path(__file__).with_name('tasks.yaml')


@pytest.fixture(scope='module')
def here(net, workspace):
    """Does a part of a role as if hosts were this machine."""
    place = workspace / 'here'
    place.mkdir()
    made = fleet.Fleet(net, place, [], '1.0', names='')

    def play(role, tasks, names='a', **variables):
        known = made.inventory(names)
        known['all']['vars'] |= {
            'ansible_connection': 'local',
            'glance_wsgi_address': network.GATEWAY,
            'glance_wsgi_user': 'who-is-not-here',
            'glance_wsgi_keystone_admin': ADMIN,
        }
        return made.play(
            TASKS, inventory=known, role=role, tasks=tasks, **variables
        )

    return play


def refused(played, said) -> None:
    assert played.code
    assert said in ' '.join(played.said.split()), played.said
    assert set(played.changed().values()) == {0}


@pytest.mark.parametrize(
    ('tasks', 'names', 'variables'),
    [
        ('addresses', 'ab', {}),
        ('addresses', 'a', {'memcached_address': 'localhost'}),
        (
            *('addresses', 'a'),
            {'haproxy_address': network.GATEWAY, 'haproxy_port': 80},
        ),
        ('numbers', 'a', {}),
        ('numbers', 'a', {'glance_wsgi_user': 'daemon', 'glance_wsgi_uid': 1}),
    ],
)
def test_what_can_work_is_not_refused(here, tasks, names, variables):
    played = here('glance_wsgi', tasks, names, **variables).check()
    assert set(played.changed().values()) == {0}


@pytest.mark.parametrize(
    ('tasks', 'variables', 'said'),
    [
        (
            'addresses',
            {'memcached_address': 'localhost'},
            'memcached_address of a is "localhost", which is 127.0.0.1 there:'
            ' b would not reach it. Set ansible_host of a',
        ),
        (
            'addresses',
            {'glance_wsgi_database_host': '127.0.1.1'},
            'database_address of a is "127.0.1.1", which is 127.0.1.1 there',
        ),
        (
            'addresses',
            {'glance_wsgi_public_url': f'http://{network.GATEWAY}:9292'},
            f'listen on {network.GATEWAY}:9292: set haproxy_address to',
        ),
        (
            'addresses',
            {'haproxy_address': '*', 'haproxy_port': '9292'},
            f'listen on {network.GATEWAY}:9292: set haproxy_address to',
        ),
        (
            'numbers',
            {'glance_wsgi_user': 'daemon'},
            f'a has 1 for daemon, and glance_wsgi_uid is {fleet.UID}: set'
            ' glance_wsgi_uid to 1.',
        ),
        (
            'numbers',
            {'glance_wsgi_uid': 1},
            'a has 1, which is glance_wsgi_uid, for daemon: set it to a',
        ),
    ],
)
def test_what_a_host_cannot_do_is_refused(here, tasks, variables, said):
    refused(here('glance_wsgi', tasks, 'ab', **variables), said)


def test_a_database_of_an_older_release_says_which_way_to_go(here, tmp_path):
    program = tmp_path / 'bin' / 'glance-wsgi-manage'
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nexit 3\n')  # to be expanded
    program.chmod(0o755)
    place = str(tmp_path)
    played = here(
        *('schema', 'main'),
        glance_wsgi_virtualenv=place,
        glance_wsgi_config=place,
        glance_wsgi_series=fleet.NEW,
    )
    refused(played, 'set glance_wsgi_series to that one, run deploy.yaml, and')


def test_a_password_that_locks_out_nodes_that_serve_is_refused(here, keystone):
    have = {
        'glance_wsgi_keystone_admin': keystone.admin,
        'glance_wsgi_serving': sys.prefix,
        'glance_wsgi_virtualenv': sys.prefix,
        'glance_wsgi_service_user': 'parts',
    }

    def ask(password):
        with_it = have | {'glance_wsgi_service_password': password}
        return here('keystone', 'ask', **with_it)

    assert ask('one').check().changed() == {'a': 0}  # it is a new user
    here(
        'keystone', 'main', **have, glance_wsgi_service_password='one'
    ).check()
    ask('one').check()
    refused(
        ask('two'),
        'set glance_wsgi_service_user to a new name as well',
    )
    ask('one').check()
