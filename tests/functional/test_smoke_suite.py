"""``glance-wsgi smoke``: the smoke tests against a real set-up.

Guards against tests that leave something behind, and against errors that
don't say what is wrong.
"""

import json
import re
import signal
import subprocess
from xml.etree import ElementTree

import certificates
import loopback
import pytest
import toolkit
import yaml
from glance_wsgi_faults import WEB
from test_bad_input import one_line

from glance_wsgi.errors import Exit


@pytest.fixture
def uri(web):
    """What the tests import by web-download."""
    (web.directory / 'file').write_bytes(WEB)
    return f'{web.url}/file'


def everything(cloud) -> set[str]:
    """The names of all that a smoke test makes."""
    listed = [
        image.id
        for hidden in ('false', 'true')
        for image in cloud.image.images(os_hidden=hidden)
    ]
    spaces = cloud.image.get('/metadefs/namespaces').json()['namespaces']
    users = cloud.identity.users()
    credentials = [
        item.id
        for user in users
        for item in cloud.identity.application_credentials(user)
    ]
    projects = [project.id for project in cloud.identity.projects()]
    return {
        *listed,
        *(space['namespace'] for space in spaces),
        *credentials,
        *projects,
    }


def outcomes(result) -> dict[str, str]:
    """What has become of each test."""
    return {row['Test']: row['Result'] for row in json.loads(result.stdout)}


@pytest.mark.each_server
def test_all_smoke_tests_pass_and_leave_nothing(
    deployed, cloud, uri, tmp_path
):
    before = everything(cloud)
    junit = tmp_path / 'junit.xml'
    result = deployed(
        'smoke',
        f'--web-download-uri={uri}',
        f'--junit={junit}',
        '--format=json',
    )
    assert set(outcomes(result).values()) == {'passed'}, result.stdout
    assert everything(cloud) == before
    number = len(outcomes(result))
    lines = result.stderr.splitlines()
    assert (
        len([line for line in lines if line.startswith('passed ')]) == number
    )
    assert re.fullmatch(
        rf'{number} passed, 0 skipped, 0 FAILED in [\d.]+ s\.', lines[-1]
    )
    suite = ElementTree.parse(junit).getroot()
    assert suite.attrib['tests'] == str(number)
    assert suite.attrib['failures'] == suite.attrib['skipped'] == '0'
    assert len(suite.findall('testcase')) == number


