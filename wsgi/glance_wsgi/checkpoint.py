"""Changing files so that each byte can be put back.

Before a file is changed, what was there is kept in a directory, so that an
error, a full disk or a kill in the middle leaves nothing half-done: the error
is followed by `restore`, the kill by the next command's `recover`.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator

from glance_wsgi import state
from glance_wsgi.render import File


@dataclasses.dataclass(frozen=True)
class Change:
    """What was at a path before it was changed.

    :param kind: file, link, or nothing (a directory may have come there)
    :param kept: the name of the copy, or where the link led to
    :param facts: rights, user, group, and both times in nanoseconds
    """

    path: str
    kind: str
    kept: str = ''
    facts: tuple[int, int, int, int, int] | None = None


class Checkpoint:
    """The changes since `begin`, in a directory of their own."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self._manifest = directory / 'manifest.json'

    @property
    def exists(self) -> bool:
        """Whether there are changes that could be put back."""
        return self._manifest.exists()

    def changes(self) -> list[Change]:
        """What was changed, in order."""
        try:
            rows = json.loads(self._manifest.read_text())
        except FileNotFoundError:
            return []
        return [Change(**row) for row in rows]

    def write(self, file: File) -> bool:
        """Write a rendered file; False if it was right already."""
        if file.is_right():
            return False
        self.keep(file.path)
        return file.write()

    def link(self, path: pathlib.Path, target: str) -> bool:
        """Make a symbolic link; False if it was right already."""
        if path.is_symlink() and os.readlink(path) == target:
            return False
        self.keep(path)
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        return True

    def make_directory(self, path: pathlib.Path) -> bool:
        """Make a directory; False if it was there already."""
        if path.is_dir():
            return False
        self.keep(path)
        return state.make_directory(path, state.Owner.myself())

    def remove(self, path: pathlib.Path) -> bool:
        """Remove a file or link; False if there was none."""
        if not os.path.lexists(path):
            return False
        self.keep(path)
        path.unlink()
        return True

    def keep(self, path: pathlib.Path) -> None:
        """Keep what is at a path, before it is changed."""
        known = self.changes()
        if any(change.path == str(path) for change in known):
            return
        if path.is_dir() and not path.is_symlink():
            return  # it stays; what is in it is kept by itself
        state.make_directory(self.directory, state.Owner.myself(), 0o700)
        change = self._copy(path, str(len(known)))
        self._write([*known, change])

    def _write(self, changes: list[Change]) -> None:
        rows = [dataclasses.asdict(item) for item in changes]
        text = json.dumps(rows, indent=1)
        state.write_file(self._manifest, text, state.Owner.myself())

    def take_over(self, other: 'Checkpoint') -> None:
        """Add what another one keeps of paths that this one has not."""
        if not other.exists:
            return
        known = self.changes()
        paths = {change.path for change in known}
        state.make_directory(self.directory, state.Owner.myself(), 0o700)
        for change in other.changes():
            if change.path in paths:
                continue
            if change.kind == 'file':
                name = str(len(known))
                kept = other.directory / change.kept
                shutil.copy2(kept, self.directory / name)
                change = dataclasses.replace(change, kept=name)
            known.append(change)
        self._write(known)

    def _copy(self, path: pathlib.Path, name: str) -> Change:
        if path.is_symlink():
            return Change(str(path), 'link', os.readlink(path))
        if not path.exists():
            return Change(str(path), 'nothing')
        facts = path.stat()
        copy = self.directory / name
        copy.unlink(missing_ok=True)
        handle = os.open(copy, os.O_CREAT | os.O_WRONLY, 0o600)
        with open(handle, 'wb') as to:
            to.write(path.read_bytes())
            to.flush()
            os.fsync(to.fileno())
        return Change(
            str(path),
            'file',
            name,
            (
                facts.st_mode & 0o7777,
                facts.st_uid,
                facts.st_gid,
                facts.st_atime_ns,
                facts.st_mtime_ns,
            ),
        )

    def let_stand(self, paths: Iterable[pathlib.Path]) -> None:
        """Let some of the changes stand."""
        stand = {str(path) for path in paths}
        self._write(
            [item for item in self.changes() if item.path not in stand]
        )

    def put_back(
        self, wanted: Callable[[pathlib.Path], bool] = lambda path: True
    ) -> list[pathlib.Path]:
        """Put back what was there, the last change first.

        It may be done again, until `forget`.

        :param wanted: whether a path is to be put back
        :return: the paths at which there was something else
        """
        return [
            pathlib.Path(change.path)
            for change in reversed(self.changes())
            if wanted(pathlib.Path(change.path)) and self._put_back(change)
        ]

    def restore(self) -> list[pathlib.Path]:
        """Put everything back as it was, and forget it.

        :return: the paths at which there was something else
        """
        changed = self.put_back()
        self.forget()
        return changed

    def _put_back(self, change: Change) -> bool:
        path = pathlib.Path(change.path)
        self._sweep(path.parent)
        # Not touched where nothing was changed: the disk may be read-only.
        if self._is_as_before(path, change):
            return False
        if change.kind == 'file':
            self._put_back_file(path, change)
            return True
        if path.is_dir() and not path.is_symlink():
            # Somebody else may have something in it by now.
            with contextlib.suppress(OSError):
                path.rmdir()
            return True
        path.unlink(missing_ok=True)
        if change.kind == 'link':
            path.symlink_to(change.kept)
        return True

    def _sweep(self, directory: pathlib.Path) -> None:
        # What `state.write_file` was killed over.
        for path in directory.glob(f'{state.UNFINISHED}*'):
            with contextlib.suppress(OSError):
                path.unlink()

    def _is_as_before(self, path: pathlib.Path, change: Change) -> bool:
        if change.kind == 'nothing':
            return not os.path.lexists(path)
        if change.kind == 'link':
            return path.is_symlink() and os.readlink(path) == change.kept
        if path.is_symlink() or not path.is_file():
            return False
        assert change.facts is not None
        mode, uid, gid, _, mtime = change.facts
        facts = path.stat()
        # Each way to change a file leaves another time.
        return (mode, uid, gid, mtime) == (
            facts.st_mode & 0o7777,
            facts.st_uid,
            facts.st_gid,
            facts.st_mtime_ns,
        )

    def _put_back_file(self, path: pathlib.Path, change: Change) -> None:
        assert change.facts is not None
        mode, uid, gid, atime, mtime = change.facts
        # The copy itself takes the file's place, so that a full disk is no
        # obstacle where both are on the same one.
        copy = self.directory / change.kept
        os.chown(copy, uid, gid)
        os.chmod(copy, mode)
        os.utime(copy, ns=(atime, mtime))
        try:
            _give_name(copy, path)
        except OSError:  # another file system
            # First of all room is made: what is there now may fill the disk.
            path.unlink(missing_ok=True)
            _copy_to(copy, path)

    def forget(self) -> None:
        """Let the changes stand: there is nothing to be put back any more."""
        # The manifest first: without it the copies mean nothing.
        self._manifest.unlink(missing_ok=True)
        shutil.rmtree(self.directory, ignore_errors=True)


