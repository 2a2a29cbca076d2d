"""What Tempest needs of a deployment: "--profile gate"."""

import configparser
import shutil
import stat
import subprocess

import material
import pytest
from oslo_utils.imageutils import format_inspector

from glance_wsgi import applications
from glance_wsgi import errors
from glance_wsgi import gate
from glance_wsgi import nodes
from glance_wsgi import preflight
from glance_wsgi import servers
from glance_wsgi import steps

SERVERS = ['apache-uwsgi', 'mod_wsgi', 'uwsgi']


@pytest.fixture
def made(tmp_path):
    def made(**options):
        return material.deployment(tmp_path, profile='gate', **options)

    return made


def settings(application):
    """What an application of Glance is configured by."""
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(application.files[0].text())
    return parser


def by_name(deployment):
    return {item.name: item for item in applications.of(deployment)}


@pytest.mark.parametrize(
    ('options', 'named'),
    [
        ({'stores': 'one:file,web:http'}, '--stores'),
        ({'stores': 'one:file,two:file'}, '"web"'),
        ({'stores': 'one:file,two:file,http:http'}, '"web"'),
        ({'stores': 'one:file,gate:file,web:http'}, '"gate"'),
        ({'keystone': 'http://k.example.org/v3'}, 'http://k.example.org/v3'),
    ],
)
def test_options_that_the_suites_cannot_pass_with_are_refused(
    made, options, named
):
    with pytest.raises(errors.GateUnsuitable, match=named):
        preflight.check_stores(made(**options))


def test_encryption_is_refused(made, tmp_path):
    pem, key = material.certificate(tmp_path)
    with pytest.raises(errors.GateUnsuitable, match='--tls-certificate'):
        gate.check(made(tls_certificate=str(pem), tls_key=str(key)))


def test_the_defaults_and_other_names_of_file_stores_are_accepted(made):
    preflight.check_stores(made())
    preflight.check_stores(made(stores='a:file,web:http,b:file,c:file'))


def test_a_plain_deployment_may_have_any_stores(tmp_path):
    preflight.check_stores(
        material.deployment(tmp_path, stores='gate:file,x:http')
    )


def test_the_glance_that_clients_use_starts_last(made):
    assert [item.name for item in applications.of(made())] == [
        'keystone',
        'image-source',
        'glance-api-remote',
        'glance-api',
    ]


def test_apache_has_no_room_for_names_but_they_differ_in_what_it_shows(made):
    # "(wsgi:NAME)", cut to the length of the path of Apache's program.
    deployment = made(server='mod_wsgi')
    names = applications.names(deployment)
    assert sorted(names) == sorted(by_name(deployment))
    (daemons,) = servers.load(deployment).parts
    shown = [daemons._title(name) for name in names]
    room = len(str(daemons.installed.program))
    assert all(len(title) <= room for title in shown)
    for title in shown:
        assert len([one for one in shown if one.startswith(title)]) == 1


def test_a_plain_deployment_has_none_of_it(tmp_path):
    deployment = material.deployment(tmp_path)
    assert [item.name for item in applications.of(deployment)] == [
        'keystone',
        'glance-api',
    ]
    text = by_name(deployment)['glance-api'].files[0].text()
    for word in ('cache', 'show_multiple', 'import_filtering', 'weight'):
        assert word not in text


def test_passwords_are_cheap_to_hash_in_a_gate_only(made, tmp_path):
    conf = settings(by_name(made())['keystone'])
    assert conf['identity']['password_hash_rounds'] == '4'
    plain = material.deployment(tmp_path)
    assert 'identity' not in settings(by_name(plain)['keystone'])


def test_of_a_glance_that_others_configured_nothing_is_added(made, tmp_path):
    (tmp_path / 'glance').mkdir()
    hosted = made(glance_config_dir=str(tmp_path / 'glance'))
    (glance,) = applications.of(hosted)
    assert glance.name == 'glance-api'
    assert not hosted.gate
    assert len(hosted.listening()) == 1


def test_the_nodes_have_the_database_and_the_stores_in_common(made):
    deployed = by_name(made())
    first = settings(deployed['glance-api'])
    second = settings(deployed['glance-api-remote'])
    for section, option in (
        ('database', 'connection'),
        ('fast', 'filesystem_store_datadir'),
        ('cheap', 'filesystem_store_datadir'),
        ('keystone_authtoken', 'password'),
    ):
        assert first[section][option] == second[section][option]
    for section, option in (
        ('DEFAULT', 'worker_self_reference_url'),
        ('DEFAULT', 'image_cache_dir'),
        ('os_glance_staging_store', 'filesystem_store_datadir'),
        ('os_glance_tasks_store', 'filesystem_store_datadir'),
        ('oslo_concurrency', 'lock_path'),
    ):
        assert first[section][option] != second[section][option]


