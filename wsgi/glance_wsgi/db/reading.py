"""An image read in one transaction; private names of Glance's database.

Glance reads an image in one transaction and its tags in another. For each it
takes a connection, which is tried first, and gives it back with a rollback.
oslo.db lets a block within another one have the transaction of that, so with
one around both the database is asked four times instead of six. What is read
belongs together, too: nothing can come in between.
https://docs.openstack.org/oslo.db/latest/user/usage.html

Glance 30 has sessions of another kind, which can't be within each other: there
it stays as it is. tests/functional/test_reading_contract.py pins the names on
every supported Glance.
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
    from glance.db.sqlalchemy import api

    done = hasattr(ImageRepo.get, '__wrapped__')
    if hasattr(api, 'session_for_read') and not done:
        ImageRepo.get = _in_one(ImageRepo.get, api.session_for_read)
    return application


def _in_one(
    get: Callable[..., Any], session: Callable[[], Any]
) -> Callable[..., Any]:
    @functools.wraps(get)
    def get_in_one(*words: Any, **options: Any) -> Any:
        with session():
            return get(*words, **options)

    return get_in_one
