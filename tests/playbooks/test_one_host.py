"""What fails on a host, and what is said of it: without a Glance.

A program that says it is "glance-wsgi" takes the node out and hands it back,
and another one is what HAProxy asks.
"""

import pathlib

import fleet
import machine
import network
import pytest

pytestmark = pytest.mark.timeout(1800)

TASKS = pathlib.Path(__file__).with_name('tasks.yaml')
OLD, NEW = '/opt/glance-wsgi/old', '/opt/glance-wsgi/new'
NODE = '/srv/node'
PROGRAM = f"""#!/bin/sh
echo "$0 $1" >> /root/called
case $1 in
drain) if [ -e /root/busy ]; then echo 'it is busy' >&2; exit 1; fi
    [ -e /root/asked ] || rm -f {NODE}/healthcheck ;;
resume) touch {NODE}/healthcheck; echo Removed. ;;
esac
"""


@pytest.fixture(scope='module')
def one(net, workspace):
    """The host; HAProxy knows it as a node that is in."""
    place = workspace / 'one'
    place.mkdir()
    made = fleet.Fleet(net, place, [fleet.packages()], '', names='a')
    made.variables = {
        'glance_wsgi_keystone_admin': {
            'username': 'admin',
            'password': 'x',
            'project_name': 'admin',
        },
        'glance_wsgi_keystone_url': f'http://{network.GATEWAY}:1/v3',
        'drain_alone': True,
        'haproxy_patience': 5,
    }
    host = made['a']
    try:
        for virtualenv in (OLD, NEW):
            program = host.file(f'{virtualenv}/bin/glance-wsgi')
            program.parent.mkdir(parents=True)
            program.write_text(PROGRAM)
            program.chmod(0o755)
        installed(host, OLD)
        host('mkdir', NODE)
        host('touch', f'{NODE}/healthcheck', f'{NODE}/versions')
        host(
            *('systemd-run', '--unit=node', 'python3', '-m', 'http.server'),
            *('--bind', host.address, '--directory', NODE, '9292'),
        )
        made.play(TASKS, inventory=known(made), role='haproxy').check()
        yield made
    finally:
        made.remove()


@pytest.fixture
def host(one):
    """It, with the node in."""
    found = one['a']
    yield found
    found('rm', '-f', '/root/busy', '/root/asked', '/root/called')
    found('touch', f'{NODE}/healthcheck')
    machine.until(lambda: ',L7OK,' in asked(found), 'the node is in')


def known(one, nodes: str = 'a') -> dict:
    """An inventory that says where the nodes listen."""
    inventory = one.inventory('a')
    for name in nodes:
        node = inventory['all']['hosts'].setdefault(name, {})
        node['glance_wsgi_listen'] = f'{fleet.NODES[name]}:9292'
    inventory['all']['children']['glance_wsgi'] = {
        'hosts': dict.fromkeys(nodes)
    }
    return inventory


def installed(host, virtualenv: str, place: str = '/etc/glance-wsgi') -> None:
    """Have a virtualenv be noted as what serves, or has served."""
    file = host.file(f'{place}/installation.json')
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'{{"virtualenv": "{virtualenv}"}}')


def asked(host) -> str:
    """What HAProxy says of the node."""
    command = 'echo show stat | socat stdio /run/haproxy/admin.sock'
    lines = host('sh', '-c', command).stdout.splitlines()
    (line,) = (x for x in lines if x.startswith('images,a,'))
    return line


def failed(one, playbook, *words, **variables) -> str:
    """What a playbook says that fails, in one line."""
    played = one.play(playbook, *words, **variables)
    assert played.code, played.said
    return ' '.join(played.said.split())


