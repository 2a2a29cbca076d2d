"""Which requests are for an image's data."""

import re

from glance_wsgi.data import journal

TRANSFERS = ('file', 'stage')
"""The last words of paths that data goes through, in either direction."""

# Whatever is before: Glance answers to /v2 and /v2.9, and by an Accept header
# without either.
_DATA = re.compile(rf'/images/({journal.UUID})/(file|stage|import)/?\Z')


def find(path: str) -> tuple[str, str] | None:
    """The image that a path is about, and what is wanted with its data.

    :param path: ``PATH_INFO``
    :returns: the image's id, and "file", "stage" or "import"; None for any
        other path
    """
    found = _DATA.search(path)
    return found and (found[1], found[2])