def test_whatever_a_node_writes_to_is_made_before_it_starts(made):
    deployment = made()
    steps.Up(deployment).state_directory()
    for item in (deployed := by_name(deployment)):
        if not item.startswith('glance'):
            continue
        conf = settings(deployed[item])
        for section, option in (
            ('DEFAULT', 'image_cache_dir'),
            ('os_glance_staging_store', 'filesystem_store_datadir'),
            ('os_glance_tasks_store', 'filesystem_store_datadir'),
        ):
            place = deployment.state.path / conf[section][option]
            assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert gate.source_directory(deployment).is_dir()


def test_stores_are_shown_in_the_order_of_their_names(made):
    conf = settings(
        by_name(made(stores='b:file,a:file,web:http'))['glance-api']
    )
    assert int(conf['a']['weight']) > int(conf['b']['weight'])
    assert conf['glance_store']['default_backend'] == 'b'


def test_images_may_be_fetched_from_the_source_and_from_glance_only(made):
    deployment = made(source_listen='[::1]:9000', public_host='image.example')
    conf = settings(by_name(deployment)['glance-api'])
    allowed = conf['import_filtering_opts']
    assert allowed['allowed_hosts'] == '[::1,image.example]'
    assert allowed['allowed_ports'] == '[9000,9292]'


@pytest.mark.parametrize('server', SERVERS)
@pytest.mark.parametrize('option', ['remote_listen', 'source_listen'])
def test_two_applications_in_one_place_are_refused(made, server, option):
    deployment = made(server=server, **{option: '127.0.0.1:9292'})
    kinds = (errors.PortInUse, errors.BadAddress)
    with pytest.raises(kinds, match=r'127\.0\.0\.1:9292'):
        servers.load(deployment).check()


@pytest.mark.parametrize('server', SERVERS)
def test_every_server_is_told_of_every_application(made, server):
    deployment = made(server=server)
    wanted = applications.of(deployment)
    texts = ''.join(
        file.text() for file in servers.load(deployment).files(wanted)
    )
    for item in wanted:
        assert str(item.script) in texts
        assert str(item.listen) in texts


def test_an_address_that_is_taken_is_named_by_its_option(made):
    listening = dict(made().listening())
    assert list(listening)[-2:] == ['--remote-listen', '--source-listen']
    with pytest.raises(errors.PortInUse, match='--remote-listen'):
        preflight.check_apart(
            {**listening, '--source-listen': listening['--remote-listen']}
        )


def test_the_qcow2_image_is_one(tmp_path):
    image = gate.qcow2()
    inspector = format_inspector.get_inspector('qcow2')()
    inspector.eat_chunk(image)
    assert inspector.format_match
    inspector.safety_check()
    assert inspector.virtual_size == gate.SIZE
    if shutil.which('qemu-img') is None:
        pytest.skip('no qemu-img: apt-get install qemu-utils')
    file = tmp_path / gate.QCOW2
    file.write_bytes(image)
    subprocess.run(['qemu-img', 'check', '-f', 'qcow2', file], check=True)


def test_the_raw_image_has_no_format_of_its_own():
    assert len(gate.raw()) == gate.SIZE
    assert gate.raw() == gate.raw()
    found = format_inspector.InspectWrapper(source=iter([gate.raw()]))
    assert list(found)
    assert found.format.NAME == 'raw'


def test_the_images_are_written_once(made):
    deployment = made()
    steps.Up(deployment).state_directory()
    assert gate.write_images(deployment)
    assert not gate.write_images(deployment)
    place = gate.source_directory(deployment)
    assert sorted(item.name for item in place.iterdir()) == [
        gate.QCOW2,
        gate.RAW,
    ]


def test_tempest_is_told_where_everything_is(made):
    deployment = made(region='North')
    file = gate.tempest_file(deployment)
    assert file.write()
    assert stat.S_IMODE(deployment.state.tempest.stat().st_mode) == 0o600
    parser = configparser.RawConfigParser()
    parser.read(deployment.state.tempest)
    assert (
        parser['auth']['admin_password']
        == (deployment.passwords['admin_password'])
    )
    assert parser['image']['region'] == 'North'
    assert parser['image']['http_image'].startswith('http://127.0.0.1:9294/')
    (_, second) = nodes.of(deployment)
    assert parser['image']['alternate_image_endpoint'] == second.service_type


def test_tempest_is_told_nothing_of_a_deployment_that_is_plain_again(
    made, tmp_path
):
    steps.Up(made())._tell_clients()
    assert made().state.tempest.exists()
    plain = material.deployment(tmp_path)
    assert steps.Up(plain)._tell_clients()
    assert not plain.state.tempest.exists()
