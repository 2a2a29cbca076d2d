"""What a first "install" meets on a machine, and leaves when it fails."""

import json
import re
import shlex

import machine
import pytest
import snapshots

from glance_wsgi import platforms
from glance_wsgi import render

SITE = '/etc/apache2/sites-available/glance-wsgi.conf'
DROP_IN = '/run/systemd/system/glance-wsgi.service.d'


@pytest.fixture(autouse=True)
def nothing_left(fresh):
    """Nothing is installed, neither before the test nor after it."""
    before = snapshots.of(fresh)
    yield
    assert snapshots.differences(before, snapshots.of(fresh)) == []
    assert not fresh.serves()
    assert fresh('systemctl', 'is-active', 'apache2').stdout == 'active\n'


def refused(fresh, code, *words) -> str:
    result = fresh.glance_wsgi('install', *words, check=False)
    assert result.returncode == code, result.stdout + result.stderr
    (line,) = result.stderr.splitlines()
    return line


def test_a_site_of_the_same_name_that_somebody_else_wrote(fresh):
    foreign = fresh.file(SITE)
    foreign.write_text('# mine\n')
    try:
        assert SITE in refused(fresh, 56, '--server=apache-uwsgi')
        assert foreign.read_text() == '# mine\n'
    finally:
        foreign.unlink()


def test_a_unit_of_the_same_name_that_somebody_else_wrote(fresh):
    foreign = fresh.file('/etc/systemd/system/glance-wsgi.service')
    foreign.write_text('[Service]\nExecStart=/bin/true\n')
    try:
        assert foreign.name in refused(fresh, 56)
    finally:
        foreign.unlink()


@pytest.mark.parametrize(
    ('server', 'file', 'package'),
    [
        ('uwsgi', machine.BIN / 'uwsgi', 'uWSGI'),
        ('apache-uwsgi', '/usr/sbin/apache2', 'apt-get install apache2'),
        (
            'mod_wsgi',
            '/usr/lib/apache2/modules/mod_wsgi.so',
            'libapache2-mod-wsgi-py3',
        ),
    ],
)
def test_a_server_that_is_not_installed(fresh, server, file, package):
    if server == 'mod_wsgi':
        fresh('mv', file, f'{file}.away')
    else:
        # The virtualenv is not the machine's own.
        fresh('mount', '--bind', '/dev/null', file)
    try:
        assert package in refused(fresh, 22, f'--server={server}')
    finally:
        if server == 'mod_wsgi':
            fresh('mv', f'{file}.away', file)
        else:
            fresh('umount', file)


def test_a_template_that_needs_what_nobody_gives(fresh):
    template = render.template_directory() / 'glance-wsgi.tmpfiles.j2'
    fresh.file('/root/template').write_text('{{ nobody }}\n')
    fresh('mount', '--bind', '/root/template', template)
    try:
        line = refused(fresh, 54, '--server=mod_wsgi')
        assert 'Everything is as it was before.' in line
    finally:
        fresh('umount', template)


def test_a_service_that_does_not_start(fresh):
    # Tests of files can't find this.
    fresh('mkdir', '-p', DROP_IN)
    fresh.file(f'{DROP_IN}/broken.conf').write_text(
        '[Service]\nExecStartPre=/bin/false\n'
    )
    try:
        line = refused(fresh, 57)
        assert 'systemctl start glance-wsgi.service' in line
        assert 'Everything is as it was before.' in line
    finally:
        fresh('rm', '-r', DROP_IN)
        fresh('systemctl', 'daemon-reload')


@pytest.fixture
def no_user(fresh):
    """The service user is yet to be made; it will have the same number."""
    accounts = ('passwd', 'group', 'shadow', 'gshadow')
    fresh('mkdir', '/root/accounts')
    for name in accounts:
        fresh('cp', '-a', f'/etc/{name}', '/root/accounts')
    fresh('userdel', 'glance-wsgi')
    yield fresh
    for name in accounts:
        fresh('cp', '-a', f'/root/accounts/{name}', '/etc')
    fresh('rm', '-r', '/root/accounts')


def test_a_foreign_file_is_seen_before_a_user_is_made(no_user):
    foreign = no_user.file(SITE)
    foreign.write_text('# mine\n')
    before = snapshots.of(no_user)
    try:
        line = refused(no_user, 56, '--server=apache-uwsgi')
        assert 'Nothing was changed.' in line
        assert snapshots.differences(before, snapshots.of(no_user)) == []
    finally:
        foreign.unlink()


def test_a_user_who_was_made_for_what_fails_is_removed(no_user):
    before = snapshots.of(no_user)
    no_user('mkdir', '-p', DROP_IN)
    no_user.file(f'{DROP_IN}/broken.conf').write_text(
        '[Service]\nExecStartPre=/bin/false\n'
    )
    try:
        assert 'Everything is as it was before.' in refused(no_user, 57)
        assert snapshots.differences(before, snapshots.of(no_user)) == []
    finally:
        no_user('rm', '-r', DROP_IN)
        no_user('systemctl', 'daemon-reload')


