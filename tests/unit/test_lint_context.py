"""The facts of this machine, asked from the machine itself."""

import os
import pathlib
import shutil
import socket
import stat
import sys

import pytest
import sqlalchemy
from sqlalchemy import exc

from glance_wsgi.lint import context as facts
from glance_wsgi.lint.context import Context
from glance_wsgi.lint.context import Identity

STRANGER = Identity('stranger', 4242, frozenset({4343}))


@pytest.fixture
def folder(tmp_path):
    """A directory of ours below which only its own rights matter."""
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.fixture
def obstacle(folder):
    """What keeps a stranger from something below that directory."""

    class Here(Context):
        def stat(self, path):
            # What is above belongs to pytest, who lets in nobody else.
            inside = folder in (path, *path.parents)
            return super().stat(path if inside else pathlib.Path('/'))

    return lambda path, wanted=4, who=STRANGER: Here().obstacle(
        path, who, wanted
    )


def test_numbers_of_the_machine_are_numbers():
    context = Context()
    assert context.memory() > 2**26
    assert context.somaxconn() >= 1
    assert context.free(pathlib.Path('/')) >= 0
    assert context.free(pathlib.Path('/proc/none')) is None


def test_file_systems_in_memory_are_known():
    assert not Context().in_memory(pathlib.Path('/proc/self'))
    shm = pathlib.Path('/dev/shm')
    if os.path.ismount(shm):
        assert Context().in_memory(shm / 'staging')


def test_what_a_reboot_empties_is_known():
    assert Context().fleeting(pathlib.Path('/tmp/staging'))
    assert Context().fleeting(pathlib.Path('/run/glance/staging'))
    assert not Context().fleeting(pathlib.Path('/var/tmp/staging'))


def test_users_are_found_by_name_and_by_number():
    root = Context().identity('root')
    assert root == Context().identity('0')
    assert (root.name, root.uid) == ('root', 0)
    assert Context().identity('nobody-has-this-name') is None
    assert Context().identity('4294967') is None


def test_nothing_keeps_a_stranger_from_what_is_open(folder, obstacle):
    (folder / 'file').touch(mode=0o644)
    assert obstacle(folder / 'file') is None
    assert obstacle(folder, wanted=5) is None


def test_a_closed_directory_above_is_named(folder, obstacle):
    (folder / 'home' / 'venv').mkdir(parents=True)
    (folder / 'home').chmod(0o700)
    assert obstacle(folder / 'home' / 'venv') == folder / 'home'


def test_a_link_into_a_closed_directory_is_followed(folder, obstacle):
    (folder / 'home').mkdir()
    (folder / 'home' / 'python').touch(mode=0o755)
    (folder / 'home').chmod(0o700)
    (folder / 'python').symlink_to(folder / 'home' / 'python')
    assert obstacle(folder / 'python', wanted=5) == folder / 'home'


@pytest.mark.parametrize(
    ('mode', 'uid', 'gids', 'open_'),
    [
        (0o604, 4242, {1}, True),
        (0o640, 4242, {'own'}, True),
        (0o640, 4242, {1}, False),
        # Its group's rights count for a member, even where others have more.
        (0o604, 4242, {'own'}, False),
        (0o400, 'own', {1}, True),
        (0o044, 'own', {1}, False),
        (0o000, 0, {0}, True),
    ],
)
def test_rights_are_those_of_owner_group_or_others(
    folder, obstacle, mode, uid, gids, open_
):
    file = folder / 'file'
    file.touch()
    file.chmod(mode)
    if os.getuid() == 0:
        os.chown(file, 777, 888)
    facts = file.stat()
    uid = facts.st_uid if uid == 'own' else uid
    gids = {facts.st_gid if gid == 'own' else gid for gid in gids}
    who = Identity('somebody', uid, frozenset(gids))
    assert (obstacle(file, who=who) is None) is open_


def test_a_missing_file_is_no_obstacle(folder, obstacle):
    assert obstacle(folder / 'none') is None


def test_this_machine_has_its_loopback_address_which_does_not_move():
    assert Context().addresses()['127.0.0.1'] is False


