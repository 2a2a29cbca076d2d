"""Whatever goes wrong with "install": afterwards all is as it was before.

One machine has one server after the other installed, beside the site that
Debian itself enables; every test breaks something, and finds both as they
were.
"""

import contextlib
import shlex
import subprocess

import machine
import pytest
import snapshots

SITES = '/etc/apache2/sites-available'
OURS = '/etc/glance-wsgi'
VASSALS = f'{OURS}/vassals'
CHECKPOINT = '/var/lib/glance-wsgi-installed/checkpoint/manifest.json'
SERVERS = ('apache-uwsgi', 'mod_wsgi', 'uwsgi')


def while_serves(*rows, more=None):
    """What serves before the test, and `more` that differs with it.

    The servers always in one order, by which pytest puts tests together.
    """
    names = ['site', more] if more else 'site'
    return pytest.mark.parametrize(
        names, rows, indirect=['site'], scope='module'
    )


@pytest.fixture(scope='module')
def certificates(fresh):
    """Two certificates to be used."""
    for name in ('one', 'two'):
        fresh(
            *('openssl', 'req', '-x509', '-nodes', '-days=2'),
            *('-subj', '/CN=localhost', '-newkey', 'rsa:2048'),
            *('-keyout', f'/etc/ssl/{name}.key'),
            *('-out', f'/etc/ssl/{name}.pem'),
        )


@pytest.fixture(scope='module')
def site(fresh, certificates, request):
    """The machine, with an API that a server serves."""
    fresh.glance_wsgi('install', f'--server={request.param}')
    return fresh


@pytest.fixture(autouse=True)
def unchanged(site):
    """What the test leaves is what it has found, and it serves."""
    before = snapshots.of(site)
    pid = main_pid(site)
    yield
    assert snapshots.differences(before, snapshots.of(site)) == []
    assert main_pid(site) == pid, 'the service was started again'
    machine.until(site.serves, 'the previous site serves', within=20)
    assert default_site(site) == 'Apache2 Debian Default Page: It works'


def main_pid(site) -> str:
    """Those of both services; 0 of one that does not run."""
    return site(
        *('systemctl', 'show', '--value', '--property=MainPID'),
        *('glance-wsgi', 'apache2'),
    ).stdout


def default_site(site) -> str:
    """The title of the page that Debian's own site has."""
    script = (
        'import re, urllib.request as u; '
        'page = u.urlopen("http://127.0.0.1:80").read().decode(); '
        'print(re.search("<title>(.*?)</title>", page, re.S)[1])'
    )
    return site('python3', '-c', script).stdout.strip()


def refused(site, code, *words) -> str:
    """Install, and see it end with one line and this exit code."""
    result = site.glance_wsgi('install', *words, check=False)
    assert result.returncode == code, result.stdout + result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith('glance-wsgi: ')
    return line


def tls(certificate, key) -> tuple[str, str]:
    return (
        f'--tls-certificate=/etc/ssl/{certificate}',
        f'--tls-key=/etc/ssl/{key}',
    )


@contextlib.contextmanager
def mounted(site, place, *how):
    """Something mounted over a directory, with what was in it."""
    site('mkdir', '-p', '/root/copy')
    site('cp', '-a', f'{place}/.', '/root/copy')
    site('mount', *how, place)
    try:
        if not any('bind' in word for word in how):
            site('cp', '-a', '/root/copy/.', place)
        yield
    finally:
        # Lazily: the Emperor may just be looking.
        site('umount', '--lazy', place)
        site('rm', '-r', '/root/copy')


@while_serves(*SERVERS)
def test_a_certificate_that_is_not_there(site):
    line = refused(site, 28, *tls('none.pem', 'one.key'))
    assert '/etc/ssl/none.pem' in line


@while_serves('apache-uwsgi')
def test_a_certificate_that_is_not_that_of_its_key(site):
    line = refused(site, 28, *tls('one.pem', 'two.key'))
    assert 'KEY_VALUES_MISMATCH' in line


@while_serves('apache-uwsgi')
def test_a_port_that_something_else_listens_on(site):
    script = (
        'import socket, time; s = socket.create_server(("127.0.0.1", 9393)); '
        'print(flush=True); time.sleep(1000)'
    )
    other = subprocess.Popen(
        site.command('python3', '-c', script), stdout=subprocess.PIPE
    )
    try:
        other.stdout.readline()
        line = refused(site, 11, '--listen=127.0.0.1:9393')
        assert '127.0.0.1:9393' in line
    finally:
        other.kill()
        other.wait()
        other.stdout.close()


