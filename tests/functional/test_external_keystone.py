"""A Keystone that belongs to somebody else."""

import os

import images
import pytest
import toolkit

from glance_wsgi.errors import Exit

# What a person without any account of an administrator has.
NOBODY = {name: '' for name in os.environ if name.startswith('OS_')} | {
    'OS_CLIENT_CONFIG_FILE': '/dev/null',
    'HOME': '/dev/null',
    'XDG_CONFIG_HOME': '/dev/null',
}


# What a second Glance in the same Keystone needs for itself.
OWN = ('--region=Second', '--service-user=second')


@pytest.fixture(scope='module')
def keystone(breakable):
    """The flag for the Keystone of another deployment."""
    breakable.up()
    yield f'--keystone=http://127.0.0.1:{breakable.keystone_port}'
    # Its own Glance has kept its place and its password.
    assert 'Nothing had to be changed' in breakable.up().stdout
    assert breakable.status()['serving']


@pytest.fixture(scope='module')
def registered(workspace, keystone, breakable):
    """A deployment that an administrator has registered there."""
    deployment = toolkit.Deployed(workspace / 'external')
    deployment.up(keystone, *OWN, env=breakable.environment())
    yield deployment
    deployment.purge()


def test_without_an_administrator_nothing_is_registered(fresh, keystone):
    result = fresh.up(keystone, env=NOBODY, check=False)
    assert result.returncode == Exit.KEYSTONE_REFUSED, result
    assert len(result.stderr.splitlines()) == 1, result
    assert 'OS_CLOUD' in result.stderr
    assert not fresh.state_dir.exists()


def test_a_wrong_password_of_the_administrator_is_named(
    fresh, keystone, breakable
):
    auth = {
        f'OS_{name.upper()}': value
        for name, value in breakable.account()['auth'].items()
    }
    wrong = NOBODY | auth | {'OS_PASSWORD': 'forgotten'}
    result = fresh.up(keystone, env=wrong, check=False)
    assert result.returncode == Exit.KEYSTONE_REFUSED, result
    assert len(result.stderr.splitlines()) == 1, result
    assert 'forgotten' not in result.stderr
    assert not fresh.state_dir.exists()


def refused(deployment, *words, env) -> str:
    """What ``up`` says; it changed nothing."""
    result = deployment.up(*words, env=env, check=False)
    assert result.returncode == Exit.KEYSTONE_REFUSED, result
    assert len(result.stderr.splitlines()) == 1, result
    assert not deployment.state_dir.exists()
    return result.stderr


def test_the_user_of_another_glance_keeps_its_password(
    fresh, keystone, breakable
):
    words = (keystone, '--region=Third')
    said = refused(fresh, *words, env=breakable.environment())
    assert 'user "glance"' in said
    assert '--service-user' in said


def test_the_endpoint_of_another_glance_stays(fresh, keystone, breakable):
    words = (keystone, '--service-user=third')
    said = refused(fresh, *words, env=breakable.environment())
    assert breakable.endpoint in said
    assert '--region' in said


def test_an_administrator_of_another_keystone_is_refused(
    fresh, keystone, breakable, deployed
):
    said = refused(fresh, keystone, *OWN, env=deployed.environment())
    assert str(deployed.keystone_port) in said
    assert str(breakable.keystone_port) in said


def test_images_can_be_made_with_its_clouds_yaml(registered):
    assert registered.status()['serving']
    data = images.random_bytes(images.KIB)
    with registered.connect() as cloud:
        assert cloud.image.get_endpoint().startswith(registered.endpoint)
        image = images.create(cloud)
        images.upload(cloud, image, data)
        images.assert_holds(cloud, image, data)
        cloud.image.delete_image(image)


def test_no_keystone_is_run(registered):
    names = {row['name'] for row in registered.status()['processes']}
    assert not [name for name in names if 'keystone' in name]
    assert not (registered.state_dir / 'data' / 'keystone.sqlite').exists()


def test_a_second_up_needs_no_administrator(registered):
    before = toolkit.snapshot(registered.state_dir / 'etc')
    said = registered('up', env=NOBODY).stdout
    assert 'Nothing had to be changed' in said
    assert toolkit.snapshot(registered.state_dir / 'etc') == before


def test_the_password_of_the_administrator_is_kept_nowhere(
    registered, breakable
):
    password = breakable.account()['auth']['password'].encode()
    for file in registered.state_dir.rglob('*'):
        if file.is_file():
            assert password not in file.read_bytes(), file