def test_an_address_with_a_network_of_its_own_moves(monkeypatch):
    def entry(family, address, netmask):
        return type(
            'snicaddr',
            (),
            {'family': family, 'address': address, 'netmask': netmask},
        )

    interfaces = {
        'lo': [entry(socket.AF_INET, '127.0.0.9', '255.255.255.255')],
        'eth0': [
            entry(socket.AF_INET, '192.0.2.1', '255.255.255.0'),
            entry(socket.AF_INET, '192.0.2.9', '255.255.255.255'),
            entry(socket.AF_INET6, 'fe80::1%eth0', 'ffff:ffff:ffff:ffff::'),
            entry(socket.AF_INET6, '2001:db8::9', f'{"ffff:" * 7}ffff'),
            entry(socket.AF_PACKET, '00:00:00:00:00:00', None),
        ],
    }
    monkeypatch.setattr('psutil.net_if_addrs', lambda: interfaces)
    moving = {name for name, moves in Context().addresses().items() if moves}
    assert moving == {'192.0.2.9', '2001:db8::9'}


def test_hosts_are_resolved_as_far_as_they_can_be():
    assert '127.0.0.1' in Context().resolve('127.0.0.1')
    assert Context().resolve('host.invalid') == set()
    assert Context().resolve('') == set()


def test_a_database_that_is_no_mariadb_has_no_limit():
    assert Context().max_connections('sqlite:////tmp/x') is None


def test_a_database_that_does_not_answer_is_an_error():
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(exc.SQLAlchemyError):
        Context().max_connections(f'mysql+pymysql://u:p@127.0.0.1:{port}/n')
    with pytest.raises(sqlalchemy.exc.ArgumentError):
        Context().max_connections('nonsense')


def test_the_uwsgi_of_a_virtualenv_is_known_without_running_it(tmp_path):
    packages = tmp_path / 'lib' / 'python3.11' / 'site-packages'
    (packages / 'pyuwsgi-2.0.30.dist-info').mkdir(parents=True)
    (packages / 'uwsgitop-0.12.dist-info').mkdir()
    found = Context().distribution(tmp_path, 'uwsgi', 'pyuwsgi')
    assert found == ('pyuwsgi', '2.0.30')
    assert Context().distribution(tmp_path / 'none', 'uwsgi') is None


def test_our_own_virtualenv_has_uwsgi():
    name, version = Context().distribution(
        pathlib.Path(sys.prefix), 'uwsgi', 'pyuwsgi'
    )
    assert name.lower() == 'uwsgi'
    assert version.startswith('2.')


def test_the_uwsgi_on_the_path_is_asked(tmp_path, monkeypatch):
    program = tmp_path / 'uwsgi'
    program.write_text('#!/bin/sh\necho 2.0.21-debian\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.defpath}')
    assert Context().uwsgi_on_path() == '2.0.21-debian'
    monkeypatch.setenv('PATH', '/nonexistent')
    assert Context().uwsgi_on_path() is None


def test_mod_wsgis_version_is_in_its_file(tmp_path):
    module = tmp_path / 'mod_wsgi.so'
    module.write_bytes(b'\x7fELF\0mod_wsgi/%s\x004.9.4\x00...')
    assert Context().mod_wsgi(module) == '4.9.4'
    assert Context().mod_wsgi(tmp_path / 'none') is None


def test_the_version_of_the_installed_mod_wsgi_is_found():
    module = pathlib.Path('/usr/lib/apache2/modules/mod_wsgi.so')
    if not module.exists() or not shutil.which('dpkg-query'):
        pytest.skip(
            'no mod_wsgi here: apt-get install libapache2-mod-wsgi-py3'
        )
    assert Context().mod_wsgi(module).count('.') == 2


DEBIANS = """/var/log/apache2/*.log {
	daily
	sharedscripts
	postrotate
		# A graceful reload.
		if pgrep -f ^/usr/sbin/apache2 > /dev/null; then
			invoke-rc.d apache2 reload 2>&1 | logger -t apache2.logrotate
		fi
	endscript
}
"""


def test_what_rotates_apaches_logs_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(facts, 'ROTATIONS', tmp_path)
    assert Context().rotations() == []
    rule = tmp_path / 'apache2'
    rule.write_text(DEBIANS)
    line = 'invoke-rc.d apache2 reload 2>&1 | logger -t apache2.logrotate'
    assert Context().rotations() == [(rule, 7, line)]
