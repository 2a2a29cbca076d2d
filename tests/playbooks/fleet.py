"""Hosts as an operator has them: Debian machines that are reached by ssh.

Their network has no registry. So packages and virtualenvs are in files that
all of them begin with, which are made once and kept in `CACHE`; only the wheel
under test is installed by each one.
"""

import functools
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import machine
import network

TOP = pathlib.Path(__file__).parents[2]
PLAYBOOKS = TOP / 'playbooks'
CACHE = pathlib.Path('/var/tmp/glance-wsgi-playbooks')
BIN = pathlib.Path(sys.prefix, 'bin')
OLD, NEW = '2026.1', '2026.2'
NODES = {name: f'{network.PREFIX}.{10 + n}' for n, name in enumerate('abc', 1)}
FRONT = f'{network.PREFIX}.10'
"""The address of HAProxy, on the first node."""
UID = 64999
PACKAGES = (
    *('openssh-server', 'python3-apt', 'python3-packaging'),
    *('python3-setuptools', 'python3-venv', 'qemu-utils', 'gcc', 'libc6-dev'),
    *('libpcre2-dev', 'libssl-dev', 'python3-dev', 'zlib1g-dev'),
    *('mariadb-server', 'memcached', 'haproxy', 'socat'),
)
SERVICES = ('mariadb', 'memcached', 'haproxy', 'apache2')
# How this machine reaches where its packages come from.
REGISTRIES = ('/etc/apt/apt.conf.d/99*', '/etc/apt/sources.list.d/debian*')
PASSWORD = 'only-a-test'
WHEELS = '/srv/wheels'
MADE = pathlib.Path(__file__).with_name('virtualenv.yaml')


def obstacle() -> str | None:
    """Why no hosts can be made here, and what to do; None if they can."""
    if why := machine.obstacle():
        return why
    if not (BIN / 'ansible-playbook').exists():
        return 'no ansible-playbook here: tools/test.sh playbooks'
    try:
        network.Network().remove()
    except (OSError, subprocess.CalledProcessError) as error:
        return f'no network namespace with a bridge here: {error}'
    return None


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


@functools.cache
def _wanted() -> str:
    """What is kept, in one word: another one when that changes."""
    names = [f'constraints/{OLD}.txt', f'constraints/{NEW}.txt']
    names += ['requirements.txt', 'setup.cfg', 'tools/uwsgi-build.ini']
    return _digest(PACKAGES, *[(TOP / name).read_bytes() for name in names])


def _run(*words, log: pathlib.Path, **options) -> None:
    with log.open('a') as output:
        result = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            **options,
        )
    assert result.returncode == 0, log.read_text()[-4000:]


def wheels() -> pathlib.Path:
    """A directory with the wheels of both series, but for our own."""
    place = CACHE / f'wheels-{_wanted()}'
    if place.exists():
        return place
    new = CACHE / 'wheels.new'
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    log = CACHE / 'wheels.log'
    tempest, more = 'tempest>=47.0.0', 'python-memcached==1.62'
    for series in (OLD, NEW):
        _run(
            TOP / 'tools' / 'pip-wheel.sh',
            *('-q', '-w', new, '-r', TOP / 'requirements.txt', tempest, more),
            *('pip==26.3', 'setuptools', 'wheel', 'pbr'),
            log=log,
            env={
                **os.environ,
                'GLANCE_SERIES': series,
                'PATH': f'{BIN}:{os.environ["PATH"]}',
            },
        )
    new.rename(place)
    return place


def wheel(place: pathlib.Path) -> str:
    """Build the wheel of this checkout; its version, that is always new."""
    source = place / 'source'
    listed = subprocess.run(
        ['git', '-C', TOP, 'ls-files', '-zco', '--exclude-standard'],
        capture_output=True,
        check=True,
    ).stdout
    for name in filter(None, listed.decode().split('\0')):
        if os.path.lexists(TOP / name):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, source / name, follow_symlinks=False)
    version = f'1.{int(time.time())}'
    git = ['git', '-C', source, '-c', 'user.name=t', '-c', 'user.email=t@t']
    for words in (
        ('init', '--quiet'),
        ('add', '--all', '--force'),
        ('commit', '--quiet', '--message=as it is'),
    ):
        subprocess.run([*git, *words], check=True)
    _run(
        *(BIN / 'python', '-m', 'pip', 'wheel', '--no-deps', '-q'),
        *('-w', place, source),
        log=place / 'wheel.log',
        env={**os.environ, 'PBR_VERSION': version},
    )
    shutil.rmtree(source)
    return version


