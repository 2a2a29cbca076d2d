"""Three hosts from nothing to the next release, in this order."""

import concurrent.futures
import contextlib
import pathlib

import fleet
import machine
import pytest

PLACES = ('/etc', '/opt', '/usr/local')
SEEN = ('/etc', '/opt', '/tmp', '/var/tmp', '/var/log', '/run')
STOP_FILE = '/etc/glance/healthcheck_disable'
# With this a node starts, and takes no image of more than a byte.
NO_DATA = {'DEFAULT': {'image_size_cap': 1}}
# With this, an image comes back from it, and has no second tag.
ONE_TAG = {'DEFAULT': {'image_tag_quota': 1}}
DARK = 45  # seconds; more than haproxy_dark_timeout
DROP_IN = '/run/systemd/system/glance-wsgi.service.d'

pytestmark = pytest.mark.timeout(5400)


def secrets(keystone) -> tuple[str, ...]:
    """What nobody else may see."""
    admin, member = keystone.admin['password'], keystone.member['password']
    return fleet.PASSWORD, admin, member


def files(host) -> str:
    """What is in a host's files: names, sizes and times."""
    return host(
        *('find', *PLACES, '-xdev', '-not', '-path', '*/__pycache__/*'),
        *('-not', '-type', 'd', '-printf', r'%p %s %T@ %U %m\n'),
    ).stdout


def virtualenv(host) -> str:
    """The virtualenv that a host's unit starts."""
    shown = host('cat', '/etc/systemd/system/glance-wsgi.service').stdout
    (line,) = (x for x in shown.splitlines() if x.startswith('ExecStart='))
    return line.removeprefix('ExecStart=').partition('/bin/')[0]


def release(host) -> str:
    """The series of that."""
    return pathlib.PurePath(virtualenv(host)).name.partition('-')[0]


def with_settings(hosts, name, settings) -> dict:
    """An inventory in which one node has settings of its own."""
    inventory = hosts.inventory()
    inventory['all']['hosts'][name]['glance_settings'] = settings
    return inventory


def releases(host) -> set[str]:
    """Of which series all that runs of uWSGI is.

    By its program: uWSGI gives its processes names of its own.
    """
    numbers = host('pgrep', '--euid', 'glance-wsgi').stdout.split()
    # One that has ended meanwhile has none any more.
    programs = host(
        'readlink', *[f'/proc/{number}/exe' for number in numbers], check=False
    ).stdout.split()
    return {
        path.split('/')[3].partition('-')[0]
        for path in programs
        if path.startswith('/opt/glance-wsgi/') and path.endswith('/uwsgi')
    }


def answers(host) -> bool:
    """Whether a host itself does, whatever HAProxy thinks of it."""
    url = f'http://{host.address}:9292/versions'
    code = 'import sys, urllib.request as r; r.urlopen(sys.argv[1])'
    return not host('python3', '-c', code, url, check=False).returncode


def drained(host) -> bool:
    return not host('test', '-e', STOP_FILE, check=False).returncode


def threads(host) -> int:
    """How many a worker of a host has."""
    shown = host('cat', '/etc/glance-wsgi/glance-wsgi.conf').stdout
    (line,) = (x for x in shown.splitlines() if x.startswith('threads ='))
    return int(line.partition('=')[2])


def fields(hosts, name) -> list[str]:
    """What HAProxy says of a node."""
    command = 'echo show stat | socat stdio /run/haproxy/admin.sock'
    lines = hosts['a']('sh', '-c', command).stdout.splitlines()
    (line,) = (x for x in lines if x.startswith(f'images,{name},'))
    return line.split(',')


def served(hosts, name) -> int:
    """How many sessions HAProxy has had with a node."""
    return int(fields(hosts, name)[7])


def at_work(hosts, name) -> int:
    """How many requests it has with a node now."""
    return int(fields(hosts, name)[4])


