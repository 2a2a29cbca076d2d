"""What clients see of a server: encryption, paths, addresses, logs.

Guards against a path that is served a second time without its prefix, links
that lead past the prefix, old TLS, a redirect that anybody can bend, logs
with tokens in them, and log lines that a client can forge.
"""

import json
import socket
import ssl

import certificates
import images
import pytest
import requests
import toolkit
from images import MIB

pytestmark = pytest.mark.each_server

# uWSGI alone has nobody in front that could share a port.
SHARES_PORTS = ('apache-uwsgi', 'mod_wsgi')


@pytest.fixture(scope='module')
def pair(workspace):
    return certificates.make(workspace, 'ours')


@pytest.fixture(scope='module')
def encrypted(workspace, pair):
    """HTTPS below a path, with a redirect, HSTS and JSON logs."""
    deployment = toolkit.Deployed(workspace / 'encrypted')
    shares = toolkit.SERVER in SHARES_PORTS
    if shares:
        deployment.keystone_port = deployment.port
    deployment.redirect_port = toolkit.free_port()
    deployment.endpoint = f'https://127.0.0.1:{deployment.port}/image'
    try:
        deployment.up(
            '--path=/image',
            '--keystone-path=/identity',
            f'--tls-certificate={pair.certificate}',
            f'--tls-key={pair.key}',
            f'--tls-ca={pair.certificate}',
            f'--redirect-listen=127.0.0.1:{deployment.redirect_port}',
            '--hsts-max-age=300',
            '--access-log=json',
        )
        yield deployment
    finally:
        deployment.purge()


@pytest.fixture(scope='module')
def cloud(encrypted):
    with encrypted.connect() as connection:
        yield connection


def test_clients_are_told_the_encrypted_addresses_with_their_paths(
    encrypted, cloud
):
    assert encrypted.status()['endpoint'] == encrypted.endpoint
    assert cloud.image.get_endpoint().startswith(encrypted.endpoint)
    assert encrypted.clouds['auth']['auth_url'] == (
        f'https://127.0.0.1:{encrypted.keystone_port}/identity/v3'
    )


@images.framings
def test_an_encrypted_upload_comes_back_as_it_was(cloud, image, framing):
    body = images.random_bytes(9 * MIB)
    images.upload(cloud, image, images.BODIES[framing](body, 4 * MIB))
    images.assert_holds(cloud, image, body)


def test_the_list_of_versions_leads_to_the_path(encrypted, pair):
    answer = requests.get(
        f'{encrypted.endpoint}/versions', verify=pair.certificate, timeout=10
    )
    links = {
        link['href']
        for version in answer.json()['versions']
        for link in version['links']
    }
    assert links == {f'{encrypted.endpoint}/v2/'}


@pytest.mark.parametrize('path', ['/', '/v2/images', '/images', '/imag'])
def test_there_is_nothing_beside_the_path(encrypted, pair, path):
    base = encrypted.endpoint.removesuffix('/image')
    answer = requests.get(base + path, verify=pair.certificate, timeout=10)
    assert answer.status_code == 404


@pytest.mark.parametrize('version', ['TLSv1', 'TLSv1_1'])
def test_old_tls_is_refused(encrypted, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # What is old is only offered where the client's own rules are low.
    context.set_ciphers('ALL:@SECLEVEL=0')
    context.minimum_version = context.maximum_version = getattr(
        ssl.TLSVersion, version
    )
    with (
        pytest.raises((ssl.SSLError, ConnectionResetError)),
        socket.create_connection(('127.0.0.1', encrypted.port), 10) as plain,
    ):
        context.wrap_socket(plain)


@pytest.mark.parametrize('version', ['TLSv1_2', 'TLSv1_3'])
def test_new_tls_has_forward_secrecy(encrypted, pair, version):
    context = ssl.create_default_context(cafile=pair.certificate)
    context.minimum_version = context.maximum_version = getattr(
        ssl.TLSVersion, version
    )
    with (
        socket.create_connection(('127.0.0.1', encrypted.port), 10) as plain,
        context.wrap_socket(plain, server_hostname='127.0.0.1') as secure,
    ):
        name = secure.cipher()[0]
    assert name.startswith(('ECDHE-', 'TLS_'))


def test_browsers_are_told_to_come_encrypted(encrypted, pair):
    answer = requests.get(
        f'{encrypted.endpoint}/healthcheck',
        verify=pair.certificate,
        timeout=10,
    )
    sent = answer.headers['Strict-Transport-Security']
    assert sent == 'max-age=300'


def test_who_comes_unencrypted_is_sent_to_our_own_name(encrypted):
    answer = requests.post(
        f'http://127.0.0.1:{encrypted.redirect_port}/image/v2/images?limit=1',
        headers={'Host': 'evil.example.org'},
        allow_redirects=False,
        timeout=10,
    )
    assert answer.status_code == 308
    assert answer.headers['Location'] == (
        f'{encrypted.endpoint}/v2/images?limit=1'
    )


def test_a_new_certificate_is_used_after_a_reload(
    encrypted, cloud, pair, workspace
):
    def presented() -> str:
        address = ('127.0.0.1', encrypted.port)
        return ssl.get_server_certificate(address)

    before = presented()
    new = certificates.make(workspace, 'newer')
    for old, made in (
        (pair.certificate, new.certificate),
        (pair.key, new.key),
    ):
        made.replace(old)
    encrypted('reload')
    assert presented() != before
    assert presented() == ssl.DER_cert_to_PEM_cert(
        ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())
    )


