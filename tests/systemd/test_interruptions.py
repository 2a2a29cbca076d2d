"""What is left of a command that does not come to its end.

On one machine, on which the tests run in this order: it has the site that
Debian itself enables, and each test leaves it as it has found it.
"""

import contextlib
import shlex
import subprocess

import machine
import pytest
import snapshots

CHECKPOINT = '/var/lib/glance-wsgi-installed/checkpoint'
WRITING = f'grep -q sites-available {CHECKPOINT}/manifest.json'
STARTED = f'grep -q "registered.: true" {CHECKPOINT}/note.json'
OPTIONS = '/etc/glance-wsgi/glance-wsgi.conf'
SITE = '/etc/apache2/sites-enabled/mine.conf'
BUSY = '/run/glance-wsgi/glance-api.busy'


@pytest.fixture(scope='module', autouse=True)
def untouched(fresh):
    """What all of them together leave is what was there."""
    before = snapshots.of(fresh)
    yield
    assert snapshots.differences(before, snapshots.of(fresh)) == []


@pytest.fixture(autouse=True)
def others(fresh):
    """Apache goes on with the sites of others."""
    yield
    script = 'import urllib.request as u; u.urlopen("http://127.0.0.1:80")'
    fresh('python3', '-c', script)


def killed(fresh, when, *words) -> None:
    """Install, and be killed when something can be seen."""
    command = shlex.join(['glance-wsgi', 'install', *words])
    script = f"""
        {machine.BIN}/{command} >/dev/null 2>&1 &
        until {when} 2>/dev/null
        do kill -0 $! || exit 3; done
        kill -9 $!
        wait $!
        test $? = 137
    """
    fresh('sh', '-c', script)
    assert fresh.file(f'{CHECKPOINT}/manifest.json').exists()


@pytest.mark.parametrize('verb', ['reload', 'uninstall'])
@pytest.mark.parametrize(
    'when', [WRITING, STARTED], ids=['writing', 'started']
)
def test_of_a_first_install_that_was_killed_nothing_is_left(fresh, when, verb):
    before = snapshots.of(fresh)
    killed(fresh, when, '--server=apache-uwsgi')
    assert fresh.glance_wsgi(verb, check=False).returncode == 58
    assert snapshots.differences(before, snapshots.of(fresh)) == []
    unit = fresh('systemctl', 'status', 'glance-wsgi', check=False)
    assert unit.returncode == 4  # no such unit
    assert not fresh.serves()


def test_after_a_switch_that_was_killed_the_previous_one_is_reloaded(fresh):
    fresh.glance_wsgi('install', '--server=mod_wsgi', '--task-mercy=2')
    before = snapshots.of(fresh)
    killed(fresh, STARTED, '--server=uwsgi', '--listen=127.0.0.1:9393')
    fresh.glance_wsgi('reload', '--timeout=60')
    assert snapshots.differences(before, snapshots.of(fresh)) == []
    # By the catalogue, in which Keystone was at the other address.
    machine.until(fresh.serves, 'what was installed before serves')


def test_apache_reads_its_files_again_after_half_of_them(fresh):
    before = snapshots.of(fresh)
    written = 'grep -q 9393 /etc/apache2/sites-available/glance-wsgi.conf'
    killed(fresh, written, '--listen=127.0.0.1:9393')
    fresh('systemctl', 'reload', 'apache2')
    assert not fresh.serves()
    fresh.glance_wsgi('install')
    assert snapshots.differences(before, snapshots.of(fresh)) == []
    machine.until(fresh.serves, 'what was installed before serves')


@contextlib.contextmanager
def transfer(fresh):
    """What shows "uninstall" that one runs, until it is over."""
    hold = ('sh', '-c', 'echo; read line')
    running = subprocess.Popen(
        fresh.command('flock', '--shared', BUSY, *hold),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    running.stdout.readline()
    with running:
        yield


def test_an_uninstall_that_would_cut_a_transfer_leaves_everything(fresh):
    before = snapshots.of(fresh)
    with transfer(fresh):
        result = fresh.glance_wsgi('uninstall', check=False)
        assert result.returncode == 52, result.stderr
        assert snapshots.differences(before, snapshots.of(fresh)) == []
        assert fresh.serves()
    fresh.glance_wsgi('uninstall')
    assert not fresh.serves()


def test_modules_that_another_site_needs_by_now_stay(fresh):
    before = snapshots.of(fresh)
    fresh.glance_wsgi('install', '--server=apache-uwsgi')
    fresh.file(SITE).write_text('ProxyPass /mine http://127.0.0.1:1/\n')
    said = fresh.glance_wsgi('uninstall').stdout
    assert 'proxy' in said.splitlines()[1]
    assert fresh('systemctl', 'is-active', 'apache2').stdout == 'active\n'
    changed = snapshots.differences(before, snapshots.of(fresh))
    for name in (SITE, '/etc/apache2/mods-enabled/proxy.load'):
        assert name in changed
    fresh('rm', SITE)
    fresh('a2dismod', '--quiet', 'proxy_http', 'proxy', 'headers')
    fresh('systemctl', 'reload', 'apache2')
    for name in snapshots.differences(before, snapshots.of(fresh)):
        # What Debian remembers of modules that were disabled.
        assert name.startswith('/var/lib/apache2/module')
        fresh('rm', '-r', '--force', name)
