"""What is refused when hosts and Keystone have been asked.

Parts of the playbooks, done on the machine of the tests: they change nothing
there.
"""

import pathlib
import sys

import fleet
import pytest

PART = pathlib.Path(__file__).with_name('part.yaml')


@pytest.fixture(scope='module')
def here(net, workspace, keystone):
    """Does a part of a role as if hosts were this machine."""
    place = workspace / 'here'
    place.mkdir()
    made = fleet.Fleet(net, place, [], '1.0', names='')
    made.variables = {'glance_wsgi_keystone_admin': keystone.admin}

    def play(role, tasks, names='a', **variables):
        known = made.inventory(names)
        known['all']['vars'] |= {'ansible_connection': 'local'}
        more = {'role': role, 'tasks': tasks, **variables}
        return made.play(PART, inventory=known, **more)

    return play


def refused(played, said) -> None:
    assert played.code
    assert said in ' '.join(played.said.split()), played.said
    assert set(played.changed().values()) == {0}


def test_a_password_that_locks_out_nodes_that_serve_is_refused(here):
    have = {
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