def request_log(deployment) -> str:
    """What the server has logged of the requests for images."""
    alone = toolkit.SERVER == 'uwsgi'
    name = 'glance-api.log' if alone else 'access.log'
    return (deployment.state_dir / 'log' / name).read_text(errors='replace')


def rows(deployment) -> list[dict]:
    """The objects of a JSON access log."""
    lines = request_log(deployment).splitlines()
    return [json.loads(line) for line in lines if line.startswith('{"client"')]


def test_each_request_is_an_object_in_the_log(encrypted, pair):
    url = f'{encrypted.endpoint}/healthcheck?mark=1'
    agent = 'Somebody \\ "quoted" \xe4'
    answer = requests.get(
        url,
        headers={'User-Agent': agent.encode('latin-1')},
        verify=pair.certificate,
        timeout=10,
    )
    found = []
    toolkit.until(
        lambda: (
            found.extend(
                row for row in rows(encrypted) if 'mark=1' in row['request']
            )
            or found
        ),
        'the request is logged',
    )
    assert found[0]['request'].startswith('GET /image/healthcheck?mark=1 ')
    assert found[0]['status'] == 200
    assert found[0]['bytes'] == len(answer.content)
    assert found[0]['client'] == '127.0.0.1'
    assert 'Somebody' not in found[0]['agent']


def test_the_log_has_the_id_that_the_client_got(cloud, encrypted):
    answer = cloud.image.get('/images?limit=1')
    number = answer.headers['X-Openstack-Request-Id']
    toolkit.until(
        lambda: any(row['request_id'] == number for row in rows(encrypted)),
        'the request is logged with its id',
    )


def test_a_quote_in_an_address_breaks_no_line_of_the_log(encrypted, pair):
    forged = b'GET /image/healthcheck?"x\\y HTTP/1.1'
    context = ssl.create_default_context(cafile=pair.certificate)
    with (
        socket.create_connection(('127.0.0.1', encrypted.port), 10) as plain,
        context.wrap_socket(plain, server_hostname='127.0.0.1') as secure,
    ):
        secure.sendall(forged + b'\r\nHost: x\r\nConnection: close\r\n\r\n')
        while secure.recv(4096):
            pass
    # Each line that begins as an object is one.
    rows(encrypted)


# --- the same without encryption, on IPv6 ---


@pytest.fixture(scope='module')
def sixth(workspace):
    """A deployment on IPv6 loopback with the combined log."""
    if not socket.has_ipv6:
        pytest.skip('no IPv6 in this kernel: boot it without ipv6.disable=1')
    deployment = toolkit.Deployed(workspace / 'sixth')
    try:
        deployment(
            'up',
            f'--listen=[::1]:{deployment.port}',
            f'--keystone-listen=[::1]:{deployment.keystone_port}',
            f'--server={toolkit.SERVER}',
        )
        yield deployment
    finally:
        deployment.purge()


def test_ipv6_serves_and_logs_a_line_for_each_request(sixth):
    with sixth.connect() as cloud:
        assert cloud.image.get_endpoint().startswith('http://[::1]:')
        image = images.create(cloud)
        images.upload(cloud, image, b'12345')
        images.assert_holds(cloud, image, b'12345')
        answer = cloud.image.get('/images?limit=1&mark=2')
        token = cloud.auth_token
    number = answer.headers['X-Openstack-Request-Id']
    toolkit.until(lambda: 'mark=2' in request_log(sixth), 'it is logged')
    line = next(
        line for line in request_log(sixth).splitlines() if 'mark=2' in line
    )
    assert line.startswith('::1 - - [')
    assert '"GET /v2/images?limit=1&mark=2 HTTP/1.1" 200 ' in line
    assert number in line
    logs = [
        file.read_text(errors='replace')
        for file in (sixth.state_dir / 'log').iterdir()
    ]
    assert toolkit.leaked([token, token[:64]], logs) == []
