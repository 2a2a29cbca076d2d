"""The state directory: where each file of a deployment is, and its rights.

::

    clouds.yaml        how clients reach the deployment (0600, the person's)
    tempest.conf       how Tempest does, where it was deployed for that
    etc/               configuration; glance-wsgi.conf holds the options
    log/ run/          one log and one pid file for each process
    data/              databases, staging and the file stores

The directories can be entered by everybody, so that the service user reaches
them; every file with a secret has mode 0600 from the moment it exists.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from glance_wsgi import errors

UNFINISHED = '.new-'
"""How the name of a file begins that is yet to be given its own."""

FORMAT = 1
"""Changes when a newer glance-wsgi can't use an older state directory."""


@dataclasses.dataclass(frozen=True)
class Owner:
    """Who owns a file: numeric user and group."""

    uid: int
    gid: int

    @classmethod
    def myself(cls) -> 'Owner':
        """The user who runs this program."""
        return cls(os.geteuid(), os.getegid())


class StateDir:
    """The places in a state directory, and how they are written."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = pathlib.Path(path).absolute()
        self.etc = self.path / 'etc'
        self.log = self.path / 'log'
        self.run = self.path / 'run'
        self.data = self.path / 'data'
        self.gate = self.data / 'gate'
        self.fernet_keys = self.etc / 'keystone' / 'fernet-keys'
        self.credential_keys = self.etc / 'keystone' / 'credential-keys'
        self.options = self.etc / 'glance-wsgi.conf'
        self.own_settings = self.etc / 'glance-api.local.conf'
        self.secrets = self.etc / 'secrets.json'
        self.marker = self.path / 'deployment.json'
        self.clouds = self.path / 'clouds.yaml'
        self.tempest = self.path / 'tempest.conf'
        self.checkpoint = self.path / '.checkpoint'
        self.lockfile = self.path / '.lock'
        self.lock_handles: tuple[int, ...] = ()

    def directories(self) -> tuple[pathlib.Path, ...]:
        """The directories that belong to whoever deploys, parents first."""
        return (
            self.etc,
            self.etc / 'glance',
            self.etc / 'keystone',
            self.etc / 'apache',
            self.etc / 'vassals',
            self.etc / 'wsgi',
        )

    def service_directories(self) -> tuple[pathlib.Path, ...]:
        """The directories that the service writes to, closed to others."""
        return (
            self.fernet_keys,
            self.credential_keys,
            self.log,
            self.run,
            self.data,
        )

    def make(self, service: Owner) -> bool:
        """Make the directories; True if one was missing.

        :raises errors.StateNotWritable: the system refuses
        """
        changed = False
        try:
            # Everybody may enter the top; what is secret inside is closed
            # file by file. A top directory that was there keeps its rights.
            self.path.mkdir(mode=0o755, parents=True, exist_ok=True)
            for path in self.directories():
                changed |= make_directory(path, Owner.myself())
            for path in self.service_directories():
                changed |= make_directory(path, service, 0o700)
        except OSError as error:
            raise not_writable(self.path, error) from error
        return changed

    def read_marker(self) -> dict[str, Any] | None:
        """What `write_marker` wrote; None where there is no deployment.

        :raises errors.StateForeign: the file is not ours, or of a format
            that this version does not know
        """
        try:
            marker = json.loads(self.marker.read_text())
            known = marker['format'] == FORMAT
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError as error:
            raise not_readable(self.path) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise errors.StateForeign(
                f'{self.marker} is not a marker of glance-wsgi ({error}).',
                'Choose another --state-dir, or remove this directory if '
                'nothing in it is needed.',
            ) from error
        if not known:
            raise errors.StateForeign(
                f'{self.path} was written by glance-wsgi '
                f'{marker.get("glance_wsgi")} in format {marker["format"]}; '
                f'this version knows format {FORMAT}.',
                'Use that version, or choose another --state-dir.',
            )
        return marker

    def write_marker(self, facts: Mapping[str, Any]) -> None:
        """Say which versions made this deployment, and how far they came."""
        text = json.dumps({**facts, 'format': FORMAT}, indent=2) + '\n'
        write_file(self.marker, text, Owner.myself(), mode=0o644)

    def load_secrets(self, names: tuple[str, ...]) -> dict[str, str]:
        """The passwords by name; those that are missing are made now.

        :raises errors.StateForeign: the file is not as we write it
        """
        try:
            known = dict(json.loads(self.secrets.read_text()))
            if not all(isinstance(item, str) for item in known.values()):
                raise ValueError('a password is no text')
        except FileNotFoundError:
            known = {}
        except (OSError, ValueError, TypeError) as error:
            raise errors.StateForeign(
                f'{self.secrets} is damaged ({error}).',
                'Remove it and run "glance-wsgi up": new passwords are made '
                'and set.',
            ) from error
        missing = [name for name in names if name not in known]
        if missing:
            known |= {name: secrets.token_urlsafe(24) for name in missing}
            text = json.dumps(known, indent=2) + '\n'
            write_file(self.secrets, text, Owner.myself())
        return known

    def purge(self) -> None:
        """Remove everything; the top directory too, if it can be.

        :raises errors.StateNotWritable: the system refuses
        """
        try:
            for entry in self.path.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
        except OSError as error:
            raise not_writable(self.path, error) from error
        # A mount point stays, and so does one in a directory of another's.
        with contextlib.suppress(OSError):
            self.path.rmdir()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other glance-wsgi commands away from this directory.

        :raises errors.StateBusy: another one has it
        """
        with contextlib.ExitStack() as stack:
            try:
                self.path.mkdir(mode=0o755, parents=True, exist_ok=True)
                file = stack.enter_context(self.lockfile.open('w'))
            except OSError as error:
                raise not_writable(self.path, error) from error
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise errors.StateBusy(
                    f'Another glance-wsgi command works on {self.path}.',
                    'Wait until it has ended, then try again.',
                ) from error
            self.lock_handles = (file.fileno(),)
            try:
                yield
            finally:
                self.lock_handles = ()