def _give_name(copy: pathlib.Path, path: pathlib.Path) -> None:
    """Have a path lead to a copy, which stays where it is, too."""
    name = path.with_name(f'{state.UNFINISHED}{path.name}')
    os.link(copy, name)
    os.replace(name, path)
    # If it was there already, both names are left.
    name.unlink(missing_ok=True)


def _copy_to(copy: pathlib.Path, path: pathlib.Path) -> None:
    """Make a file like a copy; it has its rights before it has its name."""
    facts = copy.stat()
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=state.UNFINISHED)
    with open(handle, 'wb') as file:
        os.fchown(handle, facts.st_uid, facts.st_gid)
        os.fchmod(handle, facts.st_mode & 0o7777)
        file.write(copy.read_bytes())
        file.flush()
        os.fsync(handle)
    os.utime(name, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    os.replace(name, path)


@contextlib.contextmanager
def tentatively(directory: pathlib.Path) -> Iterator[Checkpoint]:
    """Change files; whatever is raised meanwhile puts all of them back."""
    recover(directory)
    checkpoint = Checkpoint(directory)
    try:
        yield checkpoint
    except BaseException:
        checkpoint.restore()
        raise
    checkpoint.forget()


def recover(directory: pathlib.Path) -> bool:
    """Put back what a command left that was killed; True if there was any."""
    checkpoint = Checkpoint(directory)
    if not checkpoint.exists:
        return False
    checkpoint.restore()
    return True
