"""Facts about the installed Glance: versions and where its files are.

Nothing here imports Glance: its option set is global and its import takes a
second, and neither is wanted where only a fact is.
"""

import hashlib
import importlib.metadata
import importlib.util
import pathlib

from glance_wsgi import errors

OLDEST, NEWEST = 30, 33
"""The major versions that this glance-wsgi supports (2025.1 to 2026.2)."""


def version() -> str:
    """The installed Glance's version.

    :raises errors.GlanceUnsupported: there is none, or not a supported one
    """
    wanted = f'Glance {OLDEST} to {NEWEST}'
    action = (
        f'Install {wanted} with the constraints of its series '
        '(constraints/ in the source of glance-wsgi).'
    )
    try:
        found = importlib.metadata.version('glance')
    except importlib.metadata.PackageNotFoundError as error:
        raise errors.GlanceUnsupported(
            'Glance is not installed in this Python.', action
        ) from error
    if not OLDEST <= int(found.split('.')[0]) <= NEWEST:
        raise errors.GlanceUnsupported(
            f'Glance {found} is installed; this glance-wsgi supports '
            f'{wanted}.',
            action,
        )
    return found


def fingerprint() -> str:
    """Changes whenever the installed code of the applications does.

    It is made of the lists of files, with their digests, that pip keeps of
    each installed distribution (PEP 376, RECORD).
    """
    digest = hashlib.sha256()
    for name in ('glance-wsgi', 'glance', 'keystone'):
        record = importlib.metadata.distribution(name).read_text('RECORD')
        digest.update((record or '').encode())
    return digest.hexdigest()


def shipped(name: str) -> pathlib.Path:
    """A file or directory of Glance's own etc/glance, as its wheel has it.

    :raises errors.GlanceUnsupported: this Glance came without it
    """
    prefix = pathlib.Path('etc', 'glance', name)
    for file in importlib.metadata.files('glance') or ():
        place = pathlib.Path(str(file.locate())).resolve()
        for candidate in (place, *place.parents):
            if candidate.parts[-len(prefix.parts) :] == prefix.parts:
                return candidate
    raise errors.GlanceUnsupported(
        f'The installed Glance has no etc/glance/{name}.',
        'Install Glance from PyPI: packages of distributions may keep this '
        'file elsewhere.',
    )


def migrations() -> pathlib.Path:
    """The directory of Glance's Alembic migrations."""
    spec = importlib.util.find_spec('glance')
    if spec is None or not spec.submodule_search_locations:
        version()
        raise ImportError('glance')
    root = pathlib.Path(spec.submodule_search_locations[0])
    return root / 'db' / 'sqlalchemy' / 'alembic_migrations'
