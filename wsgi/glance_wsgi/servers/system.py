"""The parts as services of the system, which "install" sets up.

The Emperor is a unit of systemd's, Apache is the one that the distribution
has set up: both are shared with the rest of the machine, so nothing here
stops or changes what others have there.
"""

import dataclasses
import os
import pathlib
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from functools import cached_property

import psutil

from glance_wsgi import addresses
from glance_wsgi import checkpoint
from glance_wsgi import errors
from glance_wsgi import platforms
from glance_wsgi import processes
from glance_wsgi import servers
from glance_wsgi import systemd
from glance_wsgi.render import File
from glance_wsgi.servers import apache
from glance_wsgi.servers import emperor

SITE = 'glance-wsgi'


class SystemEmperor(emperor.Emperor):
    """The Emperor as a unit of systemd's."""

    service = systemd.UNIT

    def files(self, applications: servers.Applications) -> list[File]:
        # The vassals last: an Emperor that runs takes them at once.
        unit = systemd.unit_file(self.deployment, self._emperor_ini)
        return [unit, *super().files(applications)]

    def _emperor_outdated(self, emperor: psutil.Process) -> bool:
        changed = systemd.UNIT_FILE.stat().st_mtime
        late = emperor.create_time() + processes.CLOCK_SLACK
        return super()._emperor_outdated(emperor) or bool(changed > late)

    def _spawn(self) -> None:
        systemd.call('systemctl', 'start', systemd.UNIT)

    def stop(self, timeout: float) -> list[psutil.Process]:
        everything = [process for _, process in self.processes()]
        systemd.stop(systemd.UNIT)
        return everything

    def enabling(self) -> list[servers.Enabling]:
        command = ('systemctl', 'enable', '--quiet', systemd.UNIT)
        return [servers.Enabling(command, (systemd.WANTED,), ours=True)]

    def start_files(self) -> set[pathlib.Path]:
        return {systemd.UNIT_FILE, self._emperor_ini}

    def has_read_since(self, moment: int) -> bool:
        try:
            return self._pidfile('emperor').stat().st_mtime_ns > moment
        except FileNotFoundError:
            return True

    def revert(self) -> None:
        systemd.call('systemctl', 'restart', systemd.UNIT)

    def leave(self) -> None:
        systemd.stop(systemd.UNIT)


@dataclasses.dataclass(frozen=True)
class Configuration:
    """What an Apache has been configured to do, ours left out.

    :param listens: the values of its Listen directives
    :param hosts: the addresses of its virtual hosts, each with its file
    :param modules: the names of all modules
    :param loads: the values of LoadModule: name and file of a module
    """

    listens: tuple[str, ...]
    hosts: tuple[tuple[str, str], ...]
    modules: frozenset[str]
    loads: tuple[tuple[str, str], ...]

    def module(self, name: str) -> pathlib.Path | None:
        """The file that a module was loaded from; None if it was not."""
        file = dict(self.loads).get(name)
        return pathlib.Path(file) if file and name in self.modules else None


