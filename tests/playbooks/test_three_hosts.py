"""Three hosts from nothing to the next release, in this order."""

import fleet
import machine
import pytest

PLACES = ('/etc', '/opt', '/usr/local')
DROP_IN = '/run/systemd/system/glance-wsgi.service.d'

pytestmark = pytest.mark.timeout(5400)


def files(host) -> str:
    """What is in a host's files: names, sizes and times."""
    return host(
        *('find', *PLACES, '-xdev', '-not', '-path', '*/__pycache__/*'),
        *('-not', '-type', 'd', '-printf', r'%p %s %T@ %U %m\n'),
    ).stdout


def release(host) -> str:
    """The series that a host's unit starts."""
    shown = host('cat', '/etc/systemd/system/glance-wsgi.service').stdout
    (line,) = (x for x in shown.splitlines() if x.startswith('ExecStart='))
    return line.split('/')[3]


def drained(host) -> bool:
    path = '/etc/glance/healthcheck_disable'
    return not host('test', '-e', path, check=False).returncode


def fields(hosts, name) -> list[str]:
    """What HAProxy says of a node."""
    command = 'echo show stat | socat stdio /run/haproxy/admin.sock'
    lines = hosts['a']('sh', '-c', command).stdout.splitlines()
    (line,) = (x for x in lines if x.startswith(f'images,{name},'))
    return line.split(',')


def served(hosts, name) -> int:
    """How many sessions HAProxy has had with a node."""
    return int(fields(hosts, name)[7])


def is_in(hosts, name) -> bool:
    return fields(hosts, name)[17].startswith('UP')


def test_a_check_of_new_hosts_ends_well_and_changes_nothing(hosts):
    before = [files(host) for host in hosts.hosts.values()]
    played = hosts.play('deploy.yaml', '--check').check()
    assert all(played.changed().values())  # it says what it would do
    assert [files(host) for host in hosts.hosts.values()] == before


def test_an_unsupported_distribution_is_refused(hosts):
    old = hosts['c']
    old.file('/root/os-release').write_text(
        'ID=debian\nNAME="Debian GNU/Linux"\nVERSION_ID="9"\n'
        'PRETTY_NAME="Debian GNU/Linux 9 (stretch)"\n'
    )
    old.file('/root/debian_version').write_text('9.13\n')
    for name in ('os-release', 'debian_version'):
        old('mount', '--bind', f'/root/{name}', f'/etc/{name}')
    try:
        played = hosts.play('deploy.yaml')
        assert played.code
        assert 'c has Debian 9, which is not supported' in played.said
        assert set(played.changed().values()) == {0}
    finally:
        for name in ('os-release', 'debian_version'):
            old('umount', f'/etc/{name}')


def test_an_address_that_is_not_the_nodes_own_is_refused(hosts):
    played = hosts.play('deploy.yaml', glance_wsgi_address='192.0.2.1')
    assert played.code
    assert 'which is none of its addresses' in played.said
    assert set(played.changed().values()) == {0}


def test_three_hosts_are_deployed_and_pass_the_smoke_tests(hosts):
    played = hosts.play('deploy.yaml').check()
    assert 'smoke : Ask the Images API to do what it is for' in played.tasks()
    assert fleet.PASSWORD not in played.said
    assert [release(host) for host in hosts.hosts.values()] == [fleet.OLD] * 3


def test_no_secret_can_be_read_by_others(hosts):
    for host in hosts.hosts.values():
        found = host(
            *('setpriv', '--reuid=nobody', '--regid=nogroup'),
            *('--clear-groups', 'grep', '-rsl', fleet.PASSWORD, '/etc'),
            *('/opt', '/tmp', '/var/tmp', '/var/log', '/run'),
            check=False,
        ).stdout
        assert found == ''


def test_a_second_run_changes_nothing(hosts):
    played = hosts.play('deploy.yaml').check()
    assert set(played.changed().values()) == {0}, played.said


def test_a_check_says_what_would_change_and_changes_nothing(hosts):
    played = hosts.play('deploy.yaml', '--check').check()
    assert set(played.changed().values()) == {0}, played.said
    before = files(hosts['b'])
    options = {'workers': 2, 'threads': 9}
    played = hosts.play('deploy.yaml', '--check', glance_wsgi_options=options)
    assert set(played.check().changed().values()) == {1}, played.said
    assert files(hosts['b']) == before


def test_another_release_is_left_to_the_upgrade(hosts):
    played = hosts.play('deploy.yaml', glance_wsgi_series=fleet.NEW)
    assert played.code
    assert 'run upgrade.yaml' in played.said
    assert set(played.changed().values()) == {0}


def test_no_idempotent_request_fails_when_a_node_dies(hosts, clients):
    try:
        with clients('read', 8) as seen:
            machine.until(lambda: served(hosts, 'c') > 20, 'all nodes serve')
            hosts.kill('c')
            machine.until(
                lambda: not is_in(hosts, 'c'), 'the node is seen to be dead'
            )
            at = served(hosts, 'b')
            machine.until(lambda: served(hosts, 'b') > at + 20, 'others serve')
    finally:
        hosts.boot('c')
    print(seen)
    assert seen.failures == []
    assert seen.answers > 40  # those that were waited for
    hosts.play('drain.yaml', node='c').check()


def test_a_node_is_drained_and_handed_back_without_a_failure(hosts, clients):
    with clients('work', 4) as seen:
        hosts.play('drain.yaml', node='b', keep=True).check()
        assert drained(hosts['b'])
        jobs = hosts['b'](
            *(f'/opt/glance-wsgi/{fleet.OLD}/bin/glance-wsgi', 'tasks'),
            *('list', '--format=value'),
            *('--column=state', '--column=node'),
            *('--config-file', '/etc/glance/glance-api.conf'),
        ).stdout
        running = [x for x in jobs.splitlines() if not x.startswith('pend')]
        assert not any(fleet.NODES['b'] in line for line in running)
        hosts.play('drain.yaml', node='b', run='touch /run/done').check()
        assert not drained(hosts['b'])
        hosts['b']('test', '-e', '/run/done')
    print(seen)
    assert seen.failures == []
    assert seen.imported


def test_an_upgrade_stops_at_the_node_that_fails(hosts):
    broken = hosts['b']
    broken('mkdir', '-p', DROP_IN)
    broken.file(f'{DROP_IN}/broken.conf').write_text(
        '[Service]\nExecStartPre=/bin/false\n'
    )
    try:
        played = hosts.play('upgrade.yaml', glance_wsgi_series=fleet.NEW)
        assert played.code
        assert 'b is not upgraded, and stays out' in played.said, played.said
        assert 'All files are as they were before' in played.said
    finally:
        broken('rm', '-r', DROP_IN)
        broken('systemctl', 'daemon-reload')
    found = [release(host) for host in hosts.hosts.values()]
    assert found == [fleet.NEW, fleet.OLD, fleet.OLD]
    assert drained(broken)
    conf = broken('cat', '/etc/glance/glance-api.conf').stdout
    assert fleet.OLD in conf and fleet.NEW not in conf
    assert not drained(hosts['c'])
    assert is_in(hosts, 'a') and is_in(hosts, 'c')
    assert not is_in(hosts, 'b')


def test_an_upgrade_under_load_fails_no_request_and_no_import(hosts, clients):
    with clients('work', 4) as seen:
        hosts.play('upgrade.yaml', glance_wsgi_series=fleet.NEW).check()
    print(seen)
    assert seen.failures == []
    assert seen.imported > 10
    assert [release(host) for host in hosts.hosts.values()] == [fleet.NEW] * 3
    assert not any(drained(host) for host in hosts.hosts.values())
