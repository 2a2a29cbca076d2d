"""HOST:PORT, as people write it and as sockets want it."""

import ipaddress
import pathlib
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glance_wsgi import errors
from glance_wsgi.addresses import Address
from glance_wsgi.addresses import bracketed
from glance_wsgi.addresses import prefix

PORTS = st.integers(1, 65535)
# Without zones (fe80::1%eth0), which are a machine's own.
HOSTS = st.ip_addresses().filter(lambda ip: '%' not in str(ip)).map(str)


@given(host=HOSTS, port=PORTS)
def test_an_address_that_is_written_reads_back_as_itself(host, port):
    parsed = Address.parse(f'{bracketed(host)}:{port}', '--listen')
    assert ipaddress.ip_address(parsed.host) == ipaddress.ip_address(host)
    assert parsed.port == port
    assert Address.parse(str(parsed), '--listen') == parsed


@pytest.mark.parametrize(
    'text',
    [
        '',
        '9292',
        ':9292',
        '127.0.0.1',
        '127.0.0.1:',
        '127.0.0.1:0',
        '127.0.0.1:65536',
        '127.0.0.1:-1',
        '127.0.0.1:http',
        '127.0.0.1:9292/v2',
        'http://127.0.0.1:9292',
        '::1:9292',
        '[::1]',
        '[::1]9292',
        pytest.param('127.0.0.1:' + '9' * 5000, id='a very long number'),
        'a\0b:9292',
    ],
)
def test_what_is_no_address_is_refused_with_an_example(text):
    with pytest.raises(errors.BadAddress, match=r'--listen') as caught:
        Address.parse(text, '--listen')
    assert '127.0.0.1' in caught.value.action
    assert len(caught.value.line().splitlines()) == 1


def test_blanks_around_an_address_do_not_matter():
    assert Address.parse(' 127.0.0.1:80 ', '--listen') == Address(
        '127.0.0.1', 80
    )


def test_a_name_becomes_its_address():
    parsed = Address.parse('localhost:9292', '--listen')
    assert ipaddress.ip_address(parsed.host).is_loopback


@pytest.mark.parametrize(
    ('listen', 'reachable'),
    [
        ('0.0.0.0:9292', '127.0.0.1:9292'),
        ('[::]:9292', '[::1]:9292'),
        ('127.0.0.1:9292', '127.0.0.1:9292'),
        ('[::1]:9292', '[::1]:9292'),
    ],
)
def test_this_machine_reaches_a_wildcard_address_by_loopback(
    listen, reachable
):
    assert str(Address.parse(listen, '--listen').reachable) == reachable


def listener():
    """A socket that listens, and its address."""
    taken = socket.create_server(('127.0.0.1', 0))
    return taken, Address(*taken.getsockname())


def test_a_free_address_stays_free_after_the_check():
    taken, address = listener()
    taken.close()
    address.check_free('--listen')
    address.check_free('--listen')


def test_an_address_in_use_is_refused_and_named():
    taken, address = listener()
    with taken, pytest.raises(errors.PortInUse, match=str(address.port)):
        address.check_free('--listen')


def test_a_privileged_port_is_refused_even_for_root():
    """Root may bind it; the services are never root."""
    setting = pathlib.Path('/proc/sys/net/ipv4/ip_unprivileged_port_start')
    first = int(setting.read_text())
    if first < 2:
        pytest.skip('this system has no privileged ports')
    with pytest.raises(errors.PortNotAllowed, match=str(first)):
        Address('127.0.0.1', first - 1).check_free('--listen')


def test_an_address_of_another_machine_is_refused():
    # 192.0.2.0/24 is for documentation: no machine has it.
    with pytest.raises(errors.PortNotAllowed, match=r'192\.0\.2\.1'):
        Address('192.0.2.1', 9292).check_free('--listen')


def test_an_address_that_just_served_a_client_counts_as_free():
    """The closed connection is in TIME_WAIT, which is no listener."""
    taken, address = listener()
    with taken, socket.create_connection((address.host, address.port)) as far:
        near, _ = taken.accept()
        near.close()
        assert far.recv(1) == b''
    address.check_free('--listen')


@pytest.mark.parametrize(
    ('text', 'path'),
    [
        ('/', ''),
        ('/image', '/image'),
        ('/image/', '/image'),
        ('/a/b.c/~d_e-1', '/a/b.c/~d_e-1'),
    ],
)
def test_a_path_has_no_slash_at_its_end(text, path):
    assert prefix(text, '--path') == path


@pytest.mark.parametrize(
    'text',
    [
        '',
        'image',
        '//',
        '//image',
        '/a//b',
        '/..',
        '/a/../b',
        '/./a',
        '/a b',
        '/a%20b',
        '/a?b',
        '/a#b',
        '/a"b',
        '/a|b',
        '/a$b',
        '/a\nb',
        '/image\n',
        '/größe',
    ],
)
def test_what_is_no_path_is_refused_with_an_example(text):
    """Some of it would mean something in a server's files."""
    with pytest.raises(errors.BadAddress, match='--path') as caught:
        prefix(text, '--path')
    assert '/image' in caught.value.action
    assert len(caught.value.line().splitlines()) == 1
