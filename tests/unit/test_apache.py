"""The virtual hosts: what they are made of, and what Apache says to them.

Apache itself looks at the files (``apache2 -t``); nothing is started.
"""

import dataclasses
import re
import subprocess

import material
import pytest

from glance_wsgi import errors
from glance_wsgi import platforms
from glance_wsgi import servers
from glance_wsgi import size
from glance_wsgi.servers import apache

MODULE = platforms.current().apache.modules / 'mod_wsgi.so'
ONE_PORT = {
    'path': '/image',
    'keystone_path': '/identity',
    'keystone_listen': '127.0.0.1:9292',
}


@pytest.fixture(params=['apache-uwsgi', 'mod_wsgi'])
def server(request):
    """The options that choose a way to host with Apache."""
    if request.param == 'apache-uwsgi':
        material.need_apache()
        return {'server': request.param}
    # The module of the distribution: to look at a file, any Python will do.
    material.need_apache('mod_wsgi.so')
    return {'server': request.param, 'mod_wsgi': str(MODULE)}


@pytest.fixture
def tls(tmp_path):
    certificate, key = material.certificate(tmp_path)
    return {'tls_certificate': str(certificate), 'tls_key': str(key)}


def look(directory, options):
    """Have Apache look at a deployment's files."""
    made, wanted = material.rendered(directory / 'state', **options)
    part = made.parts[-1]
    part.test(wanted)
    return part


def dump(part, what):
    """What Apache has understood of its files."""
    result = part._control('-t', '-D', what)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize('log', ['combined', 'json'])
@pytest.mark.parametrize(
    'place', [{}, ONE_PORT], ids=['own ports', 'one port with paths']
)
def test_apache_accepts_what_is_rendered(tmp_path, server, place, log):
    look(tmp_path, {**server, **place, 'access_log': log})


@pytest.mark.parametrize(
    'place', [{}, ONE_PORT], ids=['own ports', 'one port with paths']
)
def test_apache_accepts_an_encrypted_site_with_a_redirect(
    tmp_path, server, tls, place
):
    part = look(
        tmp_path,
        {
            **server,
            **tls,
            **place,
            'redirect_listen': '127.0.0.1:8080',
            'hsts_max_age': '60',
        },
    )
    hosts = dump(part, 'DUMP_VHOSTS')
    ports = set(re.findall(r'127\.0\.0\.1:(\d+)', hosts))
    assert ports == {'9292', '8080'} | (set() if place else {'5000'})
    assert 'ssl_module' in dump(part, 'DUMP_MODULES')


def test_apache_accepts_ipv6(tmp_path, server):
    part = look(
        tmp_path,
        {
            **server,
            'listen': '[::1]:9292',
            'keystone_listen': '[::1]:5000',
        },
    )
    assert '[::1]:9292' in dump(part, 'DUMP_VHOSTS')


def test_apache_accepts_ipv6_under_a_public_name(tmp_path, server):
    part = look(
        tmp_path,
        {
            **server,
            'listen': '[::1]:9292',
            'keystone_listen': '[::]:5000',
            'public_host': 'images.example.org',
        },
    )
    hosts = dump(part, 'DUMP_VHOSTS')
    # Apache's word for every address is a star.
    assert '[::1]:9292' in hosts and '*:5000' in hosts


def test_apache_accepts_every_address_under_a_public_name(tmp_path, server):
    look(
        tmp_path,
        {
            **server,
            'listen': '0.0.0.0:9292',
            'public_host': 'images.example.org',
        },
    )


def test_what_apache_refuses_is_an_error_in_apaches_words(
    tmp_path, server, tls
):
    missing = str(tmp_path / 'missing.pem')
    with pytest.raises(errors.ServerRefuses) as caught:
        look(tmp_path, {**server, **tls, 'tls_certificate': missing})
    assert missing in caught.value.cause
    assert 'SSLCertificateFile' in caught.value.cause
    assert len(caught.value.line().splitlines()) == 1


def test_only_what_a_site_needs_is_loaded(tmp_path, server):
    part = look(tmp_path, server)
    loaded = dump(part, 'DUMP_MODULES')
    assert 'ssl_module' not in loaded
    for name in ('status', 'cgi', 'autoindex', 'userdir', 'dav', 'info'):
        assert f' {name}_module' not in loaded


def site(directory, **options):
    """The virtual hosts as text."""
    made, _ = material.rendered(directory / 'state', **options)
    return made.parts[-1].site.read_text()


def test_no_header_but_the_agent_and_the_referer_is_logged(tmp_path, server):
    """A token comes in a header."""
    for log in ('combined', 'json'):
        text = site(tmp_path / log, **server, access_log=log)
        (line,) = set(re.findall(r'^ *CustomLog .*', text, re.MULTILINE))
        logged = re.findall(r'%\{([\w-]+)\}i', line)
        assert set(logged) <= {'User-Agent', 'Referer'}
        assert '%{X-Openstack-Request-Id}o' in line


def test_uploads_of_every_size_and_speed_are_taken(tmp_path, server):
    text = site(tmp_path, **server, client_timeout='77')
    assert 'LimitRequestBody 0\n' in text
    assert 'body=0\n' in text
    assert re.search(r'^ *Timeout 77$', text, re.MULTILINE)


