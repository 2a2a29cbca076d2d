"""What is refused before anything is changed."""

import contextlib
import os
import pathlib
import pty
import socket
import sys
import tempfile

import material
import pytest
from cryptography.hazmat.primitives import serialization

from glance_wsgi import deployment
from glance_wsgi import errors
from glance_wsgi import preflight
from glance_wsgi import programs
from glance_wsgi import servers
from glance_wsgi import state


def made(state_dir, **options):
    return deployment.Deployment(state_dir, None, options)


@pytest.mark.parametrize('name', ['with blank', 'percent%d', 'hash#x', "it's"])
def test_a_state_directory_that_no_ini_file_can_name_is_refused(
    tmp_path, name
):
    with pytest.raises(errors.StateNotWritable) as caught:
        preflight.check_paths(made(tmp_path / name))
    assert name in caught.value.cause


def test_a_virtualenv_that_no_server_can_name_is_refused(
    tmp_path, monkeypatch
):
    python = pathlib.Path('/opt/my venv/bin/python')
    monkeypatch.setattr(deployment.Deployment, 'python', python)
    with pytest.raises(errors.PythonNotReadable) as caught:
        preflight.check_paths(made(tmp_path))
    assert '/opt/my venv' in caught.value.cause


def test_usual_paths_are_accepted(tmp_path):
    preflight.check_paths(made(tmp_path / 'Größe_1.0+b-2'))


@pytest.mark.parametrize(
    'name', ['DEFAULT', 'database', 'wsgi', 'keystone_authtoken', 'staging']
)
def test_a_store_with_the_name_of_something_else_is_refused(tmp_path, name):
    deployed = made(tmp_path, stores=f'{name}:file')
    with pytest.raises(errors.StoreUnknown) as caught:
        preflight.check_stores(deployed)
    assert f'"{name}"' in caught.value.cause


def test_stores_of_other_names_are_accepted(tmp_path):
    preflight.check_stores(made(tmp_path, stores='a_1:file,web:http'))


def test_up_does_not_touch_what_somebody_else_has_configured(tmp_path):
    preflight.check_not_hosted(made(tmp_path))
    deployed = made(tmp_path, glance_config_dir='/etc/glance')
    with pytest.raises(errors.BadOption, match='/etc/glance'):
        preflight.check_not_hosted(deployed)


def test_up_runs_its_services_as_nobody_elses_user(tmp_path):
    deployed = made(tmp_path, run_as='nobody')
    with pytest.raises(errors.BadOption, match='nobody'):
        preflight.check_not_hosted(deployed)


@pytest.fixture
def pair(tmp_path):
    """A certificate and its key."""
    return material.certificate(tmp_path)


def test_a_certificate_and_its_key_are_accepted(pair):
    preflight.check_pair(*pair)


def test_a_chain_behind_the_certificate_is_accepted(pair, tmp_path):
    other, _ = material.certificate(tmp_path, 'other')
    pair[0].write_bytes(pair[0].read_bytes() + other.read_bytes())
    preflight.check_pair(*pair)


def refused(certificate, key):
    """The error for a pair that is none."""
    with pytest.raises(errors.BadCertificate) as caught:
        preflight.check_pair(certificate, key)
    assert str(certificate) in caught.value.cause
    assert str(key) in caught.value.cause
    assert len(caught.value.line().splitlines()) == 1
    return caught.value


def test_the_key_of_another_certificate_is_refused(pair, tmp_path):
    _, other = material.certificate(tmp_path, 'other')
    assert 'MISMATCH' in refused(pair[0], other).cause


def test_a_key_and_a_certificate_the_wrong_way_round_are_refused(pair):
    refused(pair[1], pair[0])


@pytest.mark.parametrize('damaged', [0, 1])
@pytest.mark.parametrize('text', [b'', b'nonsense', b'\0' * 100])
def test_what_is_no_pem_file_is_refused(pair, damaged, text):
    pair[damaged].write_bytes(text)
    refused(*pair)


@pytest.fixture
def closed(pair):
    """The pair with a passphrase for its key."""
    key = serialization.load_pem_private_key(pair[1].read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b'secret')
    pair[1].write_bytes(material.private(key, encryption))
    return pair


def test_a_key_with_a_passphrase_is_refused(closed):
    refused(*closed)


def test_nobody_is_asked_for_a_passphrase(closed):
    """OpenSSL would, wherever there is a terminal."""
    code = (
        'import pathlib, sys; from glance_wsgi import errors, preflight\n'
        'try: preflight.check_pair(*map(pathlib.Path, sys.argv[1:]))\n'
        'except errors.BadCertificate: print("refused")'
    )
    command = [sys.executable, '-c', code, *map(str, closed)]
    child, terminal = pty.fork()
    if not child:
        os.execv(command[0], command)
    said = b''
    # Until it has closed the terminal, which Linux reports as an error.
    with contextlib.suppress(OSError):
        while b'phrase' not in said and (part := os.read(terminal, 1000)):
            said += part
    os.close(terminal)
    os.waitpid(child, 0)
    assert said == b'refused\r\n'


