"""Staged files of this node that nobody needs.

An import that was cut off here may have gone on elsewhere, where nobody can
remove what it had staged on this node.

Where the staging area is a store's directory too, nobody can tell one file
from the other: there nothing is residue.
"""

import dataclasses
import logging
import pathlib
import re
import time
from collections.abc import Iterable, Iterator

import sqlalchemy

from glance_wsgi.data import journal
from glance_wsgi.tasks import files
from glance_wsgi.tasks import records
from glance_wsgi.tasks.jobs import Jobs

LOG = logging.getLogger(__name__)

# Of an image, or of a plugin that makes another one of it.
_NAME = re.compile(rf'({journal.UUID})(\.\w+)?')


@dataclasses.dataclass(frozen=True)
class Residue:
    """A file that nobody needs, and why.

    :param inode: the one that was looked at
    """

    file: pathlib.Path
    inode: int
    why: str

    def remove(self) -> bool:
        """Remove it; False if another import has staged there since."""
        try:
            if self.file.lstat().st_ino != self.inode:
                return False
            LOG.warning('Removing %s: %s', self.file, self.why)
            self.file.unlink()
        except FileNotFoundError:
            return False
        return True


def find(
    jobs: Jobs,
    staging: pathlib.Path,
    settled: float,
    stores: Iterable[pathlib.Path],
) -> Iterator[Residue]:
    """Look at each staged file that was not written to for a while.

    First the file, then its image: one that was there before its image was
    found to need nothing is of no import that begins later.

    :param settled: seconds
    :param stores: the directories of this node's stores
    """
    if any(files.may_be(staging, store) for store in stores):
        return
    try:
        staged = sorted(staging.iterdir())
    except OSError:
        return
    for file in staged:
        named = _NAME.fullmatch(file.name)
        try:
            facts = file.lstat()
        except FileNotFoundError:
            continue
        if not named or time.time() - facts.st_mtime < settled:
            continue
        why = _unneeded(jobs, named[1], file)
        if why is not None:
            yield Residue(file, facts.st_ino, why)


def _unneeded(jobs: Jobs, image_id: str, file: pathlib.Path) -> str | None:
    """Why nobody needs the staged data of an image; None if one does."""
    images, properties = records.IMAGES, records.PROPERTIES
    locations = records.LOCATIONS
    lock = sqlalchemy.and_(
        properties.c.image_id == images.c.id,
        properties.c.name == records.LOCK,
        properties.c.deleted == sqlalchemy.false(),
    )
    with jobs.reading() as connection:
        row = connection.execute(
            sqlalchemy.select(
                images.c.status, images.c.deleted, properties.c.value
            )
            .select_from(images.outerjoin(properties, lock))
            .where(images.c.id == image_id)
        ).first()
        named = connection.execute(
            sqlalchemy.select(locations.c.value).where(
                locations.c.image_id == image_id,
                locations.c.deleted == sqlalchemy.false(),
            )
        ).scalars()
        is_data = any(files.may_be_named(url, file) for url in named)
    if row is None or row.deleted:
        return 'Its image is gone.'
    if row.value is None and row.status != 'uploading' and not is_data:
        return f'Its image is {row.status}, and no task works on it.'
    return None
