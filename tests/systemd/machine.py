"""A Debian with systemd as PID 1, for what can't be tried on this machine.

The base is made once by debootstrap and kept in `CACHE`. Each machine is an
overlay on it in a systemd-nspawn container with a network of its own, which
has nothing but loopback. The virtualenv under test is mounted where it is
here.
https://www.freedesktop.org/software/systemd/man/systemd-nspawn.html
"""

import contextlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import psutil
import yaml

from glance_wsgi import render

CACHE = pathlib.Path('/var/tmp/glance-wsgi-systemd')
SUITE = 'bookworm'
PACKAGES = (
    'apache2',
    'ca-certificates',
    'dbus',
    'iproute2',
    'libapache2-mod-wsgi-py3',
    'libpython3-stdlib',
    'openssl',
    'procps',
    'python3',
    'systemd',
    'systemd-sysv',
)
PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
REBOOT = 133
"""What systemd-nspawn ends with when it is to be started again: its manual."""

POWER_OFF = signal.SIGRTMIN + 4  # systemd(1), "Signals"
BIN = pathlib.Path(sys.prefix, 'bin')

# A control group stays as long as anything in it has not quite ended.
_numbers = itertools.count()


def obstacle() -> str | None:
    """Why no machine can be made here, and what to do; None if it can."""
    if os.geteuid():
        return 'not root: sudo tools/test.sh systemd'
    for program, package in (
        ('systemd-nspawn', 'systemd-container'),
        ('debootstrap', 'debootstrap'),
    ):
        if shutil.which(program, path=PATH) is None:
            return f'no {program}: apt-get install {package}'
    if sys.base_prefix != '/usr' or sys.version_info[:2] != (3, 11):
        return (
            f"this is {sys.base_prefix}'s Python, and the machine has Debian "
            "12's: make the virtualenv from /usr/bin/python3"
        )
    with tempfile.TemporaryDirectory(dir='/var/tmp') as place:
        mount = ('mount', '-t', 'tmpfs', 'none', place)
        made = subprocess.run(
            ['unshare', '--mount', '--pid', '--fork', *mount],
            capture_output=True,
            text=True,
        )
    if made.returncode:
        return f'no namespaces here: {made.stderr.strip()}'
    return None


