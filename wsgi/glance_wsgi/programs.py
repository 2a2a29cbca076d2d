"""Running other programs as the service user, with nothing secret in argv."""

import dataclasses
import errno
import grp
import os
import pathlib
import pwd
import re
import stat
import subprocess
import sysconfig
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from glance_wsgi import errors
from glance_wsgi import platforms
from glance_wsgi import state

SERVICE_USER = 'glance-wsgi'

# What the programs that we run inherit from us: where certificates are and
# how to reach the outside, but none of the caller's credentials.
INHERITED = (
    'CURL_CA_BUNDLE',
    'HTTPS_PROXY',
    'HTTP_PROXY',
    'LANG',
    'NO_PROXY',
    'REQUESTS_CA_BUNDLE',
    'SSL_CERT_DIR',
    'SSL_CERT_FILE',
    'TZ',
    'http_proxy',
    'https_proxy',
    'no_proxy',
)


@dataclasses.dataclass(frozen=True)
class ServiceUser:
    """Whom the services run as: never root.

    :param name: its login name
    :param owner: its numeric user and group; None where it does not exist
    """

    name: str
    owner: state.Owner | None

    @classmethod
    def find(cls) -> 'ServiceUser':
        """As root the system user, otherwise the user who runs us."""
        if os.geteuid():
            me = state.Owner.myself()
            return cls(_name(me.uid), me)
        try:
            entry = pwd.getpwnam(SERVICE_USER)
        except KeyError:
            return cls(SERVICE_USER, None)
        return cls(SERVICE_USER, state.Owner(entry.pw_uid, entry.pw_gid))

    @classmethod
    def named(cls, name: str) -> 'ServiceUser':
        """A user whom the system has already.

        :raises errors.BadOption: it has none of that name, or it is root
        """
        try:
            entry = pwd.getpwnam(name)
        except KeyError as error:
            raise errors.BadOption(
                f'This system has no user "{name}".',
                'Give --run-as an existing one, or leave it out.',
            ) from error
        if entry.pw_uid == 0:
            raise errors.BadOption(
                'The services would run as root.',
                'Give --run-as another user, or leave it out.',
            )
        return cls(name, state.Owner(entry.pw_uid, entry.pw_gid))

    @property
    def group(self) -> str:
        """The name of its own group; of one yet to be made, its own."""
        if self.owner is None:
            return self.name
        try:
            return grp.getgrgid(self.owner.gid).gr_name
        except KeyError:
            return str(self.owner.gid)

    def make(self) -> 'ServiceUser':
        """Itself, or the same after making the system user.

        :raises errors.UserNotMade: the system refuses
        """
        if self.owner is not None:
            return self
        command = platforms.current().add_user_command(self.name)
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            detail = getattr(error, 'stderr', '') or str(error)
            raise errors.UserNotMade(
                f'The system user {self.name} could not be made: {detail}.',
                f'Make it yourself ("{" ".join(command)}"), then try again.',
            ) from error
        return self.find()

    def groups(self) -> set[int]:
        """The groups that it is in, as the system gives them to a service."""
        if self.owner is None:
            return set()
        return set(os.getgrouplist(self.name, self.owner.gid))

    def stand_in(self) -> 'ServiceUser':
        """Itself; the user who runs us for one that is yet to be made."""
        if self.owner is not None:
            return self
        return dataclasses.replace(self, owner=state.Owner.myself())

    def popen_arguments(self) -> dict[str, Any]:
        """What subprocess needs to run something as this user."""
        if os.geteuid() or self.owner is None:
            return {}
        return {
            'user': self.owner.uid,
            'group': self.owner.gid,
            'extra_groups': [],
        }