@while_serves('apache-uwsgi')
def test_two_sites_on_one_port(site):
    line = refused(site, 11, '--listen=127.0.0.1:80')
    assert '/etc/apache2/sites-enabled/000-default.conf' in line


@pytest.mark.parametrize('place', [SITES, VASSALS])
@while_serves('apache-uwsgi')
def test_a_directory_that_cannot_be_written(site, place):
    with mounted(site, place, '--bind', '-o', 'ro', place):
        line = refused(site, 13, '--threads=5', '--client-timeout=99')
        assert place in line
        assert 'Read-only file system' in line


@pytest.mark.parametrize('place', [SITES, OURS])
@while_serves('apache-uwsgi')
def test_a_disk_that_fills_in_the_middle(site, place):
    with mounted(site, place, '-t', 'tmpfs', '-o', 'size=128k', 'none'):
        before = snapshots.of(site)
        fill = f'cat /dev/zero > {place}/zero; true'
        site('sh', '-c', fill)
        line = refused(site, 19, '--threads=5', '--client-timeout=99')
        assert 'No space left on device' in line
        site('rm', f'{place}/zero')
        assert snapshots.differences(before, snapshots.of(site)) == []


def killed(site, file, *words) -> None:
    """Install, and be killed when a file is about to be written."""
    # A process of its own in there, which sees the checkpoint grow.
    command = shlex.join(['glance-wsgi', 'install', *words])
    script = f"""
        {machine.BIN}/{command} >/dev/null 2>&1 &
        until grep -q '{file}' {CHECKPOINT} 2>/dev/null
        do kill -0 $! || exit 3; done
        kill -9 $!
        wait $!
        test $? = 137
    """
    site('sh', '-c', script)
    assert site.file(CHECKPOINT).exists()


@while_serves(
    ('apache-uwsgi', f'{VASSALS}/glance-api.ini'),
    ('mod_wsgi', f'{SITES}/glance-wsgi.conf'),
    more='file',
)
def test_a_kill_in_the_middle_of_writing_is_mended_by_the_next_install(
    site, file
):
    before = snapshots.of(site)
    killed(site, file, '--threads=5', '--client-timeout=99')
    assert snapshots.differences(before, snapshots.of(site)) != []
    machine.until(site.serves, 'it serves with half of the files')
    said = site.glance_wsgi('install').stdout
    assert 'changed ' not in said.replace('unchanged ', '')
    assert not site.file(CHECKPOINT).exists()


@while_serves('apache-uwsgi')
def test_a_configuration_of_glance_that_cannot_be_loaded(site):
    own = site.file('/var/lib/glance-wsgi/etc/glance-api.local.conf')
    own.write_text('[DEFAULT]\nenabled_backends = fast:nonsense\n')
    try:
        line = refused(site, 29)
        assert "glance-api can't be loaded" in line
    finally:
        own.unlink()


@while_serves('apache-uwsgi')
def test_another_mod_wsgi_than_the_one_that_apache_loads(site):
    line = refused(site, 29, '--server=mod_wsgi', '--mod-wsgi=/etc/hostname')
    assert 'Apache loads' in line


@while_serves('apache-uwsgi')
def test_what_apache_itself_refuses(site):
    # What serves goes on, without a start: the Emperor has seen nothing.
    pids = '/run/glance-wsgi/glance-api.pid', '/run/glance-wsgi/keystone.pid'
    before = site('cat', *pids).stdout
    # It would not look at ours beside the distribution's.
    loads = '/etc/apache2/mods-enabled/wsgi.load'
    site('mv', loads, f'{loads}.away')
    try:
        line = refused(
            site, 29, '--server=mod_wsgi', '--mod-wsgi=/etc/hostname'
        )
    finally:
        site('mv', f'{loads}.away', loads)
    assert 'Apache refuses' in line
    assert site('cat', *pids).stdout == before
    assert 'Everything is as it was before.' in line


@while_serves('apache-uwsgi')
def test_a_user_who_is_not_root(site):
    result = site(
        *('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'),
        *(machine.BIN / 'glance-wsgi', 'install'),
        check=False,
    )
    assert result.returncode == 55
    assert len(result.stderr.splitlines()) == 1