def test_a_glance_whose_configuration_is_closed(no_user):
    """What the message says can be done, and helps: one way or the other."""
    own = '/var/lib/glance-wsgi'
    config = '/etc/glance/glance-api.conf'
    try_it = ('install', '--dry-run', '--server=apache-uwsgi')
    no_user(*platforms.current().add_user_command('glance'))
    no_user('cp', '-a', f'{own}/etc/glance', '/etc')
    no_user('mv', f'{own}/deployment.json', f'{own}/away.json')
    no_user('chown', 'root:glance', config)
    no_user('chmod', '0640', config)
    try:
        line = refused(no_user, 24, *try_it[1:])
        assert '--run-as' in line
        no_user.glance_wsgi(*try_it, '--run-as=glance')
        commands = re.findall('"(.*?)"', line)
        assert [command.split()[0] for command in commands] == [
            'useradd',
            'chgrp',
            'chmod',
        ]
        for command in commands:
            no_user(*shlex.split(command))
        no_user.glance_wsgi(*try_it)
    finally:
        no_user('mv', f'{own}/away.json', f'{own}/deployment.json')
        no_user('rm', '-r', '/etc/glance')


def test_nothing_to_be_uninstalled(fresh):
    result = fresh.glance_wsgi('uninstall', check=False)
    assert result.returncode == 58


def test_a_deployment_that_runs_by_itself(fresh):
    fresh.glance_wsgi('up')
    try:
        assert 'glance-wsgi down' in refused(fresh, 11)
    finally:
        fresh.glance_wsgi('down', '--timeout=0')


def test_the_glance_of_etc_is_hosted_where_up_has_made_none(fresh):
    own = '/var/lib/glance-wsgi'
    fresh('cp', '-a', f'{own}/etc/glance', f'{own}/etc/keystone', '/etc')
    fresh('mv', f'{own}/deployment.json', f'{own}/away.json')
    try:
        fresh.glance_wsgi('install', '--keystone-config-dir=/etc/keystone')
        machine.until(fresh.serves, 'it serves')
        writable = fresh(
            *('systemctl', 'show', '--value', 'glance-wsgi'),
            '--property=ReadWritePaths',
        ).stdout.split()
        assert f'{own}/data/fast' in writable
        assert f'{own}/data/staging' in writable
        assert own not in writable
        shown = json.loads(fresh.glance_wsgi('status', '-f', 'json').stdout)
        assert shown['serving']
        assert shown['glance-api health'] == 'OK'
        assert shown['database upgrade'] == 'none'
        checked = fresh.glance_wsgi('check', '-f', 'json', check=False)
        assert checked.returncode == 0, checked.stdout
        # The Emperor's, a vassal's for each, the unit, and what is hosted.
        assert 'Checked 6 files' in checked.stderr
        rendered = fresh.glance_wsgi('render', '--diff')
        assert rendered.stdout == ''
        said = rendered.stderr.splitlines()
        assert {line.split()[0] for line in said} == {'unchanged'}
        assert any('/etc/glance-wsgi/' in line for line in said)
        drained = fresh.glance_wsgi('drain', check=False)
        assert drained.returncode == 0, drained.stderr
        fresh.glance_wsgi('resume')
    finally:
        fresh.glance_wsgi('uninstall', check=False)
        fresh('mv', f'{own}/away.json', f'{own}/deployment.json')
        fresh('rm', '-r', '/etc/glance', '/etc/keystone')


def exposure(fresh) -> float:
    said = fresh('systemd-analyze', 'security', '--no-pager', 'glance-wsgi')
    last = said.stdout.strip().splitlines()[-1]
    return float(last.partition(': ')[2].split()[0])


def test_the_unit_is_hardened_and_its_times_are_a_ladder(fresh):
    fresh.glance_wsgi('install', '--task-mercy=123')
    try:
        assert exposure(fresh) < 3.0
        shown = fresh(
            *('systemctl', 'show', 'glance-wsgi'),
            '--property=TimeoutStopUSec,TimeoutStartUSec',
        ).stdout.splitlines()
        # 123 s for a worker, a minute more for the unit to stop, and a
        # reload of two applications.
        assert sorted(shown) == [
            'TimeoutStartUSec=5min 6s',
            'TimeoutStopUSec=3min 3s',
        ]
        ini = fresh.file('/etc/glance-wsgi/vassals/glance-api.ini')
        assert '\nworker-reload-mercy = 123\n' in ini.read_text()
    finally:
        fresh.glance_wsgi('uninstall')


def test_a_low_port_is_the_one_thing_more_that_the_unit_may(fresh):
    # The last test here: the catalogue stays at the new address.
    fresh.glance_wsgi('install', '--listen=127.0.0.1:81')
    try:
        assert fresh.serves()
        capabilities = fresh(
            *('systemctl', 'show', '--value', 'glance-wsgi'),
            '--property=CapabilityBoundingSet',
        ).stdout
        assert capabilities == 'cap_net_bind_service\n'
        assert exposure(fresh) < 3.0
    finally:
        fresh.glance_wsgi('uninstall')
