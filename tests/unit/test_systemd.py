"""The unit, and what it may write to."""

import configparser
import pathlib
import shutil
import subprocess

import material
import pytest

from glance_wsgi import errors
from glance_wsgi import platforms
from glance_wsgi import systemd
from glance_wsgi.deployment import Deployment
from glance_wsgi.servers import system


def unit(tmp_path, **options):
    """The sections of the unit of a deployment."""
    deployment = material.deployment(tmp_path / 'state', **options)
    file = systemd.unit_file(deployment, pathlib.Path('/etc/emperor.ini'))
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    parser.optionxform = str
    parser.read_string(file.text())
    return parser


def test_the_unit_stops_later_than_the_workers_may_take(tmp_path):
    found = unit(tmp_path, task_mercy=1000)['Service']
    assert int(found['TimeoutStopSec']) > 1000
    assert int(found['TimeoutStartSec']) > 2 * 1000


@pytest.mark.parametrize(
    ('listen', 'expected'),
    [('127.0.0.1:9292', None), ('127.0.0.1:443', 'CAP_NET_BIND_SERVICE')],
)
def test_only_a_low_port_needs_a_capability(tmp_path, listen, expected):
    found = unit(tmp_path, listen=listen)['Service']
    assert found.get('AmbientCapabilities') == expected
    assert found['CapabilityBoundingSet'] == (expected or '')


def test_the_unit_lets_glance_list_the_addresses_of_its_machine(tmp_path):
    # Else each upload ends with 500 where limits are kept in Keystone.
    families = unit(tmp_path)['Service']['RestrictAddressFamilies'].split()
    assert 'AF_NETLINK' in families


def addition(**arguments):
    """What the distribution's unit of Apache is given, by its lines."""
    file = systemd.apache_file(
        'apache2.service', pathlib.Path('/run/apache2.pid'), 1000, **arguments
    )
    lines = file.text().splitlines()
    return [line for line in lines if not line.startswith('#')]


def test_apache_is_asked_once_to_finish_and_has_the_time_for_it():
    lines = addition()
    # Debian's command and a SIGWINCH behind it would be twice.
    assert [line for line in lines if 'Exec' in line] == ['ExecStop=']
    assert 'KillSignal=SIGWINCH' in lines
    assert f'TimeoutStopSec={1000 + systemd.STOP_MARGIN}' in lines


def test_apache_is_stopped_and_reloaded_by_a_command_that_it_needs():
    lines = addition(command='/venv/bin/python -m it')
    assert [line for line in lines if 'Exec' in line] == [
        'ExecStop=',
        'ExecStop=-/venv/bin/python -m it stop',
        'ExecReload=',
        'ExecReload=/venv/bin/python -m it reload',
    ]
    assert f'TimeoutStartSec={1000 + systemd.STOP_MARGIN}' in lines


def test_systemd_finds_no_mistake_in_the_unit(tmp_path):
    if shutil.which('systemd-analyze') is None:
        pytest.skip('no systemd-analyze: apt-get install systemd')
    deployment = material.deployment(tmp_path / 'state')
    file = systemd.unit_file(deployment, tmp_path / 'emperor.ini')
    path = tmp_path / 'glance-wsgi.service'
    # Verified is also whether the programs and the user exist.
    text = file.text().replace(str(file.variables['program']), '/bin/true')
    text = text.replace(str(file.variables['command']), '/bin/true')
    path.write_text(text.replace('=me\n', '=daemon\n'))
    said = subprocess.run(
        ['systemd-analyze', 'verify', '--man=no', path],
        capture_output=True,
        text=True,
    )
    assert path.name not in said.stderr, said.stderr


def test_it_writes_to_what_the_configuration_of_others_names(tmp_path):
    etc, data = tmp_path / 'etc', tmp_path / 'data'
    for place in (etc, data, data / 'images', data / 'staging', data / 'db'):
        place.mkdir()
    (data / 'theirs').mkdir(mode=0o500)
    (etc / 'glance-api.conf').write_text(
        '[DEFAULT]\n'
        f'node_staging_uri = file://{data}/staging\n'
        'bind_host = 0.0.0.0\n'
        'log_file\n'
        '[database]\n'
        f'connection = sqlite:///{data}/db/glance.sqlite\n'
        '[fast]\n'
        f'filesystem_store_datadirs = {data}/images:100\n'
        f'filesystem_store_metadata_file = {data}/theirs\n'
        'swift_store_auth_address = https://example.org/etc\n'
    )
    deployment = material.deployment(
        tmp_path / 'state', glance_config_dir=str(etc)
    )
    found = set(systemd.writable(deployment))
    ours = {deployment.places.run, deployment.places.log}
    assert found - ours == {data / 'images', data / 'staging', data / 'db'}


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('80', (None, 80)),
        ('*:80', (None, 80)),
        ('0.0.0.0:443', (None, 443)),
        ('[::]:443', (None, 443)),
        ('_default_:443', (None, 443)),
        ('192.0.2.1:443', ('192.0.2.1', 443)),
        ('[2001:db8::1]:443', ('2001:db8::1', 443)),
        ('192.0.2.1', ('192.0.2.1', None)),
        ('*', (None, None)),
        ('[::1]', ('::1', None)),
        ('[::]', (None, None)),
        ('[::1]:*', ('::1', None)),
        ('example.org:80', ('example.org', 80)),
    ],
)
def test_an_address_is_read_as_apache_writes_it(text, expected):
    assert system._address(text) == expected


