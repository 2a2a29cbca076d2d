"""Facts of this machine, each asked for when a rule wants it.

A fact that can't be found out is None, and a rule then finds nothing. Nothing
that a checked file names is ever run: that file may be anybody's.
"""

import dataclasses
import grp
import ipaddress
import os
import pathlib
import pwd
import re
import shutil
import socket
import subprocess

import psutil
import sqlalchemy

from glance_wsgi import platforms
from glance_wsgi import size

ROTATIONS = pathlib.Path('/etc/logrotate.d')
"""Where packages have their rules for logrotate(8)."""

CONNECT_TIMEOUT = 3  # seconds that a database may take to answer


@dataclasses.dataclass(frozen=True)
class Identity:
    """A user of this machine with all of its groups."""

    name: str
    uid: int
    gids: frozenset[int]


class Context:
    """The machine that we run on.

    :param service: who runs the services where no file says so
    """

    def __init__(self, service: Identity | None = None) -> None:
        self.service = service
        # Whether it is known to be that one: a deployment's own Apache is
        # started by it, and its files need not say so.
        self.certain = False
        self.runner = os.geteuid()

    def memory(self) -> int:
        """Bytes of RAM."""
        return int(psutil.virtual_memory().total)

    def somaxconn(self) -> int | None:
        """Connections that the kernel lets wait at a socket."""
        return size.somaxconn()

    def free(self, path: pathlib.Path) -> int | None:
        """Bytes that are free where a directory is; None if it is missing."""
        try:
            return shutil.disk_usage(path).free
        except OSError:
            return None

    def in_memory(self, path: pathlib.Path) -> bool:
        """Whether a directory is on a file system in memory."""
        mounts = {
            pathlib.Path(mount.mountpoint): mount.fstype
            for mount in psutil.disk_partitions(all=True)
        }
        for place in (path, *path.parents):
            if place in mounts:
                return mounts[place] in ('tmpfs', 'ramfs')
        return False

    def fleeting(self, path: pathlib.Path) -> bool:
        """Whether a reboot removes what is there (hier(7))."""
        return any(str(way) in ('/tmp', '/run') for way in path.parents)  # noqa: S108

    def stat(self, path: pathlib.Path) -> os.stat_result | None:
        """Owner and rights of a file; None if it is missing."""
        try:
            return path.stat()
        except OSError:
            return None

    def identity(self, name: str) -> Identity | None:
        """A user by name or number; None if there is none."""
        try:
            entry = (
                pwd.getpwuid(int(name))
                if name.isdecimal()
                else pwd.getpwnam(name)
            )
        except KeyError:
            return None
        gids = os.getgrouplist(entry.pw_name, entry.pw_gid)
        return Identity(entry.pw_name, entry.pw_uid, frozenset(gids))

    def group(self, name: str) -> int | None:
        """The number of a group; None if there is none of that name."""
        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            return None

    def obstacle(
        self, path: pathlib.Path, who: Identity, wanted: int
    ) -> pathlib.Path | None:
        """What keeps a user from a file or directory; None if nothing does.

        Links are followed. Access control lists are not looked at.

        :param wanted: the rights at the end of the path, as 4 (read),
            2 (write) and 1 (execute, enter)
        """
        target = pathlib.Path(os.path.realpath(path))
        ways = [*path.parents, *target.parents]
        for folder in sorted(set(ways), key=lambda way: len(way.parts)):
            if not self._may(folder, who, 1):
                return folder
        return None if self._may(target, who, wanted) else target

    def _may(self, path: pathlib.Path, who: Identity, wanted: int) -> bool:
        facts = self.stat(path)
        if facts is None or who.uid == 0:
            return True
        return facts.st_mode >> _shift(facts, who) & wanted == wanted

    def addresses(self) -> dict[str, bool]:
        """This machine's addresses, and whether each one moves.

        One with a network of its own (a mask of all ones) on a real
        interface is what keepalived and pacemaker move between machines.
        """
        found = {}
        for name, entries in psutil.net_if_addrs().items():
            for entry in entries:
                if entry.family in (socket.AF_INET, socket.AF_INET6):
                    host = entry.address.partition('%')[0]
                    lone = _lone(entry.netmask)
                    found[host] = lone and not name.startswith('lo')
        return found

    def resolve(self, host: str) -> set[str]:
        """The addresses of a host; none if it has none."""
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, ValueError):
            return set()
        return {str(item[4][0]).partition('%')[0] for item in found}

    def max_connections(self, url: str) -> int | None:
        """How many connections a MariaDB allows this account.

        :return: None for other databases
        :raises sqlalchemy.exc.SQLAlchemyError: it refuses us or is silent
        """
        parsed = sqlalchemy.make_url(url)
        if parsed.get_backend_name() != 'mysql':
            return None
        engine = sqlalchemy.create_engine(
            parsed.set(drivername='mysql+pymysql'),
            poolclass=sqlalchemy.NullPool,
            connect_args={'connect_timeout': CONNECT_TIMEOUT},
        )
        with engine.connect() as connection:
            limits = connection.execute(
                sqlalchemy.text(
                    'SELECT @@max_connections, @@max_user_connections'
                )
            ).one()
        return min(int(limit) for limit in limits if limit)

    def distribution(
        self, home: pathlib.Path, *names: str
    ) -> tuple[str, str] | None:
        """Which of some PyPI packages a virtualenv has, and its version."""
        for folder in home.glob('lib*/python3*/site-packages/*.dist-info'):
            name, _, version = folder.stem.partition('-')
            if name.lower().replace('-', '_') in names:
                return name, version
        return None

    def uwsgi_on_path(self) -> str | None:
        """The version of the uWSGI that a shell would find."""
        try:
            result = subprocess.run(
                ['uwsgi', '--version'], capture_output=True, text=True
            )
        except OSError:
            return None
        return result.stdout.strip() or None

    def mod_wsgi(self, module: pathlib.Path) -> str | None:
        """The version that a module file of mod_wsgi has in it."""
        try:
            found = re.findall(rb'\0(\d+\.\d+\.\d+)\0', module.read_bytes())
        except OSError:
            return None
        return found[0].decode() if found else None

    def apache_pidfile(self) -> str:
        """That of the distribution's Apache."""
        return str(platforms.current().apache.system.pidfile)

    def rotations(self) -> list[tuple[pathlib.Path, int, str]]:
        """The lines of logrotate's rules for Apache that reload it.

        :return: each with its file and its number
        """
        files = (ROTATIONS / name for name in ('apache2', 'httpd'))
        return [
            (file, number, line.strip())
            for file in files
            for number, line in enumerate(_lines(file), 1)
            if re.search(r'^[^#]*\b(reload|restart|graceful|USR1)\b', line)
        ]


def _lines(file: pathlib.Path) -> list[str]:
    try:
        return file.read_text(errors='replace').splitlines()
    except OSError:
        return []


def _shift(facts: os.stat_result, who: Identity) -> int:
    if facts.st_uid == who.uid:
        return 6
    return 3 if facts.st_gid in who.gids else 0


def _lone(netmask: str | None) -> bool:
    try:
        mask = ipaddress.ip_address((netmask or '').partition('/')[0])
    except ValueError:
        return False
    return int(mask) == 2**mask.max_prefixlen - 1