def wait_until_asked(hosts, *names) -> None:
    """Each of the nodes has some more sessions."""
    before = {name: served(hosts, name) for name in names}
    machine.until(
        lambda: all(served(hosts, name) > before[name] + 20 for name in names),
        f'{names} are asked',
    )


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


@pytest.fixture
def speechless(hosts):
    """A host that can be reached, but whose Python does not run."""
    host = hosts['c']
    python = host('readlink', '-f', '/usr/bin/python3').stdout.strip()
    host('mount', '--bind', '/bin/false', python)
    yield 'c'
    host('umount', python)


def test_a_host_that_does_not_say_what_it_is_stops_a_deployment(
    hosts, speechless
):
    played = hosts.play('deploy.yaml')
    assert played.code
    assert 'c can be reached, but does not say what it is' in played.said
    assert set(played.changed().values()) == {0}


def test_an_address_that_is_not_the_nodes_own_is_refused(hosts):
    played = hosts.play('deploy.yaml', glance_wsgi_address='192.0.2.1')
    assert played.code
    assert 'which is none of its addresses' in played.said
    assert set(played.changed().values()) == {0}


def test_a_mount_is_not_changed_while_it_is_there(hosts):
    # What is there was mounted by somebody else, or comes from elsewhere.
    units = [
        host.file('/etc/systemd/system/srv-images.mount')
        for host in hosts.hosts.values()
    ]
    store = {'kind': 'nfs', 'path': '/srv/images', 'source': 'nas:/new'}
    try:
        for source in ('', 'nas:/old'):
            for unit in units if source else ():
                unit.write_text(f'What={source}\nOptions=hard,noatime\n')
            played = hosts.play('deploy.yaml', glance_wsgi_store=store)
            assert played.code
            assert '/srv/images of b has' in played.said, played.said
            assert set(played.changed().values()) == {0}
        store['source'] = 'nas:/old'
        hosts.play('deploy.yaml', '--check', glance_wsgi_store=store).check()
    finally:
        for unit in units:
            unit.unlink(missing_ok=True)


@pytest.mark.rolling
def test_three_hosts_are_deployed_and_pass_the_smoke_tests(hosts, keystone):
    # All that can be asked to be shown.
    played = hosts.play('deploy.yaml', '-vvv', '--diff').check()
    assert 'smoke : Ask the Images API to do what it is for' in played.tasks()
    assert '+backend images' in played.said
    for secret in secrets(keystone):
        assert secret not in played.said
    assert [release(host) for host in hosts.hosts.values()] == [fleet.OLD] * 3


def test_no_secret_can_be_read_by_others(hosts, keystone):
    nobody = ('setpriv', '--reuid=nobody', '--regid=nogroup', '--clear-groups')
    for host in hosts.hosts.values():
        for secret in secrets(keystone):
            look = ('grep', '-rsl', secret, *SEEN)
            assert host(*nobody, *look, check=False).stdout == ''
        look = ('grep', '-rsl', fleet.PASSWORD, *SEEN)
        known = host(*look, check=False).stdout.splitlines()
        assert '/etc/glance/glance-api.conf' in known  # it can be found


def test_no_secret_is_in_the_log_of_a_host(hosts, keystone):
    for host in hosts.hosts.values():
        log = host('journalctl', '--no-pager', '--output=cat').stdout
        assert 'Invoked with' in log  # what Ansible was asked for
        for secret in secrets(keystone):
            assert secret not in log


@pytest.mark.rolling
def test_a_second_run_changes_nothing(hosts):
    played = hosts.play('deploy.yaml').check()
    assert set(played.changed().values()) == {0}, played.said