def not_readable(path: pathlib.Path) -> errors.GlanceWSGIError:
    """The error for a deployment of somebody else's."""
    return errors.StateNotWritable(
        f"{path} can't be read: it belongs to another user.",
        'Run this as the user who ran "glance-wsgi up", or choose another '
        '--state-dir.',
    )


def not_writable(path: pathlib.Path, why: object) -> errors.GlanceWSGIError:
    """The error for a state directory that the system won't let us write."""
    return errors.StateNotWritable(
        f"The state directory {path} can't be written: {why}.",
        'Choose another --state-dir, or run this as a user who may write '
        'there.',
    )


def make_directory(
    path: pathlib.Path, owner: Owner, mode: int = 0o755
) -> bool:
    """Make a directory of `owner`; True if it was missing."""
    if path.is_dir():
        return False
    path.mkdir(mode=0o700)
    # By its descriptor: the service user may own the parent, and could lay a
    # link in its place. And whatever the umask of who runs us is.
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchown(handle, owner.uid, owner.gid)
        os.fchmod(handle, mode)
    finally:
        os.close(handle)
    return True


def write_file(
    path: pathlib.Path, text: str | bytes, owner: Owner, mode: int = 0o600
) -> bool:
    """Replace a file as a whole; False if it was right already.

    The new file has its owner and rights before it has its name, so nobody
    sees half of it or reads it too early.
    """
    if is_right(path, text, owner, mode):
        return False
    content = text if isinstance(text, bytes) else text.encode()
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED)
    try:
        with open(handle, 'wb') as file:
            os.fchown(handle, owner.uid, owner.gid)
            os.fchmod(handle, mode)
            file.write(content)
            file.flush()
            os.fsync(handle)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return True


def is_right(
    path: pathlib.Path, text: str | bytes, owner: Owner, mode: int
) -> bool:
    """Whether a file is just as `write_file` would leave it."""
    content = text if isinstance(text, bytes) else text.encode()
    try:
        facts = path.lstat()
        return (
            stat.S_ISREG(facts.st_mode)  # a link is not, wherever it leads
            and stat.S_IMODE(facts.st_mode) == mode
            and Owner(facts.st_uid, facts.st_gid) == owner
            and path.read_bytes() == content
        )
    except FileNotFoundError:
        return False