def _name(uid: int) -> str:
    # In a container the user may have a number only.
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def environment(
    home: pathlib.Path, extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """A small environment for the programs that we run.

    :param home: where they may keep caches: stevedore has one of all entry
        points, which saves a quarter of a second at each start
    """
    path = f'{scripts()}:{os.defpath}'
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {'PATH': path, 'HOME': str(home), **kept, **(extra or {})}


def bypass_proxies(hosts: Iterable[str]) -> None:
    """Reach `hosts` directly, whatever proxies the environment names.

    For this process and those that it starts: a deployment's own addresses
    mean nothing to a proxy.
    """
    known = os.environ.get('no_proxy') or os.environ.get('NO_PROXY') or ''
    names = [*filter(None, known.split(',')), 'localhost', *hosts]
    joined = ','.join(dict.fromkeys(names))
    os.environ['no_proxy'] = os.environ['NO_PROXY'] = joined


def scripts() -> pathlib.Path:
    """Where pip puts the programs of the Python that we run in.

    That of a virtualenv has them beside itself, that of Debian's own Python
    in /usr/local.
    """
    return pathlib.Path(sysconfig.get_path('scripts'))


def program(name: str) -> pathlib.Path:
    """A program that pip has installed for the Python that we run in."""
    return scripts() / name


# The last line of a traceback, whatever the logger wrote before it.
_EXCEPTION = re.compile(
    r'(?:^|\s)((?:\w+\.)*\w+(?:Error|Exception|Failure): .+)'
)
# What oslo.log says of an exception that ends the program; being told to end
# while it begins is none, where another process has failed before.
_UNHANDLED = re.compile(
    r' CRITICAL .*\bUnhandled error: (?!KeyboardInterrupt\b)(.+)'
)
# A line of oslo.log's. The program has gone on after what it tells, if only
# without a driver that can't be imported.
_LOGGED = re.compile(r'^.* (?:ERROR|WARNING|INFO|DEBUG) [\w.]+ .*$', re.M)


def complaint(output: str) -> str:
    """What a program complained of: its last exception, or its last line.

    An exception that ended it comes before those that it has only logged:
    one log can have several processes, each at its own point.
    """
    found = (
        _UNHANDLED.findall(output)
        or _EXCEPTION.findall(_LOGGED.sub('', output))
        or _EXCEPTION.findall(output)
        or output.splitlines()
    )
    said = [line.strip() for line in found if line.strip()]
    return said[-1].rstrip('.') if said else ''


def open_own(
    path: str | os.PathLike[str],
    flags: int,
    is_kind: Callable[[int], bool] = stat.S_ISREG,
) -> int:
    """Open a file in a directory of the service user's.

    As root, too: never by a link that it laid there, nor waiting at a pipe.

    :param is_kind: whether a file's mode is that of what it should be
    :raises OSError: it can't be opened, or is something else
    """
    refuse = os.O_NOFOLLOW | os.O_NONBLOCK
    handle = os.open(path, flags | refuse, mode=0o600)
    if not is_kind(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EPERM, 'It is no file of ours', str(path))
    return handle


def size(log: pathlib.Path) -> int:
    """The bytes that a log has; 0 where there is none."""
    return log.stat().st_size if log.exists() else 0


def read_from(log: pathlib.Path, start: int) -> str:
    """What a log says behind its first `start` bytes; empty without one."""
    try:
        with open(log, errors='replace', opener=open_own) as file:
            file.seek(start)
            return file.read()
    except OSError:
        return ''


def run(
    argv: Sequence[str | os.PathLike[str]],
    user: ServiceUser,
    place: state.StateDir,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a program to its end, its output added to log/deploy.log.

    :raises errors.StepFailed: it ended with another code than 0
    """
    log = place.log / 'deploy.log'
    result = subprocess.run(
        [str(word) for word in argv],
        cwd='/',
        env=environment(place.run, env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='replace',
        umask=0o077,
        # The lock of the state directory: the program may outlive us.
        pass_fds=place.lock_handles,
        **user.popen_arguments(),
    )
    with open(log, 'a', opener=open_own) as file:
        file.write(f'$ {" ".join(map(str, argv))}\n{result.stdout}')
    if result.returncode:
        said = complaint(result.stdout) or f'exit code {result.returncode}'
        raise errors.StepFailed(
            f'{pathlib.Path(argv[0]).name} failed: {said}.',
            f'All of its output is in {log}.',
        )