@pytest.mark.parametrize(
    ('variables', 'said'),
    [
        (
            {'glance_wsgi_database_password': 'another'},
            'set glance_wsgi_database_user to a new name as well',
        ),
        (
            {'glance_wsgi_service_password': 'another'},
            'set glance_wsgi_service_user to a new name as well',
        ),
        (
            {'glance_wsgi_port': 9393},
            'give glance_wsgi_address and glance_wsgi_port back',
        ),
    ],
)
def test_what_would_cut_off_nodes_that_serve_is_refused(
    hosts, variables, said
):
    played = hosts.play('deploy.yaml', **variables)
    assert played.code
    assert said in ' '.join(played.said.split()), played.said
    assert set(played.changed().values()) == {0}, played.said
    assert all(answers(host) for host in hosts.hosts.values())


def test_a_check_says_what_would_change_and_changes_nothing(hosts):
    played = hosts.play('deploy.yaml', '--check').check()
    assert set(played.changed().values()) == {0}, played.said
    before = files(hosts['b'])
    options = {'workers': 2, 'threads': 9}
    played = hosts.play('deploy.yaml', '--check', glance_wsgi_options=options)
    assert set(played.check().changed().values()) == {1}, played.said
    assert files(hosts['b']) == before


@contextlib.contextmanager
def revision(host, name):
    """Have the database be at another revision."""

    def ask(words) -> str:
        command = ('mariadb', '--batch', '--skip-column-names', '--execute')
        return host(*command, words).stdout.strip()

    was = ask('SELECT version_num FROM glance.alembic_version')
    change = "UPDATE glance.alembic_version SET version_num = '{}'"
    ask(change.format(name))
    try:
        yield
    finally:
        ask(change.format(was))


def test_a_database_of_a_newer_release_is_left_alone(hosts):
    before = virtualenv(hosts['a'])
    with revision(hosts['a'], '2099_1_expand01'):
        played = hosts.play('upgrade.yaml', glance_wsgi_series=fleet.NEW)
    assert played.code
    said = ' '.join(played.said.split())
    assert 'A newer release than 2026.2 has expanded the database' in said
    assert virtualenv(hosts['a']) == before
    assert not drained(hosts['a'])


def test_another_release_is_left_to_the_upgrade(hosts):
    played = hosts.play('deploy.yaml', glance_wsgi_series=fleet.NEW)
    assert played.code
    assert 'run upgrade.yaml' in played.said
    assert set(played.changed().values()) == {0}


def test_a_host_that_does_not_say_what_it_is_stops_an_upgrade(
    hosts, speechless
):
    played = hosts.play('upgrade.yaml', glance_wsgi_series=fleet.NEW)
    assert played.code
    assert 'c can be reached, but does not say what it is' in played.said
    assert set(played.changed().values()) == {0}


@pytest.mark.parametrize('playbook', ['deploy.yaml', 'upgrade.yaml'])
def test_no_node_is_left_out(hosts, playbook):
    played = hosts.play(playbook, '--limit', 'a,b')
    assert played.code
    assert 'c would be left out' in played.said
    assert set(played.changed().values()) == {0}


def test_a_check_of_an_upgrade_and_of_a_drain_wait_for_nothing(hosts):
    before = [files(host) for host in hosts.hosts.values()]
    played = hosts.play(
        'upgrade.yaml', '--check', glance_wsgi_series=fleet.NEW
    ).check()
    assert all(played.changed().values())
    hosts.play('drain.yaml', '--check', node='b').check()
    assert [files(host) for host in hosts.hosts.values()] == before


@pytest.mark.parametrize(
    ('playbook', 'more'),
    [
        ('deploy.yaml', {'glance_wsgi_options': {'workers': 1}}),
        ('upgrade.yaml', {'glance_wsgi_series': fleet.NEW}),
        ('drain.yaml', {'node': 'a'}),
    ],
)
def test_the_only_node_is_not_taken_out(hosts, playbook, more):
    others = [hosts['b'], hosts['c']]
    for host in others:
        host('touch', STOP_FILE)
    try:
        machine.until(
            lambda: not is_in(hosts, 'b') and not is_in(hosts, 'c'),
            'one node is in',
        )
        played = hosts.play(playbook, **more)
        assert played.code
        assert 'a is the only node that is in' in played.said
        assert 'set drain_alone to true' in ' '.join(played.said.split())
        assert set(played.changed().values()) == {0}
    finally:
        for host in others:
            host('rm', STOP_FILE)
        machine.until(
            lambda: is_in(hosts, 'b') and is_in(hosts, 'c'), 'all are in'
        )


