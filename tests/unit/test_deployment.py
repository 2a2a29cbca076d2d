"""What follows from a deployment's options: addresses, URLs, places."""

import pathlib

import pytest

from glance_wsgi import applications
from glance_wsgi import errors
from glance_wsgi import install
from glance_wsgi import programs
from glance_wsgi.deployment import Deployment

TLS = {'tls_certificate': '/etc/ssl/one.pem', 'tls_key': '/etc/ssl/one.key'}


@pytest.fixture
def made(tmp_path):
    """Makes a deployment of some options; nothing is written."""
    return lambda **options: Deployment(tmp_path, None, options)


@pytest.mark.parametrize(
    ('options', 'endpoint'),
    [
        ({}, 'http://127.0.0.1:9292'),
        (TLS, 'https://127.0.0.1:9292'),
        ({'path': '/image'}, 'http://127.0.0.1:9292/image'),
        ({'path': '/image/'}, 'http://127.0.0.1:9292/image'),
        ({'listen': '[::1]:80'}, 'http://[::1]:80'),
        ({**TLS, 'public_host': 'a.org'}, 'https://a.org:9292'),
        (
            {'listen': '0.0.0.0:80', 'public_host': '::1', 'path': '/a/b'},
            'http://[::1]:80/a/b',
        ),
    ],
)
def test_clients_are_told_scheme_host_port_and_path(made, options, endpoint):
    assert made(**options).endpoint == endpoint


def test_this_machine_asks_by_an_address_that_it_can_reach(made):
    options = {**TLS, 'path': '/image', 'public_host': 'a.org'}
    assert (
        made(listen='0.0.0.0:80', **options).local_endpoint
        == 'https://127.0.0.1:80/image'
    )
    assert (
        made(listen='[::]:80', **options).local_endpoint
        == 'https://[::1]:80/image'
    )


@pytest.mark.parametrize(
    ('options', 'url'),
    [
        ({}, 'http://127.0.0.1:5000/v3'),
        ({**TLS, 'keystone_path': '/id/'}, 'https://127.0.0.1:5000/id/v3'),
        ({'keystone': 'https://k.org/'}, 'https://k.org/v3'),
        ({'keystone': 'https://k.org/id/v3/'}, 'https://k.org/id/v3'),
        # Its own encryption says nothing of ours.
        ({**TLS, 'keystone': 'http://k.org'}, 'http://k.org/v3'),
    ],
)
def test_the_url_of_keystone_ends_in_its_version(made, options, url):
    assert made(**options).keystone_url == url


def test_a_wildcard_without_a_public_host_is_refused(made):
    with pytest.raises(errors.BadAddress, match='--public-host'):
        _ = made(listen='0.0.0.0:9292').endpoint


@pytest.mark.parametrize('only', sorted(TLS))
def test_half_a_pair_is_refused_and_the_other_half_named(made, only):
    with pytest.raises(errors.BadCertificate) as caught:
        _ = made(**{only: TLS[only]}).encrypted
    for option in ('--tls-certificate', '--tls-key'):
        assert option in caught.value.action


def test_what_servers_need_to_encrypt_is_nothing_without_a_pair(made):
    assert made().tls is None
    tls = made(**TLS, hsts_max_age='60').tls
    assert tls['certificate'] == pathlib.Path(TLS['tls_certificate'])
    assert tls['key'] == pathlib.Path(TLS['tls_key'])
    assert tls['hsts_max_age'] == 60


def test_https_is_verified_unless_told_by_which_certificates(made):
    assert made(**TLS).verify is True
    assert made(**TLS, tls_ca='/ca.pem').verify == '/ca.pem'


def test_a_redirect_to_nothing_encrypted_is_refused(made):
    with pytest.raises(errors.BadCertificate, match='--redirect-listen'):
        _ = made(redirect_listen='127.0.0.1:80').redirect_listen


def test_a_redirect_has_an_address_and_a_typing_error_is_named(made):
    assert made().redirect_listen is None
    given = made(**TLS, redirect_listen='127.0.0.1:80').redirect_listen
    assert str(given) == '127.0.0.1:80'
    with pytest.raises(errors.BadAddress, match='--redirect-listen'):
        _ = made(**TLS, redirect_listen='80').redirect_listen


@pytest.mark.parametrize('option', ['path', 'keystone_path'])
def test_a_path_that_is_none_is_refused_and_the_option_named(made, option):
    flag = f'--{option.replace("_", "-")}'
    with pytest.raises(errors.BadAddress, match=flag):
        getattr(made(**{option: 'image'}), option)


def test_up_hosts_what_it_configures_unless_told_otherwise(made, tmp_path):
    assert made().hosted is None
    given = made(glance_config_dir=str(tmp_path / 'glance'))
    assert given.hosted == tmp_path / 'glance'