class SystemApache(apache.Apache):
    """The distribution's Apache, with our site in it."""

    started_by_root = True

    @property
    def system(self) -> platforms.SystemApache:
        """Where the distribution has it."""
        return self.installed.system

    @property
    def service(self) -> str:  # type: ignore[override]
        return self.system.service

    @property
    def unit_command(self) -> str:
        """What its unit stops and reloads it by; empty for signals alone."""
        return ''

    @property
    def site(self) -> pathlib.Path:
        return self.system.site

    @property
    def _pidfile(self) -> pathlib.Path:
        return self.system.pidfile

    @property
    def error_log(self) -> pathlib.Path:
        # Opened by root: not in a directory of the service user's.
        return self.system.logs / f'{SITE}-error.log'

    @property
    def request_log(self) -> pathlib.Path:
        return self.system.logs / f'{SITE}-access.log'

    @property
    def uid(self) -> int | None:
        return 0

    @property
    def own_files(self) -> tuple[pathlib.Path, ...]:
        return (self.site,)

    def files(self, applications: servers.Applications) -> list[File]:
        return [self._addition(), self.site_file(applications)]

    def _addition(self) -> File:
        return systemd.apache_file(
            self.system.service,
            self._pidfile,
            self.deployment.conf.server.task_mercy,
            self.unit_command,
        )

    def start_files(self) -> set[pathlib.Path]:
        return {self._addition().path}

    def _control(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.system.control, *words],
            cwd='/',
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors='replace',
        )

    @cached_property
    def running_configuration(self) -> Configuration:
        """What it is configured to do, before we change anything.

        Asked of Apache itself (mod_info): it knows what is included under
        which conditions.
        https://httpd.apache.org/docs/2.4/mod/mod_info.html

        :raises errors.ServerRefuses: its configuration is broken already
        """
        info = self.installed.modules / 'mod_info.so'
        load = ('-C', f'LoadModule info_module {info}')
        modules = self._control('-t', '-D', 'DUMP_MODULES')
        files = self._control('-t', '-D', 'DUMP_INCLUDES')
        # Where it is loaded already, loading it again is a warning.
        config = self._control('-t', '-D', 'DUMP_CONFIG', *load)
        for result in (modules, files, config):
            if result.returncode:
                raise errors.ServerRefuses(
                    "The system's Apache refuses its configuration as it "
                    f'is: {apache.said(result)}.',
                    'Correct that first.',
                )
        names = re.findall(r'^ (\w+) \(', modules.stdout, re.MULTILINE)
        return Configuration(
            *_sites(config.stdout, self.site),
            frozenset(names),
            tuple(_loads(files.stdout, self.site, self.system.conf)),
        )

    @property
    def listening(self) -> list[str]:
        return [str(item) for item in self._shared()]

    def shared_ports(self) -> set[int]:
        return {address.port for address in self._shared()}

    def _shared(self) -> list[addresses.Address]:
        """Which of our addresses Apache listens on for others, too."""
        wanted = [address for _, address in self.deployment.listening()]
        listens = [
            _address(text) for text in self.running_configuration.listens
        ]
        return [
            address
            for address in wanted
            if (None, address.port) in listens
            or (address.host, address.port) in listens
        ]

    def check_installable(self) -> None:
        for mark in self._site.marks[:1]:
            if os.path.lexists(mark) and mark.resolve() != self.site:
                raise errors.SiteForeign(
                    f'{mark} is there, and leads to {mark.resolve()} instead '
                    f'of {self.site}.',
                    'Give that site another name.',
                )
        for text, file in self.running_configuration.hosts:
            for option, address in self.deployment.listening():
                host, port = _address(text)
                same = address.wildcard or host in (None, address.host)
                if port in (None, address.port) and same:
                    raise errors.PortInUse(
                        f'{file} has a site on {text}, which would be '
                        f'another one on {address}.',
                        f'Disable that site, or choose another {option}.',
                    )

    def enabling(self) -> list[servers.Enabling]:
        system = self.system
        wanted = self.all_modules
        if self.deployment.encrypted:
            wanted += apache.TLS_MODULES
        missing = [
            name
            for name in wanted
            # Which of its kind it runs with is for others to say.
            if not name.startswith('mpm_')
            and f'{name}_module' not in self.running_configuration.modules
        ]
        found = []
        for name in missing if system.enable_module else ():
            found.append(
                _enabling(
                    system.enable_module, name, system.module_marks, False
                )
            )
        return [*found, *([self._site] if system.enable_site else ())]

    @property
    def _site(self) -> servers.Enabling:
        system = self.system
        return _enabling(system.enable_site, SITE, system.site_marks, True)

    def _spawn(self) -> None:
        self._wait_for_addresses()
        systemd.call('systemctl', 'start', self.system.service)

    def load_files(self, applications: servers.Applications) -> None:
        self._wait_for_addresses()
        super().load_files(applications)

    def _wait_for_addresses(self) -> None:
        """Wait until Apache can listen on our addresses.

        It ends, with all of its sites, where it can't; and what served there
        before may have something to finish.

        :raises errors.PortInUse: it can't within the mercy
        """
        deadline = time.monotonic() + self.deployment.conf.server.task_mercy
        own = self._listening_now()
        for option, address in self.deployment.listening():
            if address in own or address in self._shared():
                continue
            # Its own sockets stay open until it has the new ones.
            held = address.port in {item.port for item in own}
            _wait_until_free(option, address, 0 if held else deadline)

    def _listening_now(self) -> set[addresses.Address]:
        parent = self.parent()
        found = [] if parent is None else processes.listening(parent)
        return {addresses.Address(*item.laddr[:2]) for item in found}

    def stop(self, timeout: float) -> list[psutil.Process]:
        return []  # it is not ours

    def parent(self) -> psutil.Process | None:
        return processes.from_pidfile(self._pidfile, 0)

    def processes(self) -> list[tuple[str, psutil.Process]]:
        parent = self.parent()
        if parent is None or not self.site.exists():
            return []
        return [
            (self.role(process), process)
            for process in processes.family(parent)
        ]

    def withdraw(self, before: checkpoint.Checkpoint) -> list[str]:
        conf = self.system.conf
        modules = dict(self._enabled_modules(before))
        marks = {mark for found in modules.values() for mark in found}
        before.put_back(
            lambda path: path.is_relative_to(conf) and path not in marks
        )
        self._check_accepted()
        before.put_back(lambda path: path in marks)
        if not self._refusal():
            return []
        # Which of them another site works with, a test of files can't tell.
        for name in modules:
            systemd.call(*_words(self.system.enable_module, name))
        before.let_stand(marks)
        return list(modules)

    def _enabled_modules(
        self, before: checkpoint.Checkpoint
    ) -> Iterator[tuple[str, tuple[pathlib.Path, ...]]]:
        """The modules that "install" has enabled, with their marks."""
        templates = self.system.module_marks
        made = [pathlib.Path(change.path) for change in before.changes()]
        for path in made if templates else ():
            marks = _paths(templates, path.stem)
            if path == marks[0]:
                yield path.stem, marks

    def has_read_since(self, moment: int) -> bool:
        return not 0 < self._read_at() <= moment

    def revert(self) -> None:
        if self.site.exists():
            self._wait_for_addresses()
        if self.parent() is None:
            # It ends itself over files that it can't use.
            systemd.call('systemctl', 'restart', self.system.service)
        else:
            self.reread()

    def leave(self) -> None:
        self.reread()

    def reread(self) -> None:
        """Let Apache read its files again, whatever their times say.

        :raises errors.NotStopped: it would cut what has begun
        :raises errors.ServerRefuses: it would end over them, and is not told
        """
        # Before anything is looked at: it can take as long as the mercy.
        self.wait_until_quiet()
        parent = self.parent()
        if parent is None:
            return
        self._check_accepted()
        before = self._read_at()
        self.let_read(parent, lambda: self._read_at() > before)

    def _refusal(self) -> str:
        """What Apache has against its configuration; empty for nothing."""
        try:
            result = self._control('-t')
        except FileNotFoundError:  # it has been removed, and refuses nothing
            return ''
        return apache.said(result) if result.returncode else ''

    def _check_accepted(self) -> None:
        refusal = self._refusal()
        if refusal:
            raise errors.ServerRefuses(
                f"The system's Apache refuses its configuration: {refusal}.",
                'Correct that, then try again.',
                'It was not told, and goes on with what it has read.',
            )