def test_a_node_that_haproxy_does_not_know_is_not_in(one, host):
    # As if the new process had not lived.
    place = '/run/systemd/system/haproxy.service.d'
    host('mkdir', '-p', place)
    host.file(f'{place}/stuck.conf').write_text(
        '[Service]\nExecReload=\nExecReload=/bin/true\n'
    )
    host('systemctl', 'daemon-reload')
    try:
        said = failed(
            one, TASKS, '--limit=a', inventory=known(one, 'ab'), role='haproxy'
        )
    finally:
        host('rm', '-r', place)
        host('systemctl', 'daemon-reload')
        host('systemctl', 'reload', 'haproxy')
    assert 'HAProxy on a does not know b. See "systemctl status haproxy"' in (
        said
    )


def test_a_node_that_haproxy_does_not_know_can_be_taken_out(one, host):
    config = host.file('/etc/haproxy/haproxy.cfg')
    was = config.read_text()
    config.write_text(was.replace('server a', 'server other'))
    host('systemctl', 'reload', 'haproxy')
    try:
        one.play('drain.yaml', node='a', keep=True).check()
    finally:
        config.write_text(was)
        host('systemctl', 'reload', 'haproxy')


@pytest.mark.parametrize(
    ('file', 'why'),
    [('busy', 'it is busy'), ('asked', 'HAProxy on a does not see a idle')],
)
def test_a_node_that_is_not_idle_in_time_stays_out_as_it_says(
    one, host, file, why
):
    host('touch', f'/root/{file}')
    said = failed(
        one, 'drain.yaml', node='a', drain_patience=2, run='touch /root/called'
    )
    assert 'a is not idle, and stays out; nothing else was done' in said, said
    assert why in said
    assert host.file('/root/called').read_text() == (
        f'{OLD}/bin/glance-wsgi drain\n'
    )


def test_a_node_stays_out_as_it_says_where_the_command_fails(one, host):
    said = failed(one, 'drain.yaml', node='a', run='ls /nowhere', reboot=True)
    assert 'a stays out: "Do what it was taken out for" failed' in said, said
    assert said.count('No such file or directory') > 1  # it is told again
    assert 'Boot it again' not in said
    assert not host.file(f'{NODE}/healthcheck').exists()


def test_a_node_stays_out_as_it_says_where_it_stores_no_image(one, host):
    said = failed(one, 'drain.yaml', node='a')
    assert 'a is not in again. Mend what is named here' in said, said
    assert 'Log in: a does not store an image' in said
    assert not host.file(f'{NODE}/healthcheck').exists()


def test_what_is_put_back_is_the_release_that_has_served(one, host):
    """An earlier change was cut off when the new one was installed."""
    kept = '/var/lib/glance-wsgi-before'
    installed(host, NEW)
    installed(host, OLD, kept)
    host('mkdir', '-p', '/etc/glance')
    for name in ('glance-api.conf', 'glance-wsgi.conf'):
        host.file(f'{kept}/{name}').touch()
    try:
        one.play(
            TASKS,
            role='renew',
            tasks='back',
            glance_wsgi_serving=NEW,
        )
        assert host.file('/root/called').read_text() == (
            f'{OLD}/bin/glance-wsgi install\n{OLD}/bin/glance-wsgi reload\n'
        )
    finally:
        host('rm', '-rf', kept)
        installed(host, OLD)


def test_a_certificate_that_is_not_there_is_refused(one, host):
    said = failed(
        one,
        'deploy.yaml',
        inventory=known(one),
        haproxy_certificate='/etc/nothing.pem',
        glance_wsgi_public_url=f'https://{fleet.FRONT}:9292',
    )
    assert (
        'haproxy_certificate is /etc/nothing.pem, which is no file of a'
        in said
    )
    assert 'Nothing was changed.' in said
    assert 'TASK [packages' not in said


def test_why_mariadb_refuses_is_said_without_a_password(one, host):
    said = failed(
        one,
        TASKS,
        role='database',
        database_from="%' IDENTIFIED BY x '",
        glance_wsgi_in_use=False,
    )
    assert 'MariaDB on a did not do it. ERROR 1064' in said, said
    assert fleet.PASSWORD not in said
    assert 'IDENTIFIED' not in said