class Host(machine.Machine):
    """A machine that is reached by ssh.

    :param address: its own, in the tests' network
    :param key: the public key of who may log in as root
    """

    def __init__(
        self,
        place: pathlib.Path,
        *below: pathlib.Path,
        name: str,
        address: str,
        key: str,
        more: tuple[str, ...] = (),
    ) -> None:
        super().__init__(place, *below)
        self.address = address
        for path, text in {
            'etc/hostname': f'{name}\n',
            'etc/hosts': f'127.0.0.1 localhost\n{address} {name}\n',
            'root/.ssh/authorized_keys': key,
            'etc/systemd/network/10-host0.network': '\n'.join(
                (
                    '[Match]\nName=host0\n[Network]',
                    *(f'Address={item}/24' for item in (address, *more)),
                    '',
                )
            ),
        }.items():
            file = self.root / path
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.write_text(text)
        (self.root / 'etc/systemd/network').chmod(0o755)
        wanted = self.root / 'etc/systemd/system/multi-user.target.wants'
        link = wanted / 'systemd-networkd.service'
        if not link.is_symlink():
            link.symlink_to('/lib/systemd/system/systemd-networkd.service')


def packages() -> pathlib.Path:
    """The place of a machine with all packages, whose services don't run."""
    place = CACHE / f'packages-{_digest(PACKAGES)}'
    if place.exists():
        return place
    new = CACHE / 'packages.new'
    shutil.rmtree(new, ignore_errors=True)
    CACHE.mkdir(exist_ok=True)
    made = machine.Machine(new)
    try:
        for pattern in REGISTRIES:
            for file in pathlib.Path('/').glob(pattern.lstrip('/')):
                shutil.copy(file, made.root / file.relative_to('/'))
        policy = made.root / 'usr/sbin/policy-rc.d'
        policy.write_text('#!/bin/sh\nexit 101\n')
        policy.chmod(0o755)
        _run(
            *('systemd-nspawn', '--quiet', f'--directory={made.root}'),
            *('--register=no', '--keep-unit', '--as-pid2', '--pipe'),
            *('sh', '-ec'),
            'export DEBIAN_FRONTEND=noninteractive; apt-get update -q;'
            f' apt-get install -qy --no-install-recommends'
            f' {" ".join(PACKAGES)}; apt-get clean;'
            f' systemctl disable {" ".join(SERVICES)};'
            ' rm /usr/sbin/policy-rc.d',
            log=CACHE / 'packages.log',
        )
    finally:
        made.unmount()
    new.rename(place)
    return place


def layers(net: network.Network, workspace: pathlib.Path) -> list:
    """The places whose files every host begins with; made if missing."""
    place = CACHE / f'virtualenvs-{_digest(_wanted(), MADE.read_bytes())}'
    if not place.exists():
        _make_virtualenvs(net, workspace, place)
    return [place, packages()]


def _make_virtualenvs(net, workspace, place) -> None:
    new = CACHE / 'virtualenvs.new'
    shutil.rmtree(new, ignore_errors=True)
    own = workspace / 'first'
    own.mkdir()
    version = wheel(own)
    fleet = Fleet(net, own, [packages()], version, names='a', place=new)
    try:
        for series in (OLD, NEW):
            fleet.play(
                MADE,
                glance_wsgi_series=series,
            ).check()
        fleet['a'].shut_down()
        fleet['a'].unmount()
    except BaseException:
        fleet.remove()
        raise
    new.rename(place)


class Played:
    """A playbook that has ended.

    :param code: its exit code
    :param said: all that it has said
    """

    def __init__(self, result: subprocess.CompletedProcess) -> None:
        self.code = result.returncode
        self.said = result.stdout + result.stderr

    def check(self) -> 'Played':
        """It has ended well."""
        assert self.code == 0, self.said
        return self

    def changed(self) -> dict[str, int]:
        """How many tasks have changed something, by host."""
        found = {}
        recap = self.said.rpartition('PLAY RECAP')[2]
        for line in recap.splitlines():
            name, colon, counts = line.partition(' : ')
            if colon:
                words = dict(word.split('=') for word in counts.split())
                found[name.strip()] = int(words['changed'])
        return found

    def tasks(self) -> list[str]:
        """The names of the tasks that were begun."""
        return [
            line.partition('[')[2].rpartition(']')[0]
            for line in self.said.splitlines()
            if line.startswith('TASK [')
        ]