def _wait_until_free(
    option: str, address: addresses.Address, deadline: float
) -> None:
    while True:
        try:
            # Started by root, it may have low ports.
            return address.check_free(option, privileged=True)
        except errors.PortInUse:
            if time.monotonic() > deadline:
                raise
        time.sleep(processes.INTERVAL)


def _enabling(
    command: str, name: str, marks: tuple[str, ...], ours: bool
) -> servers.Enabling:
    return servers.Enabling(_words(command, name), _paths(marks, name), ours)


def _words(command: str, name: str) -> tuple[str, ...]:
    return tuple(word.format(name=name) for word in shlex.split(command))


def _paths(marks: tuple[str, ...], name: str) -> tuple[pathlib.Path, ...]:
    return tuple(pathlib.Path(mark.format(name=name)) for mark in marks)


def _sites(
    config: str, ours: pathlib.Path
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The addresses listened on, and those of sites with their files."""
    listens, hosts, file = [], [], ''
    for line in config.splitlines():
        if found := re.match(r'# In file: (.*)', line):
            file = found[1].strip()
        words = line.replace('<', ' ').replace('>', ' ').split()
        # Enabled sites are links.
        if not words or pathlib.Path(file).resolve() == ours:
            continue
        if words[0] == 'Listen':
            listens.append(words[1])
        if words[0] == 'VirtualHost':
            hosts += [(word, file) for word in words[1:]]
    return tuple(listens), tuple(hosts)


def _loads(
    includes: str, ours: pathlib.Path, root: pathlib.Path
) -> Iterator[tuple[str, str]]:
    """Each module that is loaded by one of the files, with its own file.

    :param root: what a relative path of it begins in
    """
    for name in re.findall(r'^\s*\([\d*]+\) (/.*)$', includes, re.MULTILINE):
        file = pathlib.Path(name)
        if file.resolve() != ours:
            for module, path in re.findall(
                r'^\s*LoadModule\s+(\S+)\s+"?([^"\s]+)',
                file.read_text(errors='replace'),
                re.MULTILINE | re.IGNORECASE,
            ):
                yield module, str(root / path)


# What the brackets of "[::1]" have in them is no port.
_ADDRESS = re.compile(r'(\[.*\]|[^:]*)(?::(\d+|\*))?')


def _address(text: str) -> tuple[str | None, int | None]:
    """Host and port as Apache writes them; None for all of them."""
    found = _ADDRESS.fullmatch(text)
    host, port = found.groups() if found else (text, None)
    if port is None and host.isdigit():
        host, port = '', host
    host = host.strip('[]')
    anywhere = host in ('', '*', '_default_', '0.0.0.0', '::')  # noqa: S104
    number = int(port) if port and port != '*' else None
    return None if anywhere else host, number