def test_a_change_stops_at_the_node_that_fails_and_no_request_does(
    hosts, clients
):
    before = virtualenv(hosts['b']), files(hosts['c'])
    # Without imports: those of data that is staged on a node that stays out
    # wait until it is in again.
    with clients('data', 4) as seen:
        played = hosts.play(
            'deploy.yaml',
            inventory=with_settings(hosts, 'b', NO_DATA),
            glance_wsgi_options={'workers': 2, 'threads': 9},
        )
    assert played.code
    assert 'b is not changed, and stays out' in played.said, played.said
    assert 'it serves as before' in played.said
    print(seen)
    assert seen.failures == []
    assert [threads(host) for host in hosts.hosts.values()] == [9, 8, 8]
    assert drained(hosts['b']) and not drained(hosts['a'])
    assert (virtualenv(hosts['b']), files(hosts['c'])) == before
    assert releases(hosts['b']) == {fleet.OLD}
    assert answers(hosts['b'])


def test_the_same_again_goes_on_with_that_node(hosts, clients):
    options = {'workers': 2, 'threads': 9}
    with clients('work', 4) as seen:
        played = hosts.play('deploy.yaml', glance_wsgi_options=options).check()
    assert seen.failures == []
    assert played.changed()['a'] == 0
    assert [threads(host) for host in hosts.hosts.values()] == [9] * 3
    assert all(is_in(hosts, name) for name in hosts.hosts)


@pytest.mark.rolling
def test_no_idempotent_request_fails_when_a_node_dies(hosts, clients):
    try:
        with clients('read', 8) as seen:
            wait_until_asked(hosts, *'abc')
            hosts.kill('c')
            machine.until(
                lambda: not is_in(hosts, 'c'), 'the node is seen to be dead'
            )
            wait_until_asked(hosts, *'ab')
    finally:
        hosts.boot('c')
    print(seen)
    assert seen.failures == []
    assert seen.answers > 40  # those that were waited for
    hosts.play('drain.yaml', node='c').check()


@contextlib.contextmanager
def dark(host):
    """A host that is on, and that nothing comes to or from."""
    host('ip', 'link', 'set', 'host0', 'down')
    try:
        yield
    finally:
        host('ip', 'link', 'set', 'host0', 'up')


def test_no_idempotent_request_fails_when_a_node_goes_dark(hosts, clients):
    with clients('read', 8) as seen:
        wait_until_asked(hosts, *'abc')
        with dark(hosts['c']):
            machine.until(
                lambda: not is_in(hosts, 'c'), 'the node is seen to be dark'
            )
            # Whoever waits for it is sent to another one by then.
            machine.until(
                lambda: at_work(hosts, 'c') == 0,
                'nobody waits for it any more',
                DARK,
            )
            wait_until_asked(hosts, *'ab')
    print(seen)
    assert seen.failures == []
    assert seen.answers > 40
    machine.until(lambda: is_in(hosts, 'c'), 'it is in again')