class Fleet:
    """Some hosts, and who runs playbooks on them.

    :param place: a directory of its own
    :param below: what every host begins with
    :param version: of the wheel under test, which is in `place`
    """

    def __init__(
        self, net, workspace, below, version, names='abc', place=None
    ) -> None:
        self.net, self.workspace, self.version = net, workspace, version
        self.variables: dict = {}
        self.shared = workspace / 'images'
        self.shared.mkdir(exist_ok=True)
        self.hosts: dict[str, Host] = {}
        key = workspace / 'key'
        if not key.exists():
            subprocess.run(
                ['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', key],
                check=True,
            )
        try:
            for name in names:
                self.hosts[name] = Host(
                    place or workspace / name,
                    *below,
                    name=name,
                    address=NODES[name],
                    key=key.with_suffix('.pub').read_text(),
                    more=(FRONT,) if name == 'a' else (),
                )
                self.boot(name)
        except BaseException:
            self.remove()
            raise

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def boot(self, name: str) -> None:
        """Start a host, and wait until it can be logged in to."""
        host = self.hosts[name]
        host.boot(
            binds=(f'{wheels()}:{WHEELS}', f'{self.workspace}:/srv/own'),
            shared=(f'{self.shared}:/srv/images',),
            bridge=self.net.bridge,
            under_test=False,
        )
        login = self.net.command('ssh', *self._ssh(), f'root@{host.address}')
        machine.until(
            lambda: (
                not subprocess.run(
                    [*login, 'true'], capture_output=True
                ).returncode
            ),
            f'{name} can be logged in to',
        )

    def _ssh(self) -> list[str]:
        return [
            *('-i', str(self.workspace / 'key'), '-o', 'BatchMode=yes'),
            *('-o', 'StrictHostKeyChecking=no', '-o', 'LogLevel=ERROR'),
            *('-o', 'UserKnownHostsFile=/dev/null', '-o', 'ConnectTimeout=5'),
        ]

    def inventory(self, names: str = 'abc') -> dict:
        """As an operator writes it."""
        nodes = {name: {'ansible_host': NODES[name]} for name in names}
        return {
            'all': {
                'vars': {
                    'ansible_user': 'root',
                    'ansible_ssh_common_args': ' '.join(self._ssh()),
                    'ansible_python_interpreter': '/usr/bin/python3',
                    'glance_wsgi_series': OLD,
                    'glance_wsgi_pip': {
                        'no_index': True,
                        'find_links': f'{WHEELS} /srv/own',
                    },
                    'glance_wsgi_public_url': f'http://{FRONT}:9292',
                    'glance_wsgi_keystone_url': (
                        f'http://{network.GATEWAY}:5000/v3'
                    ),
                    'glance_wsgi_service_user': 'images',
                    'glance_wsgi_service_password': f'{PASSWORD}-$ervice',
                    'glance_wsgi_database_password': f"{PASSWORD}-'@/%",
                    'glance_wsgi_store': {
                        'kind': 'mounted',
                        'path': '/srv/images',
                    },
                    'glance_wsgi_uid': UID,
                    'glance_wsgi_options': {'workers': 2, 'threads': 8},
                    # this machine may not let as many files be opened as
                    # the default needs
                    'haproxy_connections': 1000,
                },
                'hosts': nodes,
                'children': {
                    'glance_wsgi': {'hosts': dict.fromkeys(nodes)},
                    'haproxy': {'hosts': {'a': None}},
                    'database': {'hosts': {'a': None}},
                    'memcached': {'hosts': {'a': None}},
                },
            }
        }

    def play(
        self, playbook, *words: str, inventory=None, **variables
    ) -> Played:
        """Run a playbook; an inventory of its own, or more variables."""
        file = self.workspace / 'hosts.json'
        known = inventory or self.inventory(''.join(self.hosts))
        file.write_text(json.dumps(known))
        file.chmod(0o600)
        path = pathlib.Path(playbook)
        result = subprocess.run(
            self.net.command(
                BIN / 'ansible-playbook',
                *('--inventory', file, *words),
                *('--extra-vars', json.dumps(self.variables | variables)),
                path if path.is_absolute() else PLAYBOOKS / path,
            ),
            env={
                **os.environ,
                'ANSIBLE_ROLES_PATH': str(PLAYBOOKS / 'roles'),
                'ANSIBLE_NOCOLOR': 'yes',
                'ANSIBLE_HOME': str(self.workspace / 'ansible'),
                # A connection that is kept belongs to one network: hosts of
                # another run have the same addresses.
                'ANSIBLE_SSH_CONTROL_PATH_DIR': str(self.workspace / 'cp'),
                'ANSIBLE_PIPELINING': 'yes',
                'LC_ALL': 'C.UTF-8',
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        return Played(result)

    def kill(self, name: str) -> None:
        """A host loses its power."""
        self.hosts[name].kill()

    def remove(self) -> None:
        """Remove all hosts."""
        for host in self.hosts.values():
            host.remove()
