"""An image read in one transaction; private names of Glance's database.

Glance reads an image, its members and its tags one after the other, and for
each of them takes a connection, which is tried first, and gives it back, which
ends a transaction. oslo.db lets a block within another one have the
transaction of that, so with one around all of them the database is asked half
as often. What is read belongs together, too: nothing can come in between.
https://docs.openstack.org/oslo.db/latest/user/usage.html

tests/functional/test_reading_contract.py pins the names on every supported
Glance.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any

Application = Callable[..., Iterable[bytes]]


def read_at_once(application: Application) -> Application:
    """Have each image be read in one transaction, from now on.

    :returns: `application`, as it is
    """
    # Imported late: importing Glance registers its options globally.
    from glance.db import ImageRepo

    if not hasattr(ImageRepo.get, '__wrapped__'):
        ImageRepo.get = _in_one(ImageRepo.get)
    return application


def _in_one(get: Callable[..., Any]) -> Callable[..., Any]:
    from glance.db.sqlalchemy import api

    @functools.wraps(get)
    def get_in_one(*words: Any, **options: Any) -> Any:
        with api.session_for_read():
            return get(*words, **options)

    return get_in_one