def test_a_file_that_is_missing_is_refused(pair, tmp_path):
    refused(pair[0], tmp_path / 'missing')
    refused(tmp_path / 'missing', pair[1])


def encrypted(state_dir, pair, **options):
    return material.deployment(
        state_dir,
        tls_certificate=str(pair[0]),
        tls_key=str(pair[1]),
        **options,
    )


def test_without_encryption_there_is_no_certificate_to_check(tmp_path):
    preflight.check_certificate(made(tmp_path))


def test_a_pair_that_the_service_may_read_is_accepted(pair, tmp_path):
    preflight.check_certificate(encrypted(tmp_path / 'state', pair))


def test_a_pair_that_is_none_is_refused_with_the_rest(pair, tmp_path):
    _, other = material.certificate(tmp_path, 'other')
    with pytest.raises(errors.BadCertificate, match='MISMATCH'):
        preflight.check_certificate(
            encrypted(tmp_path / 'state', (pair[0], other))
        )


@pytest.fixture
def open_directory():
    """A directory that everybody may enter; pytest's own are closed."""
    with tempfile.TemporaryDirectory(dir='/var/tmp') as name:
        path = pathlib.Path(name)
        path.chmod(0o755)
        yield path


@pytest.mark.parametrize('unreadable', [0, 1])
def test_a_file_that_the_service_may_not_read_is_named_with_its_option(
    open_directory, tmp_path, unreadable
):
    pair = material.certificate(open_directory)
    deployed = encrypted(tmp_path / 'state', pair)
    for path in pair:
        path.chmod(0o644)
    if os.geteuid() == 0:
        deployed.user = programs.ServiceUser('x', state.Owner(65534, 65534))
    preflight.check_certificate(deployed)
    pair[unreadable].chmod(0)
    with pytest.raises(errors.BadCertificate) as caught:
        preflight.check_certificate(deployed)
    assert str(pair[unreadable]) in caught.value.cause
    option = ('--tls-certificate', '--tls-key')[unreadable]
    assert option in caught.value.action


def test_a_path_that_depends_on_where_one_is_is_refused(
    pair, tmp_path, monkeypatch
):
    """The server works in another directory."""
    monkeypatch.chdir(tmp_path)
    names = [pathlib.Path(path.name) for path in pair]
    with pytest.raises(errors.BadCertificate, match='absolute'):
        preflight.check_certificate(encrypted(tmp_path / 'state', names))


@pytest.fixture
def ports():
    """Addresses of this machine that nobody listens on."""
    sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(3)]
    found = [f'127.0.0.1:{one.getsockname()[1]}' for one in sockets]
    for one in sockets:
        one.close()
    return found


def check_ports(deployed):
    preflight.check_ports(deployed, servers.load(deployed))


def test_free_addresses_are_accepted(pair, tmp_path, ports):
    check_ports(
        encrypted(
            tmp_path / 'state',
            pair,
            listen=ports[0],
            keystone_listen=ports[1],
            redirect_listen=ports[2],
        )
    )


@pytest.mark.parametrize(
    'option', ['listen', 'keystone_listen', 'redirect_listen']
)
def test_an_address_that_is_taken_is_named_with_its_option(
    pair, tmp_path, ports, option
):
    names = ('listen', 'keystone_listen', 'redirect_listen')
    options = dict(zip(names, ports, strict=True))
    port = int(options[option].rpartition(':')[2])
    with (
        socket.create_server(('127.0.0.1', port)),
        pytest.raises(errors.PortInUse) as caught,
    ):
        check_ports(encrypted(tmp_path / 'state', pair, **options))
    assert f'--{option.replace("_", "-")}' in caught.value.action


def test_a_keystone_elsewhere_needs_no_address_here(tmp_path, ports):
    port = int(ports[1].rpartition(':')[2])
    with socket.create_server(('127.0.0.1', port)):
        check_ports(
            material.deployment(
                tmp_path,
                listen=ports[0],
                keystone_listen=ports[1],
                keystone='http://k.org',
            )
        )


def test_one_address_may_have_two_applications_under_apache(tmp_path, ports):
    check_ports(
        material.deployment(
            tmp_path,
            server='apache-uwsgi',
            listen=ports[0],
            keystone_listen=ports[0],
            path='/image',
        )
    )


def test_two_hosts_with_one_port_are_refused(tmp_path, ports):
    """To the system they may be one: 0.0.0.0 is everything."""
    port = ports[0].rpartition(':')[2]
    with pytest.raises(errors.PortInUse, match=f'port {port}'):
        check_ports(
            material.deployment(
                tmp_path,
                listen=ports[0],
                keystone_listen=f'0.0.0.0:{port}',
                public_host='127.0.0.1',
            )
        )


@pytest.mark.parametrize('server', ['uwsgi', 'apache-uwsgi'])
def test_a_redirect_to_itself_is_refused(pair, tmp_path, ports, server):
    deployed = encrypted(
        tmp_path / 'state',
        pair,
        server=server,
        listen=ports[0],
        keystone_listen=ports[1],
        redirect_listen=ports[0],
    )
    with pytest.raises(errors.PortInUse):
        servers.load(deployed).check()
        check_ports(deployed)
