"""Files of this node, and the locations of images that may name them."""

import os
import pathlib

# glance_store/_drivers/filesystem.py, "get_schemes".
_OF_FILES = ('file', 'filesystem')


def may_be(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Whether it is the same file, or directory, by whatever path.

    Of one that can not be looked at nobody can say that it is not.
    """
    try:
        return os.path.samestat(one.stat(), other.stat())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def may_be_named(url: str, file: pathlib.Path) -> bool:
    """Whether a location names that file, or may do so.

    With ``metadata_encryption_key`` only Glance can tell.
    """
    scheme, readable, path = url.partition('://')
    if not readable:
        return True
    return scheme in _OF_FILES and may_be(pathlib.Path(path), file)