@pytest.mark.each_server
def test_tempest_runs_the_same_tests(deployed, cloud, uri, tmp_path):
    """With its own tempest.conf, and accounts that it makes itself."""
    before = everything(cloud)
    auth = deployed.account()['auth']
    workspace = tmp_path / 'tempest'

    def run(*words):
        return subprocess.run(
            [toolkit.BIN / 'tempest', *words],
            cwd=tmp_path,
            env={
                'HOME': str(tmp_path),
                'PATH': f'{toolkit.BIN}:/usr/bin:/bin',
            },
            capture_output=True,
            text=True,
            check=False,
        )

    made = run('init', str(workspace))
    assert made.returncode == 0, made.stderr
    (workspace / 'etc' / 'tempest.conf').write_text(
        f"""
[auth]
admin_username = admin
admin_password = {auth['password']}
admin_project_name = admin
admin_domain_name = Default
[identity]
auth_version = v3
uri_v3 = {auth['auth_url']}
[oslo_concurrency]
lock_path = {tmp_path}
[service_available]
cinder = false
neutron = false
nova = false
swift = false
[glance-wsgi]
web_download_uri = {uri}
"""
    )
    result = run(
        'run',
        '--workspace=tempest',
        '--regex=glance_wsgi',
        '--concurrency=2',
    )
    assert result.returncode == 0, result.stdout + result.stderr
    passed = re.search(r'- Passed: (\d+)', result.stdout)
    assert passed and int(passed[1]) > 40, result.stdout
    assert re.search(r'- Skipped: 0', result.stdout), result.stdout
    assert everything(cloud) == before


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_smoke_tests_that_are_interrupted_leave_nothing(
    deployed, cloud, number
):
    before = everything(cloud)
    with subprocess.Popen(
        [
            toolkit.BIN / 'glance-wsgi',
            'smoke',
            f'--state-dir={deployed.state_dir}',
            'stalls',  # for longer than it takes to see its image
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        toolkit.until(
            lambda: {image.id for image in cloud.image.images()} - before,
            'a test works',
        )
        running.send_signal(number)
        _, said = running.communicate(timeout=120)
    assert running.returncode == Exit.INTERRUPTED, said
    assert 'Traceback' not in said
    assert everything(cloud) == before


def test_a_failure_is_told_with_its_reason(deployed, tmp_path):
    port = toolkit.free_port()
    junit = tmp_path / 'junit.xml'
    result = deployed(
        'smoke',
        f'--web-download-uri=http://127.0.0.1:{port}/nothing',
        f'--junit={junit}',
        '--format=json',
        'web_download_fetches',
        check=False,
    )
    assert result.returncode == Exit.SMOKE_FAILED
    (row,) = json.loads(result.stdout)
    assert row['Result'] == 'FAILED'
    assert str(port) in row['Reason']
    (case,) = ElementTree.parse(junit).getroot()
    assert str(port) in case.find('failure').text


# --- bad input ---


@pytest.fixture
def smoke(deployed, tmp_path):
    """``smoke`` with clouds of a file of its own."""
    member = deployed.account('glance-wsgi-member')
    admin = deployed.account()

    def run(*words, admin=admin, **changes):
        auth = {**member['auth'], **changes.pop('auth', {})}
        auth = {key: value for key, value in auth.items() if value is not None}
        clouds = {'one': {**member, 'auth': auth, **changes}}
        clouds['one-admin'] = {**clouds['one'], 'auth': admin['auth']}
        file = tmp_path / 'clouds.yaml'
        file.write_text(yaml.safe_dump({'clouds': clouds}))
        return toolkit.glance_wsgi(
            'smoke',
            '--os-cloud=one',
            *words,
            env={'OS_CLIENT_CONFIG_FILE': str(file)},
            check=False,
        )

    return run


def test_any_cloud_of_clouds_yaml_can_be_tested(smoke):
    result = smoke('test_versions', '--format=json')
    assert result.returncode == 0, result.stderr
    assert len(outcomes(result)) == 5


def test_the_cloud_that_up_names_is_tested_as_a_member(deployed):
    result = toolkit.glance_wsgi(
        'smoke',
        'reader',
        '--format=json',
        env=deployed.environment(),
    )
    assert set(outcomes(result).values()) == {'passed'}


def test_an_unknown_cloud_is_told(smoke):
    one_line(smoke('--os-admin-cloud=two'), Exit.CLOUD_UNKNOWN, '"two"')


def test_an_account_that_is_no_administrators_is_told(smoke):
    one_line(smoke('--os-admin-cloud=one'), Exit.CLOUD_UNKNOWN, '"one"')


def test_an_administrator_of_another_keystone_is_told(smoke, breakable):
    result = smoke(admin=breakable.account())
    port = breakable.keystone_port
    one_line(result, Exit.CLOUD_UNKNOWN, '"one-admin"', port)


def test_a_keystone_may_have_two_urls(smoke, deployed):
    url = f'http://localhost:{deployed.keystone_port}/v3/'
    result = smoke('test_versions', auth={'auth_url': url})
    assert result.returncode == 0, result.stderr


def test_a_cloud_without_a_password_is_told(smoke):
    result = smoke(auth={'password': ''})
    one_line(result, Exit.CLOUD_UNKNOWN, 'password')


def test_a_wrong_password_is_told(smoke):
    result = smoke(auth={'password': 'wrong'})
    one_line(result, Exit.KEYSTONE_REFUSED, '"one"')


def test_a_keystone_that_does_not_answer_is_told(smoke):
    url = f'http://127.0.0.1:{toolkit.free_port()}/v3'
    result = smoke(auth={'auth_url': url})
    one_line(result, Exit.KEYSTONE_UNREACHABLE, url)


def test_a_keystone_that_does_not_speak_tls_is_told(smoke, deployed):
    """It waits for the end of a request, as we do for its certificate."""
    url = f'https://127.0.0.1:{deployed.keystone_port}/v3'
    result = smoke(auth={'auth_url': url})
    one_line(result, Exit.KEYSTONE_UNREACHABLE, url)


def test_a_glance_that_is_taken_for_a_keystone_is_told(smoke, deployed):
    result = smoke(auth={'auth_url': deployed.endpoint})
    one_line(result, Exit.KEYSTONE_UNREACHABLE, 'no Keystone')


def test_a_cloud_without_a_project_is_told(smoke):
    nowhere = {'project_name': None, 'project_domain_id': None}
    result = smoke(auth=nowhere)
    one_line(result, Exit.CLOUD_UNKNOWN, '"one"', 'no project')


class Unavailable(loopback.Handler):
    """A proxy whose servers are all taken out."""

    def do_GET(self):
        self.send_error(503)


@pytest.fixture
def untrusted(tmp_path):
    """The URL of a server whose certificate vouches for itself."""
    pair = certificates.make(tmp_path, 'localhost')
    with loopback.Server(Unavailable, pair) as server:
        yield server.url


def test_a_certificate_that_does_not_verify_is_told(smoke, untrusted):
    result = smoke(auth={'auth_url': untrusted})
    one_line(result, Exit.CERTIFICATE_UNTRUSTED, untrusted)


def test_a_keystone_that_is_taken_out_is_told(smoke):
    with loopback.Server(Unavailable) as server:
        result = smoke(auth={'auth_url': server.url})
    one_line(result, Exit.KEYSTONE_UNREACHABLE, server.url, '503')


def test_a_certificate_of_glance_that_does_not_verify_is_told(
    smoke, cloud, untrusted
):
    with toolkit.another_region(cloud, untrusted) as region:
        result = smoke(region_name=region)
    one_line(result, Exit.CERTIFICATE_UNTRUSTED, untrusted)


NOVA = [{'id': 'v2.0', 'status': 'SUPPORTED'}, {'id': 'v2.1'}]


@pytest.mark.parametrize('versions', [None, NOVA, {}, ['v2.0']])
def test_an_endpoint_that_is_no_glance_is_told(smoke, cloud, web, versions):
    if versions is not None:
        (web.directory / 'versions').write_text(
            json.dumps({'versions': versions})
        )
    with toolkit.another_region(cloud, web.url) as region:
        result = smoke(region_name=region)
    one_line(result, Exit.IMAGES_FOREIGN, web.url)


def test_a_glance_that_is_taken_out_is_told(smoke, cloud):
    with (
        loopback.Server(Unavailable) as server,
        toolkit.another_region(cloud, server.url) as region,
    ):
        result = smoke(region_name=region)
    one_line(result, Exit.IMAGES_UNREACHABLE, server.url, '503')


def test_an_endpoint_that_does_not_answer_is_told(smoke, cloud):
    url = f'http://127.0.0.1:{toolkit.free_port()}'
    with toolkit.another_region(cloud, url) as region:
        result = smoke(region_name=region)
    one_line(result, Exit.IMAGES_UNREACHABLE, url)


def test_a_region_without_an_images_api_is_told(smoke):
    result = smoke(region_name='nowhere')
    one_line(result, Exit.IMAGES_MISSING, 'nowhere')


def test_an_endpoint_that_no_catalogue_has_can_be_tested(
    smoke, cloud, deployed
):
    nowhere = f'http://127.0.0.1:{toolkit.free_port()}'
    before = everything(cloud)
    with toolkit.another_region(cloud, nowhere) as region:
        result = smoke(
            f'--endpoint={deployed.endpoint}/v2/',
            # Glance itself asks the catalogue where to download from.
            '^(?!.*glance_download)',
            '--format=json',
            region_name=region,
        )
    assert result.returncode == 0, result.stderr
    found = outcomes(result)
    assert (
        found.pop(
            'test_versions.TestVersions.'
            'test_the_links_of_the_versions_lead_back_here'
        )
        == 'skipped'
    )
    assert list(found.values()).count('passed') > 40
    assert everything(cloud) == before


def test_a_given_endpoint_that_does_not_answer_is_told(smoke):
    url = f'http://127.0.0.1:{toolkit.free_port()}'
    result = smoke(f'--endpoint={url}')
    one_line(result, Exit.IMAGES_UNREACHABLE, url, 'correct --endpoint')


def test_a_given_endpoint_that_is_no_glance_is_told(smoke, web):
    result = smoke(f'--endpoint={web.url}')
    one_line(result, Exit.IMAGES_FOREIGN, web.url, 'Correct --endpoint')


def test_a_pattern_that_nothing_matches_is_told(smoke):
    one_line(smoke('no_such_test'), Exit.SMOKE_NOT_RUN, 'no_such_test')