def test_each_distribution_says_where_its_apache_has_sites():
    for platform in platforms.PLATFORMS:
        assert platform.apache.system.site.suffix == '.conf'
        assert platform.apache.system.site.is_absolute()


def test_a_module_of_a_relative_path_is_in_the_root_of_the_server(tmp_path):
    file = tmp_path / 'mods.conf'
    file.write_text(
        'LoadModule wsgi_module modules/mod_wsgi.so\n'
        'LoadModule ssl_module "/usr/lib/mod_ssl.so"\n'
    )
    found = system._loads(f'  (1) {file}\n', tmp_path, tmp_path / 'root')
    assert dict(found) == {
        'wsgi_module': f'{tmp_path}/root/modules/mod_wsgi.so',
        'ssl_module': '/usr/lib/mod_ssl.so',
    }


def refusing(monkeypatch, state):
    """A systemctl that can't stop a unit, which then is in some state."""

    def run(words, **options):
        asked = 'show' in words
        said = state if asked else ''
        return subprocess.CompletedProcess(
            words, 0 if asked else 5, said, 'Unit x.service not loaded.'
        )

    monkeypatch.setattr(systemd.subprocess, 'run', run)
    monkeypatch.setattr(systemd, 'booted', lambda: True)


def test_a_unit_that_is_not_known_counts_as_stopped(monkeypatch):
    refusing(monkeypatch, 'inactive\n')
    systemd.stop('x.service')


def test_a_unit_that_does_not_stop_is_an_error(monkeypatch):
    refusing(monkeypatch, 'active\n')
    with pytest.raises(errors.InstallFailed, match='systemctl stop'):
        systemd.stop('x.service')


@pytest.mark.parametrize(
    ('python', 'state', 'error', 'what'),
    [
        ('/tmp/v/bin/python', '/srv/x', 'PythonNotReadable', 'virtualenv'),
        ('/var/tmp/v/bin/python', '/srv/x', 'PythonNotReadable', 'virtualenv'),
        ('/opt/v/bin/python', '/var/tmp/x', 'StateNotReachable', 'directory'),
    ],
)
def test_what_services_do_not_see_is_refused(
    monkeypatch, python, state, error, what
):
    """Each has a /tmp and a /var/tmp of its own."""
    monkeypatch.setattr(Deployment, 'python', pathlib.Path(python))
    monkeypatch.setattr(systemd, '_PACKAGE', pathlib.Path('/opt/v/lib'))
    with pytest.raises(getattr(errors, error)) as caught:
        systemd.check_seen(Deployment(pathlib.Path(state)))
    assert what in caught.value.cause


def test_a_package_in_development_has_to_be_seen_too(monkeypatch):
    monkeypatch.setattr(Deployment, 'python', pathlib.Path('/opt/v/python'))
    monkeypatch.setattr(systemd, '_PACKAGE', pathlib.Path('/tmp/src'))
    with pytest.raises(errors.PythonNotReadable, match='package'):
        systemd.check_seen(Deployment(pathlib.Path('/srv/x')))


def test_a_link_to_what_services_do_not_see_is_refused(monkeypatch, tmp_path):
    (tmp_path / 'venv' / 'bin').mkdir(parents=True)
    link = tmp_path / 'link'
    link.symlink_to(tmp_path / 'venv')
    monkeypatch.setattr(systemd, '_PACKAGE', pathlib.Path('/opt/v/lib'))
    monkeypatch.setattr(systemd, '_TEMPORARY', (tmp_path / 'venv',))
    monkeypatch.setattr(Deployment, 'python', link / 'bin' / 'python')
    with pytest.raises(errors.PythonNotReadable, match='virtualenv'):
        systemd.check_seen(Deployment(pathlib.Path('/srv/x')))


def test_a_certificate_among_temporary_files_is_refused(monkeypatch):
    monkeypatch.setattr(systemd, '_PACKAGE', pathlib.Path('/opt/v/lib'))
    monkeypatch.setattr(Deployment, 'python', pathlib.Path('/opt/v/python'))
    names = {'certificate': '/etc/a.pem', 'key': '/tmp/a.key'}
    tls = {name: pathlib.Path(path) for name, path in names.items()}
    monkeypatch.setattr(Deployment, 'tls', tls)
    with pytest.raises(errors.BadCertificate, match=r'/tmp/a\.key'):
        systemd.check_seen(Deployment(pathlib.Path('/srv/x')))


def test_what_services_see_is_accepted(monkeypatch):
    monkeypatch.setattr(Deployment, 'python', pathlib.Path('/opt/v/python'))
    monkeypatch.setattr(systemd, '_PACKAGE', pathlib.Path('/home/me/tmp/src'))
    systemd.check_seen(Deployment(pathlib.Path('/srv/x')))