@pytest.mark.rolling
def test_a_node_is_drained_and_handed_back_without_a_failure(hosts, clients):
    with clients('work', 4) as seen, clients('slow', 6) as slow:
        machine.until(
            lambda: all(at_work(hosts, name) > 1 for name in hosts.hosts),
            'every node has slow clients',
        )
        hosts.play('drain.yaml', node='b', keep=True).check()
        assert drained(hosts['b'])
        assert at_work(hosts, 'b') == 0
        jobs = hosts['b'](
            *(f'{virtualenv(hosts["b"])}/bin/glance-wsgi', 'tasks'),
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
    assert seen.failures + slow.failures == []
    assert seen.imported


def test_a_node_is_booted_again_without_a_failure(hosts, clients):
    """What has to be done while it is out is done before it goes down."""
    with (
        clients('work', 4) as seen,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        played = pool.submit(
            hosts.play,
            'drain.yaml',
            node='b',
            run='touch /var/tmp/done',
            reboot=True,
        )
        hosts['b'].wait_for_reboot()
        hosts.boot('b')
        hosts['b']('test', '-e', '/var/tmp/done')
        played.result().check()
        assert not drained(hosts['b'])
        wait_until_asked(hosts, *'abc')
    print(seen)
    assert seen.failures == []
    assert seen.imported


def is_left_by_the_upgrade(hosts) -> None:
    """Node b has the old release and is out; the others are as they should."""
    found = [release(host) for host in hosts.hosts.values()]
    assert found == [fleet.NEW, fleet.OLD, fleet.OLD]
    conf = hosts['b']('cat', '/etc/glance/glance-api.conf').stdout
    assert f'/{fleet.OLD}-' in conf and f'/{fleet.NEW}-' not in conf
    assert 'image_tag_quota' not in conf
    assert drained(hosts['b']) and not drained(hosts['c'])
    assert is_in(hosts, 'a') and is_in(hosts, 'c')
    assert not is_in(hosts, 'b')
    assert releases(hosts['b']) == {fleet.OLD}
    assert answers(hosts['b'])


def test_a_node_whose_new_release_fails_a_smoke_test_serves_the_old_one(hosts):
    played = hosts.play(
        'upgrade.yaml',
        inventory=with_settings(hosts, 'b', ONE_TAG),
        glance_wsgi_series=fleet.NEW,
    )
    assert played.code
    assert 'FAILED' in played.said and 'tags are added once' in played.said
    assert 'b is not changed, and stays out' in played.said, played.said
    assert 'it serves as before' in played.said
    is_left_by_the_upgrade(hosts)


def test_an_upgrade_stops_at_the_node_that_does_not_start(hosts):
    broken = hosts['b']
    broken('mkdir', '-p', DROP_IN)
    # Only the new release: the old one starts as before.
    broken.file(f'{DROP_IN}/broken.conf').write_text(
        '[Service]\nExecStartPre=/bin/sh -c "! grep -q'
        f' glance-wsgi/{fleet.NEW} /etc/systemd/system/glance-wsgi.service"\n'
    )
    try:
        played = hosts.play('upgrade.yaml', glance_wsgi_series=fleet.NEW)
        assert played.code
        assert 'b is not changed, and stays out' in played.said, played.said
        assert 'Everything is as it was before' in played.said
        # The one that is upgraded and in was left alone.
        assert 'changed: [a]' not in played.said
    finally:
        broken('rm', '-r', DROP_IN)
        broken('systemctl', 'daemon-reload')
    is_left_by_the_upgrade(hosts)


@pytest.mark.rolling
def test_an_upgrade_under_load_fails_no_request_and_no_import(hosts, clients):
    with clients('work', 4) as seen:
        hosts.play('upgrade.yaml', glance_wsgi_series=fleet.NEW).check()
    print(seen)
    assert seen.failures == []
    assert seen.imported > 10
    assert [release(host) for host in hosts.hosts.values()] == [fleet.NEW] * 3
    assert not any(drained(host) for host in hosts.hosts.values())


@pytest.mark.rolling
def test_nodes_do_not_go_back_to_an_older_release(hosts):
    played = hosts.play('upgrade.yaml', glance_wsgi_series=fleet.OLD)
    assert played.code
    assert f'which is newer than {fleet.OLD}' in ' '.join(played.said.split())
    assert set(played.changed().values()) == {0}
    assert [release(host) for host in hosts.hosts.values()] == [fleet.NEW] * 3
