"""A deployment for Tempest, as "up --profile gate" makes it."""

import configparser
import contextlib
import json
import stat
import urllib.request

import pytest
import toolkit

from glance_wsgi.errors import Exit

pytestmark = pytest.mark.each_server

ADDED = ('image-source', 'glance-api-remote')


@pytest.fixture(scope='module')
def gate(workspace):
    """A gate; its options are needed once only."""
    deployment = toolkit.Deployed(workspace / 'gate')
    try:
        deployment.up(*toolkit.gate_options())
        yield deployment
    finally:
        deployment.purge()


def tempest_conf(deployment):
    parser = configparser.RawConfigParser()
    parser.read(deployment.state_dir / 'tempest.conf')
    return parser


def endpoints(deployment):
    with deployment.connect() as cloud:
        return {
            service.type: cloud.endpoint_for(service.type)
            for service in cloud.identity.services()
        }


def test_a_second_up_has_nothing_to_change(gate):
    again = gate('up')
    assert 'Nothing had to be changed' in again.stdout
    assert ' done ' not in again.stdout


def test_every_application_serves_and_is_shown(gate):
    status = gate.status()
    assert status['serving']
    for name in ADDED:
        assert status[f'{name} health'] == 'OK'
        assert len(gate.processes(f'{name} worker')) == 2


def test_check_finds_nothing_wrong(gate):
    assert gate('check', check=False).returncode == Exit.OK


def test_the_catalogue_has_both_nodes_at_addresses_of_their_own(gate):
    found = endpoints(gate)
    assert found['image'] == gate.endpoint
    assert found['image_remote'].startswith('http://127.0.0.1:')
    assert found['image_remote'] != found['image']


def test_what_one_node_has_made_the_other_one_knows(gate):
    remote = endpoints(gate)['image_remote']
    with gate.connect() as cloud:
        image = cloud.image.create_image('one', disk_format='raw')
        try:
            answer = cloud.session.get(f'{remote}/v2/images/{image.id}')
            assert answer.json()['name'] == 'one'
        finally:
            cloud.image.delete_image(image.id)


def test_the_images_that_tempest_names_can_be_downloaded(gate):
    options = tempest_conf(gate)['image']
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for name in ('http_image', 'http_qcow2_image'):
        with contextlib.closing(opener.open(options[name])) as answer:
            assert len(answer.read()) == int(answer.headers['Content-Length'])


def test_the_smoke_tests_import_by_every_method(gate):
    rows = json.loads(gate('smoke', 'test_imports', '--format=json').stdout)
    assert {row['Result'] for row in rows} == {'passed'}, rows


def test_only_its_owner_reads_the_password_in_tempest_conf(gate):
    ours = gate.state_dir / 'tempest.conf', gate.state_dir / 'clouds.yaml'
    facts = [path.stat() for path in ours]
    assert {stat.S_IMODE(fact.st_mode) for fact in facts} == {0o600}
    assert len({fact.st_uid for fact in facts}) == 1


def test_reload_replaces_the_processes_of_every_application(gate):
    before = {process.pid for process in gate.processes('')}
    gate('reload')
    for name in ADDED:
        now = {process.pid for process in gate.processes(f'{name} worker')}
        assert now
        assert not now & before


def test_a_gate_becomes_plain_and_a_gate_again(gate):
    gate('up', '--profile=plain')
    status = gate.status()
    assert status['serving']
    assert not [name for name in ADDED if f'{name} health' in status]
    assert not [name for name in ADDED if gate.processes(name)]
    assert 'image_remote' not in endpoints(gate)
    assert not (gate.state_dir / 'tempest.conf').exists()
    assert 'Nothing had to be changed' in gate('up').stdout
    gate('up', '--profile=gate')
    assert gate.status()['image-source health'] == 'OK'
    assert 'image_remote' in endpoints(gate)