def test_mod_wsgi_takes_chunks_and_passes_credentials_on(tmp_path):
    material.need_apache('mod_wsgi.so')
    text = site(tmp_path, server='mod_wsgi', mod_wsgi=str(MODULE))
    for line in (
        'WSGIChunkedRequest On',
        'WSGIPassAuthorization On',
        'WSGIScriptReloading Off',
    ):
        assert f'{line}\n' in text
    assert 'shutdown-timeout=3600' in text


def test_both_sides_of_a_proxied_path_end_alike(tmp_path):
    for options in ({}, ONE_PORT, {'path': '/a/b/'}):
        text = site(
            tmp_path / str(len(options)), server='apache-uwsgi', **options
        )
        passed = re.findall(
            r'ProxyPass "(\S+)" "unix:\S+\|http://[\w-]+(/\S*)"', text
        )
        assert len(passed) == 2
        assert all(outside == inside for outside, inside in passed)


def test_an_encrypted_site_needs_tls_1_2_and_forward_secrecy(tmp_path, tls):
    text = site(tmp_path, server='apache-uwsgi', **tls)
    assert 'SSLProtocol -all +TLSv1.2 +TLSv1.3\n' in text
    ciphers = re.findall(r'SSLCipherSuite (\S+)', text)[0].split(':')
    assert all(name.startswith('ECDHE-') for name in ciphers)
    offered = subprocess.run(
        ['openssl', 'ciphers', '-v', ':'.join(ciphers)],
        capture_output=True,
        text=True,
    )
    for name in ciphers:
        assert name in offered.stdout


def test_browsers_are_told_to_stay_encrypted_only_if_wanted(tmp_path, tls):
    header = 'Strict-Transport-Security'
    assert header not in site(tmp_path / '1', server='apache-uwsgi', **tls)
    text = site(
        tmp_path / '2', server='apache-uwsgi', **tls, hsts_max_age='60'
    )
    assert f'{header} "max-age=60"' in text


def application(listen, path):
    """The little that a virtual host asks of an application."""
    return type('Application', (), {'listen': listen, 'path': path})()


def sites(*places):
    found = apache._sites(
        tuple(application(*place) for place in places),
        lambda item: {'path': item.path},
    )
    return [
        (
            one['listen'],
            [item['path'] for item in one['applications']],
            one['paths'],
        )
        for one in found
    ]


def test_each_address_is_a_site_of_its_own():
    assert sites(('[::1]:1', ''), ('[::1]:2', '')) == [
        ('[::1]:1', [''], []),
        ('[::1]:2', [''], []),
    ]


def test_of_one_address_the_longest_path_comes_first():
    """Apache takes the first that fits, and everything is below "/"."""
    assert sites(('h:1', ''), ('h:1', '/image'), ('h:1', '/image/v3')) == [
        ('h:1', ['/image/v3', '/image', ''], [])
    ]


def test_with_nothing_at_the_root_the_paths_say_what_is_not_found():
    assert sites(('h:1', '/identity'), ('h:1', '/image')) == [
        ('h:1', ['/identity', '/image'], ['/identity', '/image'])
    ]


@pytest.mark.parametrize('name', ['apache-uwsgi', 'mod_wsgi'])
def test_two_applications_in_one_place_are_refused(tmp_path, name):
    together = {'keystone_listen': '127.0.0.1:9292'}
    with pytest.raises(errors.BadAddress, match=r'127\.0\.0\.1:9292/'):
        servers.load(
            material.deployment(tmp_path, server=name, **together)
        ).check()
    apart = {**together, 'path': '/image'}
    servers.load(material.deployment(tmp_path, server=name, **apart)).check()


def test_a_missing_apache_is_an_error_that_says_what_to_install(
    tmp_path, monkeypatch
):
    nowhere = dataclasses.replace(
        apache.platforms.current().apache,
        program=tmp_path / 'apache2',
        modules=tmp_path,
    )
    monkeypatch.setattr(apache.Apache, 'installed', nowhere)
    deployed = material.deployment(tmp_path, server='apache-uwsgi')
    with pytest.raises(errors.ServerMissing, match='apache2') as caught:
        servers.load(deployed).version()
    assert platforms.current().install in caught.value.action


def test_a_missing_module_is_an_error_that_names_the_option(tmp_path):
    material.need_apache()
    missing = str(tmp_path / 'mod_wsgi.so')
    deployed = material.deployment(
        tmp_path, server='mod_wsgi', mod_wsgi=missing
    )
    with pytest.raises(errors.ServerMissing, match='--mod-wsgi') as caught:
        servers.load(deployed).version()
    assert missing in caught.value.cause


def test_apache_has_twice_the_threads_that_the_applications_have(tmp_path):
    made, _ = material.rendered(
        tmp_path, server='apache-uwsgi', workers='8', threads='32'
    )
    text = made.parts[-1]._conf.read_text()
    workers = int(re.findall(r'MaxRequestWorkers (\d+)', text)[0])
    assert workers >= 2 * (8 * 32 + 2 * 4)
    assert workers % size.THREADS_PER_CHILD == 0