def test_keystone_is_hosted_if_embedded_or_if_its_directory_is_given(made):
    assert made().hosts_keystone
    assert not made(keystone='http://k.org').hosts_keystone
    assert not made(glance_config_dir='/etc/glance').hosts_keystone
    assert made(
        glance_config_dir='/etc/glance', keystone_config_dir='/etc/keystone'
    ).hosts_keystone


def test_applications_are_where_their_options_say(made):
    assert applications.locations(made(path='/image')) == [
        ('127.0.0.1:5000', ''),
        ('127.0.0.1:9292', '/image'),
    ]
    assert applications.locations(made(keystone='http://k.org')) == [
        ('127.0.0.1:9292', '')
    ]


@pytest.fixture
def hosted(tmp_path):
    """A Glance and a Keystone that others have configured."""
    for name in ('glance', 'keystone'):
        directory = tmp_path / name
        directory.mkdir()
        (directory / f'{name}.conf').write_text('[DEFAULT]\n')
        (directory / 'policy.d').mkdir()
    return {
        'glance_config_dir': str(tmp_path / 'glance'),
        'keystone_config_dir': str(tmp_path / 'keystone'),
    }


def test_of_what_others_configured_only_the_script_is_ours(made, hosted):
    keystone, glance = applications.of(made(**hosted))
    assert [file.template for file in glance.files] == ['application.wsgi.j2']
    assert [file.template for file in keystone.files] == [
        'application.wsgi.j2'
    ]
    assert (
        glance.environment['OS_GLANCE_CONFIG_DIR']
        == hosted['glance_config_dir']
    )
    assert hosted['keystone_config_dir'] in keystone.environment.values()


def test_a_script_changes_with_what_others_configure(made, hosted):
    before = applications.of(made(**hosted))[1].files[-1].text()
    assert applications.of(made(**hosted))[1].files[-1].text() == before
    place = pathlib.Path(hosted['glance_config_dir'])
    (place / 'glance.conf').write_text('[DEFAULT]\ndebug = true\n')
    assert applications.of(made(**hosted))[1].files[-1].text() != before


def test_a_script_does_not_change_when_a_node_is_taken_out(made, hosted):
    before = applications.of(made(**hosted))[1].files[-1].text()
    place = pathlib.Path(hosted['glance_config_dir'])
    (place / 'healthcheck_disable').touch()
    assert applications.of(made(**hosted))[1].files[-1].text() == before


def test_a_configuration_that_is_not_there_is_refused_and_named(
    made, tmp_path
):
    missing = str(tmp_path / 'missing')
    with pytest.raises(errors.BadOption, match='missing'):
        applications.of(made(glance_config_dir=missing))


def test_a_second_node_that_others_configured_has_an_address_of_its_own(
    made, hosted, tmp_path
):
    directory = tmp_path / 'glance-remote'
    directory.mkdir()
    deployed = made(**hosted, remote_config_dir=str(directory))
    _, remote, glance = applications.of(deployed)
    assert (remote.name, remote.listen) == (
        'glance-api-remote',
        '127.0.0.1:9293',
    )
    assert str(directory) in remote.environment.values()
    assert (remote.listen, '') in applications.locations(deployed)
    assert remote.name in applications.names(deployed)
    assert '--remote-listen' in dict(deployed.listening())
    assert deployed.configured_by_others[-1] == directory
    assert remote.script != glance.script


def test_a_second_node_without_a_first_one_of_others_is_none(made):
    deployed = made(remote_config_dir='/etc/glance-remote')
    assert not deployed.has_remote
    assert '--remote-listen' not in dict(deployed.listening())
    assert deployed.configured_by_others == []


def test_services_run_as_the_user_who_is_named(made):
    deployed = made(glance_config_dir='/etc/glance', run_as='nobody')
    assert deployed.user == programs.ServiceUser.named('nobody')
    in_system = install.in_system(deployed)
    assert in_system.places.daemon_user == 'nobody'
    assert deployed.user.group == 'nogroup'


@pytest.mark.parametrize(
    ('name', 'said'), [('no-such-user', 'no-such-user'), ('root', 'as root')]
)
def test_a_user_who_may_not_run_services_is_refused(made, name, said):
    with pytest.raises(errors.BadOption, match=said):
        made(run_as=name)


@pytest.mark.parametrize('name', ['python', 'python3'])
def test_the_python_is_found_by_either_name(made, monkeypatch, tmp_path, name):
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'bin' / name).touch()
    monkeypatch.setattr('sys.prefix', str(tmp_path))
    assert made().python == tmp_path / 'bin' / name
