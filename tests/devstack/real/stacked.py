"""A machine on which devstack runs with the plugin, as a person has it.

A container with systemd as PID 1, in the network of this machine: packages
come from where this machine has its own. Repositories are cloned from
GIT_BASE, devstack from DEVSTACK_DIR, the plugin from this checkout.
https://docs.openstack.org/devstack/latest/
"""

import dataclasses
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

import machine

from glance_wsgi import gate

TOP = pathlib.Path(__file__).parents[3]
PLUGIN = 'images-plugin'  # not what its repository is called
PORTS = (
    80,
    443,
    3306,
    9292,
    9293,
    11211,
)  # what devstack's services listen on
STACK, SHORT = 3600, 900  # seconds

PACKAGES = (
    *('git', 'gpg', 'iptables', 'iproute2', 'kmod', 'locales', 'lsb-release'),
    *('openssh-client', 'python3-venv', 'rsync', 'sudo', 'wget'),
    *('genisoimage', 'parted'),  # Tempest makes images of many formats
)
# How this machine reaches where its packages come from.
REGISTRIES = ('/etc/pip.conf', '/etc/apt/apt.conf.d/99*')
CERTIFICATES = pathlib.Path('/usr/local/share/ca-certificates')

LOCAL_CONF = """[[local|localrc]]
GIT_BASE={git_base}
HOST_IP=127.0.0.1
ADMIN_PASSWORD=only-a-test
DATABASE_PASSWORD=only-a-test
RABBIT_PASSWORD=only-a-test
SERVICE_PASSWORD=only-a-test
LOGFILE=/opt/stack/logs/stack.sh.log
LOG_COLOR=False
disable_all_services
enable_service key mysql g-api g-api-r tempest
enable_plugin {plugin} file:///srv/plugin
GLANCE_WSGI_SERVER={server}
GLANCE_ENABLE_MULTIPLE_STORES=True
# In the order of the alphabet, in which Tempest waits for them.
GLANCE_MULTIPLE_FILE_STORES=cheap,fast
GLANCE_DEFAULT_BACKEND=cheap
GLANCE_USE_IMPORT_WORKFLOW=True
GLANCE_LIMIT_IMAGE_COUNT_TOTAL=200
GLANCE_LIMIT_IMAGE_COUNT_UPLOADING=200
TEMPEST_VENV_UPPER_CONSTRAINTS=/opt/stack/requirements/upper-constraints.txt
DOWNLOAD_DEFAULT_IMAGES=False
IMAGE_URLS=file:///srv/images/small.img
{more}

# What Tempest has Glance download, from the Apache that devstack has anyway.
[[post-config|$GLANCE_API_CONF]]
[import_filtering_opts]
allowed_hosts = [127.0.0.1]
allowed_ports = [80]

[[test-config|$TEMPEST_CONFIG]]
[image]
http_image = http://127.0.0.1/small.qcow2
http_qcow2_image = http://127.0.0.1/small.qcow2
"""


@dataclasses.dataclass(frozen=True)
class Variant:
    """What a local.conf asks for.

    :param server: GLANCE_WSGI_SERVER
    :param tls: whether tls-proxy is enabled
    :param virtualenv: GLOBAL_VENV
    """

    server: str
    tls: bool = False
    virtualenv: bool = True

    def __str__(self) -> str:
        tls = '-tls' if self.tls else ''
        return self.server + tls + ('' if self.virtualenv else '-system')

    @property
    def scheme(self) -> str:
        """How its API is spoken to."""
        return 'https' if self.tls else 'http'

    @property
    def settings(self) -> str:
        """What it adds to local.conf."""
        enabled = 'enable_service tls-proxy\n' if self.tls else ''
        return f'{enabled}GLOBAL_VENV={self.virtualenv}'


# The system's Python is left with what pip installs into it, so it comes last.
VARIANTS = (
    Variant('mod_wsgi', tls=True),
    Variant('uwsgi'),
    Variant('apache-uwsgi', tls=True, virtualenv=False),
    Variant('mod_wsgi', virtualenv=False),
)


def obstacle() -> str | None:
    """Why devstack can't be run here, and what to do; None if it can."""
    for name, example in (
        ('DEVSTACK_DIR', 'a checkout of openstack/devstack'),
        ('GIT_BASE', 'a URL or directory that has openstack/*.git'),
    ):
        if not os.environ.get(name):
            return f'{name} is not set: give it {example}'
    if why := machine.obstacle():
        return why
    for port in PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(('127.0.0.1', port))
            except OSError:
                return f'port {port} is in use, which devstack needs'
    return None


def _git_base() -> tuple[str, tuple[str, ...]]:
    """What local.conf says of it, and what has to be mounted for that."""
    given = os.environ['GIT_BASE']
    if pathlib.Path(given).is_dir():
        return 'file:///srv/git', (f'{given}:/srv/git',)
    return given, ()


