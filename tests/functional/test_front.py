"""What clients see of a server: encryption, paths, addresses, logs.

Guards against a path that is served a second time without its prefix, links
that lead past the prefix, old TLS, a redirect that anybody can bend, logs
with tokens in them, and log lines that a client can forge.
"""

import contextlib
import json
import re
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
    assert encrypted.account()['auth']['auth_url'] == (
        f'https://127.0.0.1:{encrypted.keystone_port}/identity/v3'
    )


@images.framings
def test_an_encrypted_upload_comes_back_as_it_was(cloud, image, framing):
    body = images.random_bytes(9 * MIB)
    images.upload(cloud, image, images.BODIES[framing](body, 4 * MIB))
    images.assert_holds(cloud, image, body)


@images.framings
def test_an_encrypted_upload_is_invited_where_apache_encrypts(
    cloud, image, pair, tmp_path, framing
):
    """uWSGI lets nobody answer there: curl goes on after a while."""
    body = images.random_bytes(3 * MIB)
    file = tmp_path / 'random'
    file.write_bytes(body)
    apache = toolkit.SERVER in SHARES_PORTS
    result = images.upload_by_curl(
        cloud,
        image,
        file,
        framing,
        *('--cacert', pair.certificate),
        *('--expect100-timeout', '30' if apache else '1'),
    )
    assert ('< HTTP/1.1 100 Continue' in result.stderr) == apache
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


def test_a_known_session_is_not_negotiated_again(encrypted, pair):
    """Every request has a connection of its own, and a handshake."""
    context = ssl.create_default_context(cafile=pair.certificate)
    # Its sessions are there when the handshake is over.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session, reused = None, []
    for _ in range(2):
        with (
            socket.create_connection(
                ('127.0.0.1', encrypted.port), 10
            ) as plain,
            context.wrap_socket(
                plain, server_hostname='127.0.0.1', session=session
            ) as secure,
        ):
            # The answer: by then the server has kept its session.
            secure.sendall(b'GET / HTTP/1.0\r\n\r\n')
            assert secure.recv(1)
            session = secure.session
            reused.append(secure.session_reused)
    assert reused == [False, True]
    logs = [
        file.read_text(errors='replace')
        for file in (encrypted.state_dir / 'log').iterdir()
    ]
    # Apache's complaint that it has no place for sessions.
    assert not any('AH01873' in log for log in logs)


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


def said(port: int, context=None, *lines: bytes) -> bytes:
    """The whole answer to a request that no library would send."""
    request = b'\r\n'.join([*lines, b'Host: x', b'Connection: close', b'\r\n'])
    answer = b''
    with contextlib.ExitStack() as stack:
        peer = stack.enter_context(
            socket.create_connection(('127.0.0.1', port), 10)
        )
        if context:
            peer = stack.enter_context(
                context.wrap_socket(peer, server_hostname='127.0.0.1')
            )
        peer.sendall(request)
        while piece := peer.recv(4096):
            answer += piece
    return answer


@pytest.mark.parametrize(
    'address',
    [b'@evil.example.org/', b'1@evil.example.org/', b'.evil.example.org/'],
)
def test_an_address_that_is_no_path_is_sent_nowhere(encrypted, address):
    answer = said(
        encrypted.redirect_port, None, b'GET ' + address + b' HTTP/1.1'
    )
    assert answer.split()[1] == b'400'
    assert b'\nlocation:' not in answer.lower()
    assert b'evil' not in answer


def test_a_large_header_is_no_reason_not_to_be_sent_on(encrypted):
    answer = requests.get(
        f'http://127.0.0.1:{encrypted.redirect_port}/image/v2/images',
        headers={'X-Auth-Token': 'x' * 30000},
        allow_redirects=False,
        timeout=10,
    )
    assert answer.status_code == 308


def test_who_is_sent_on_is_logged(encrypted):
    requests.get(
        f'http://127.0.0.1:{encrypted.redirect_port}/image/?mark=4',
        allow_redirects=False,
        timeout=10,
    )
    alone = toolkit.SERVER == 'uwsgi'
    name = 'redirect.log' if alone else 'access.log'
    log = encrypted.state_dir / 'log' / name
    toolkit.until(lambda: 'mark=4' in log.read_text(), 'it is logged', 10)


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


def test_no_log_of_json_has_a_token(cloud, encrypted, image):
    images.upload(cloud, image, b'12345')
    images.assert_holds(cloud, image, b'12345')
    answer = cloud.image.get('/images?limit=1')
    number = answer.headers['X-Openstack-Request-Id']
    toolkit.until(
        lambda: any(row['request_id'] == number for row in rows(encrypted)),
        'the request is logged',
    )
    assert_no_log_has(encrypted, cloud.auth_token)


def assert_no_log_has(deployment, token: str) -> None:
    """Neither all of a token nor its beginning."""
    logs = [
        file.read_text(errors='replace')
        for file in (deployment.state_dir / 'log').iterdir()
    ]
    assert toolkit.leaked([token, token[:64]], logs) == []


def test_a_request_beside_the_path_is_logged_with_its_address(encrypted, pair):
    base = encrypted.endpoint.removesuffix('/image')
    answer = requests.get(
        f'{base}/beside?mark=3', verify=pair.certificate, timeout=10
    )
    assert answer.status_code == 404
    found = []
    toolkit.until(
        lambda: (
            found.extend(
                row for row in rows(encrypted) if 'mark=3' in row['request']
            )
            or found
        ),
        'the request is logged',
        10,
    )
    assert found[0]['request'] == 'GET /beside?mark=3 HTTP/1.1'
    assert found[0]['status'] == 404


def test_a_quote_in_an_address_breaks_no_line_of_the_log(encrypted, pair):
    context = ssl.create_default_context(cafile=pair.certificate)
    forged = b'GET /image/healthcheck?"x\\y HTTP/1.1'
    said(encrypted.port, context, forged)
    # Each line that begins as an object is one.
    rows(encrypted)


# To WSGI they are all one header, to Apache they are not.
@pytest.mark.parametrize(
    'names',
    [
        (b'X-Openstack-Request-Id',),
        (b'X_Openstack_Request_Id',),
        (b'x-openstack_request-ID',),
        (b'X-Openstack-Request-Id', b'X_Openstack_Request_Id'),
        (b'X_Openstack_Request_Id', b'X-Openstack-Request-Id'),
    ],
    ids=lambda names: b','.join(names).decode(),
)
def test_an_id_that_pretends_to_be_more_is_not_taken(
    encrypted, cloud, pair, names
):
    context = ssl.create_default_context(cafile=pair.certificate)
    values = (b'forged"\xff', b'good')
    answer = said(
        encrypted.port,
        context,
        b'GET /image/v2/images?limit=1 HTTP/1.1',
        b'X-Auth-Token: ' + cloud.auth_token.encode(),
        *(b'%s: %s' % item for item in zip(names, values, strict=False)),
    )
    assert answer.split()[1] == b'200'
    (number,) = re.findall(
        rb'^x-openstack-request-id: ([^\r]*)\r$', answer, re.I | re.M
    )
    assert re.fullmatch(rb'[A-Za-z0-9-]+', number)
    assert b'forged' not in number
    toolkit.until(
        lambda: any(
            row['request_id'] == number.decode() for row in rows(encrypted)
        ),
        'the request is logged with its id',
        10,
    )


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
    assert_no_log_has(sixth, token)
