"""A host on which nothing is: neither packages, nor virtualenvs."""

import fleet
import pytest

pytestmark = pytest.mark.timeout(5400)

LACKING = ('haproxy', 'memcached', 'socat', 'mariadb-server', 'python3-apt')


@pytest.fixture
def bare(net, workspace, keystone):
    """The host; its packages were removed again."""
    place = workspace / 'bare'
    place.mkdir()
    made = fleet.Fleet(net, place, [fleet.packages()], '', names='a')
    made.variables = {'glance_wsgi_keystone_admin': keystone.admin}
    try:
        made['a']('dpkg', '--purge', '--force-depends', *LACKING)
        yield made
    finally:
        made.remove()


def test_a_check_of_a_bare_host_says_what_it_would_do(bare):
    played = bare.play('deploy.yaml', '--check').check()
    assert played.changed()['a'] > 10, played.said
    for name in LACKING:
        assert name in played.said
        query = ('dpkg-query', '--show', '--showformat=${db:Status-Status}')
        found = bare['a'](*query, name, check=False).stdout
        assert found != 'installed'