class Stack:
    """The machine, and what a person runs on it.

    :param place: a directory of its own, for its files and the logs
    """

    def __init__(self, place: pathlib.Path) -> None:
        self.place = place
        self.git_base, binds = _git_base()
        self.machine = machine.Machine(place / 'machine')
        root = self.machine.root
        self._let_it_reach_registries(root)
        self._copy(TOP, root / 'srv' / 'plugin')
        devstack = pathlib.Path(os.environ['DEVSTACK_DIR'])
        self._copy(devstack, root / 'srv' / 'devstack')
        (root / 'var' / 'www' / 'html' / 'small.qcow2').write_bytes(
            gate.qcow2()
        )
        (root / 'srv' / 'images').mkdir()
        (root / 'srv' / 'images' / 'small.img').write_bytes(bytes(1 << 20))
        self.machine.boot(network=True, binds=binds)

    @staticmethod
    def _let_it_reach_registries(root: pathlib.Path) -> None:
        for pattern in REGISTRIES:
            for file in pathlib.Path('/').glob(pattern.lstrip('/')):
                shutil.copy(file, root / file.relative_to('/'))
        target = root / CERTIFICATES.relative_to('/')
        shutil.copytree(CERTIFICATES, target, dirs_exist_ok=True)

    @staticmethod
    def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
        """A repository with the files of a checkout, as they are now."""
        listed = subprocess.run(
            ['git', '-C', source, 'ls-files', '-zco', '--exclude-standard'],
            capture_output=True,
            check=True,
        ).stdout
        names = [name.decode() for name in listed.split(b'\0') if name]
        for name in names:
            if os.path.lexists(source / name):
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(
                    source / name, target / name, follow_symlinks=False
                )
        for words in (
            ('init', '--quiet', '--initial-branch=master'),
            ('add', '--all', '--force'),
            ('commit', '--quiet', '--message=as it is'),
            # pbr makes a version of it
            ('tag', '--annotate', '--message=as it is', '1.0.0'),
        ):
            settings = ('-c', 'user.name=test', '-c', 'user.email=test@test')
            subprocess.run(
                ['git', '-C', target, *settings, *words], check=True
            )

    def prepare(self) -> None:
        """Install what devstack takes for granted, and make its user."""
        self._log(
            'prepare',
            'update-ca-certificates; apt-get update -q &&'
            ' DEBIAN_FRONTEND=noninteractive apt-get install -qy '
            f'{" ".join(PACKAGES)} &&'
            ' git config --system --add safe.directory "*" &&'
            ' cp -r /srv/devstack /srv/as-stack &&'
            ' /srv/as-stack/tools/create-stack-user.sh &&'
            ' mv /srv/as-stack /opt/stack/devstack &&'
            ' chown -R stack: /opt/stack',
            SHORT,
            user='root',
        ).check()

    def configure(self, variant: Variant, more: str = '') -> None:
        """Write local.conf, and have pip do what it asks for."""
        if not variant.virtualenv:
            # What devstack has linked into a virtualenv that is gone.
            self.machine('find', '/usr/local/bin', '-xtype', 'l', '-delete')
            # What a person who wants this does.
            for file in self.machine.root.glob(
                'usr/lib/python3.*/EXTERNALLY-MANAGED'
            ):
                file.unlink()
        path = self.machine.file('/opt/stack/devstack/local.conf')
        path.write_text(
            LOCAL_CONF.format(
                git_base=self.git_base,
                plugin=PLUGIN,
                server=variant.server,
                more=f'{variant.settings}\n{more}',
            )
        )

    def __call__(self, command: str, within: float = SHORT) -> 'Ended':
        """Run a command of the stack user's in devstack's directory."""
        name = pathlib.Path(command.split()[0]).name
        return self._log(name, command, within)

    def _log(
        self, name: str, command: str, within: float, user: str = 'stack'
    ) -> 'Ended':
        handle, path = tempfile.mkstemp('.log', f'{name}-', self.place)
        began = time.monotonic()
        shell = ['runuser', '--login', user, '--command']
        where = '/opt/stack/devstack' if user == 'stack' else '/'
        with open(handle, 'w') as log:
            code = subprocess.run(
                self.machine.command(*shell, f'cd {where} && {command}'),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=within,
            ).returncode
        return Ended(code, pathlib.Path(path), time.monotonic() - began)

    def left_over(self) -> list[str]:
        """Paths outside of devstack's own that are named after us."""
        found = self.machine(
            'sh',
            '-c',
            'find /etc /run /usr /var "(" -name "*glance[-_]wsgi*" -o '
            '-name "glance-remote" -o -path "*/apache2/*/glance-*" ")" '
            '-not -path "/var/log/journal/*"; '
            'ss -ltnH "sport = :9292 or sport = :9293"',
        ).stdout
        return sorted(set(found.splitlines()))

    def remove(self) -> None:
        """Remove it all."""
        self.machine.remove()


class Ended:
    """A command that has ended.

    :param code: its exit code
    :param log: all that it has said
    :param seconds: how long it took
    """

    def __init__(self, code: int, log: pathlib.Path, seconds: float) -> None:
        self.code = code
        self.log = log
        self.seconds = seconds

    @property
    def said(self) -> str:
        """All that it has said."""
        return self.log.read_text(errors='replace')

    def check(self) -> 'Ended':
        """It has ended well."""
        assert self.code == 0, f'{self.log}: {self.said[-4000:]}'
        return self
