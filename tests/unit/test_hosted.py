"""What is known of a Glance from the configuration of others."""

import pytest

from glance_wsgi import errors
from glance_wsgi import hosted
from glance_wsgi.deployment import Deployment

URL = 'mysql+pymysql://glance:secret@db.example.org/glance'
KEYSTONE = 'https://keystone.example.org/v3'


@pytest.fixture
def made(tmp_path):
    """Makes a deployment that hosts what a text configures."""

    def made(text, **options):
        (tmp_path / 'glance-api.conf').write_text(text)
        options['glance_config_dir'] = str(tmp_path)
        return Deployment(tmp_path / 'state', None, options)

    return made


def test_the_database_is_the_one_that_others_have_configured(made):
    deployed = made(f'[database]\nconnection = {URL}\n')
    assert hosted.database(deployed) == URL
    with pytest.raises(errors.BadOption):
        hosted.database(made(''))


@pytest.mark.parametrize('name', ['www_authenticate_uri', 'auth_url'])
def test_the_keystone_is_the_one_that_others_have_configured(made, name):
    deployed = made(f'[keystone_authtoken]\n{name} = {KEYSTONE}\n')
    assert hosted.keystone(deployed) == KEYSTONE
    assert hosted.keystone(made('')) == ''


def test_a_keystone_that_is_hosted_too_is_where_it_listens(made):
    deployed = made('', keystone_config_dir='/etc/keystone')
    assert hosted.keystone(deployed) == deployed.keystone_url


def test_of_a_glance_of_ours_the_options_tell(tmp_path):
    deployed = Deployment(tmp_path, None, {'database': URL})
    assert hosted.database(deployed) == URL
    assert hosted.keystone(deployed) == deployed.keystone_url


def test_a_glance_without_a_file_has_no_database_that_is_known(tmp_path):
    options = {'glance_config_dir': str(tmp_path)}
    with pytest.raises(errors.BadOption, match=r'glance-api\.conf'):
        hosted.database(Deployment(tmp_path / 'state', None, options))