def base() -> pathlib.Path:
    """The files of a Debian with the web servers; made when it is missing."""
    place = CACHE / f'{SUITE}-base'
    done = CACHE / f'{SUITE}-packages'
    wanted = ' '.join(PACKAGES)
    if done.exists() and done.read_text() == wanted:
        return place
    CACHE.mkdir(exist_ok=True)
    done.unlink(missing_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    with (CACHE / 'debootstrap.log').open('w') as log:
        subprocess.run(
            [
                'debootstrap',
                '--variant=minbase',
                f'--include={",".join(PACKAGES)}',
                SUITE,
                place,
                *_mirror(),
            ],
            stdout=log,
            stderr=log,
            check=True,
        )
    (place / 'etc' / 'hostname').write_text('machine\n')
    (place / 'etc' / 'hosts').write_text('127.0.0.1 localhost machine\n')
    done.write_text(wanted)
    return place


def _mirror() -> list[str]:
    """Where this machine itself has its Debian from; nothing if unknown."""
    for file in pathlib.Path('/etc/apt').glob('sources.list*/*.sources'):
        for line in file.read_text().splitlines():
            name, _, value = line.partition(':')
            if name == 'URIs' and 'security' not in value:
                return [value.split()[0]]
    with contextlib.suppress(FileNotFoundError):
        text = pathlib.Path('/etc/apt/sources.list').read_text()
        for line in text.splitlines():
            words = [word for word in line.split() if '=' not in word]
            if words[:1] == ['deb'] and words[2:3] == [SUITE]:
                return [words[1]]
    return []


class Machine:
    """One such Debian, on an overlay of its own."""

    def __init__(self, place: pathlib.Path, *below: pathlib.Path) -> None:
        """Make its files.

        :param below: the places of others, which have been shut down: this
            one begins with their files, those of the first one on top
        """
        self.place = place
        under = [f'{other}/upper' for other in below]
        lower = ':'.join([*under, str(base())])
        self.root = place / 'root'
        for name in ('root', 'upper', 'work'):
            (place / name).mkdir(parents=True)
        layers = f'lowerdir={lower},upperdir={place}/upper'
        options = f'{layers},workdir={place}/work'
        subprocess.run(
            ['mount', '-t', 'overlay', '-o', options, 'overlay', self.root],
            check=True,
        )

    def boot(
        self,
        network: bool = False,
        binds: tuple[str, ...] = (),
        shared: tuple[str, ...] = (),
        bridge: tuple[str, str] | None = None,
        under_test: bool = True,
    ) -> None:
        """Start it, and wait until its services have been started.

        :param network: whether it has this machine's network, instead of one
            of its own with nothing but loopback
        :param binds: more of this machine's files, each as PATH:PLACE
        :param shared: the same, but it may write to them
        :param bridge: where its network leads to: the name of a network
            namespace, and that of a bridge in there
        :param under_test: whether it has the virtualenv under test
        """
        inside, private = [], ['--private-network']
        if network:
            private = []
        if bridge:
            inside = ['nsenter', f'--net=/run/netns/{bridge[0]}']
            # Both ends of its link to the bridge are named after it.
            private = [f'--network-bridge={bridge[1]}']
            private += [f'--machine={self.place.name}']
        mounted = (*(_under_test() if under_test else ()), *binds)
        command = [
            *inside,
            'systemd-nspawn',
            '--quiet',
            f'--directory={self.root}',
            '--register=no',
            '--keep-unit',
            *private,
            '--console=passive',
            *(f'--bind-ro={path}' for path in mounted),
            *(f'--bind={path}' for path in shared),
            '--boot',
        ]
        # Several machines must not share one control group, in which each
        # systemd would find processes of the others.
        self.cgroups = _cgroups(f'glance-wsgi-{os.getpid()}-{next(_numbers)}')
        enter = 'for d in {}; do echo $$ >$d/cgroup.procs; done; exec "$@"'
        script = enter.format(' '.join(map(str, self.cgroups)))
        with (self.place / 'console').open('w') as console:
            self.container = subprocess.Popen(
                ['sh', '-c', script, 'sh', *command],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        until(self._has_init, 'the container has a PID 1')
        until(self._is_up, 'systemd has started everything', within=180)

    def _has_init(self) -> bool:
        assert self.container.poll() is None, self.console()
        children = psutil.Process(self.container.pid).children()
        self.init = children[0].pid if children else 0
        return bool(children)

    def _is_up(self) -> bool:
        state = self('systemctl', 'is-system-running', check=False).stdout
        return state.strip() in ('running', 'degraded')

    def console(self) -> str:
        """What the container has said so far."""
        return (self.place / 'console').read_text(errors='replace')

    def shut_down(self) -> None:
        """Stop it in order, as "poweroff" does."""
        os.kill(self.init, POWER_OFF)
        try:
            self.container.wait(90)
        except subprocess.TimeoutExpired:
            self.container.kill()
            self.container.wait()
            raise
        self._remove_cgroups()

    def wait_for_reboot(self) -> None:
        """Wait until it has gone down for a reboot; then `boot` it again.

        systemd-nspawn leaves that to whoever keeps its unit.
        """
        assert self.container.wait(180) == REBOOT, self.console()
        self._remove_cgroups()

    def _remove_cgroups(self) -> None:
        for top in self.cgroups:
            below = [path for path in top.rglob('*') if path.is_dir()]
            for path in (*sorted(below, reverse=True), top):
                # A process that has just been killed may still be in it.
                with contextlib.suppress(OSError):
                    path.rmdir()

    def kill(self) -> None:
        """End it as a loss of power does, if it runs."""
        container = getattr(self, 'container', None)
        if container is not None and container.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.init, signal.SIGKILL)
            container.kill()
            container.wait()
            self._remove_cgroups()

    def remove(self) -> None:
        """Remove it, running or not."""
        self.kill()
        self.unmount()
        shutil.rmtree(self.place, ignore_errors=True)

    def unmount(self) -> None:
        """Leave its files as what others begin with; it is shut down."""
        subprocess.run(['umount', '--lazy', self.root], check=True)

    def command(self, *words) -> list[str]:
        """What runs a command in it."""
        return [
            *('nsenter', f'--target={self.init}', '--mount', '--uts'),
            *('--ipc', '--pid', '--net', '--cgroup', '--root', '--wd'),
            *('env', '-i', 'HOME=/root', f'PATH={PATH}', 'LANG=C.UTF-8'),
            *map(str, words),
        ]

    def ask(self, *words, program: str = 'ask.py') -> list[str]:
        """A command that asks what it serves: see `ask.py`.

        :param program: another one beside it
        """
        script = pathlib.Path(__file__).with_name(program)
        cloud = yaml.safe_load(
            self.file('/var/lib/glance-wsgi/clouds.yaml').read_text()
        )['clouds']['glance-wsgi']
        return [
            *('nsenter', f'--target={self.init}', '--net'),
            *(sys.executable, str(script), *words),
            json.dumps(cloud['auth']),
        ]

    def serves(self) -> bool:
        """Whether it lists images for a token."""
        return not subprocess.run(
            self.ask('once'), capture_output=True
        ).returncode

    def __call__(self, *words, check=True):
        """Run a command in it; its result with text of both outputs."""
        result = subprocess.run(
            self.command(*words),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=240,
        )
        if check:
            assert result.returncode == 0, (
                words,
                result.stdout + result.stderr,
            )
        return result

    def glance_wsgi(self, *words, check=True):
        """The command line under test."""
        return self(BIN / 'glance-wsgi', *words, check=check)

    def file(self, path: str) -> pathlib.Path:
        """A file of it, by the path that it has there.

        Through its own PID 1, which sees what is mounted in it, too.
        """
        return pathlib.Path(f'/proc/{self.init}/root{path}')


def _cgroups(name: str) -> list[pathlib.Path]:
    """New control groups below our own, of the kinds that systemd uses.

    cgroups(7); one of version 1 that has the name "systemd", and version 2.
    """
    places = {}
    for line in pathlib.Path('/proc/self/mounts').read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == 'cgroup2':
            places[''] = place
        if kind == 'cgroup' and 'name=systemd' in options.split(','):
            places['name=systemd'] = place
    made = []
    for line in pathlib.Path('/proc/self/cgroup').read_text().splitlines():
        _, controllers, path = line.split(':', 2)
        if controllers in places:
            top = pathlib.Path(f'{places[controllers]}{path}', name)
            top.mkdir()
            made.append(top)
    return made


def _under_test() -> list[pathlib.Path]:
    """The virtualenv, and the checkout where it leads into one."""
    templates = render.template_directory()
    places = [pathlib.Path(sys.prefix)]
    if not templates.is_relative_to(sys.prefix):
        places.append(templates.parent)
    return places


def until(happened, what: str, within: float = 60) -> None:
    """Probe until something has happened; fail if it does not."""
    deadline = time.monotonic() + within
    while not happened():
        assert time.monotonic() < deadline, f'not in {within} s: {what}'
        time.sleep(0.1)
