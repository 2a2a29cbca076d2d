"""The WSGI entry module of the embedded Keystone.

Keystone makes its policies when it first needs them, and the second of two
requests that come at once meets a half-made set and is refused with 403. So
they are made here, before anybody is served. Uses a private name of
``keystone.common.rbac_enforcer.policy``, pinned by a contract test.

As Glance's, its transactions on SQLite have to take turns: a user's first
token of the day is noted, and where two come at once the other one fails. Not
before Keystone 30: inside a request those open a second transaction beside the
first, and would wait for themselves.
"""

import importlib.metadata

from glance_wsgi import loading

TAKES_TURNS = 30
"""The first major version of Keystone whose transactions do not nest."""


def _version() -> int:
    return int(importlib.metadata.version('keystone').partition('.')[0])


with loading.uncollected():
    from keystone.common.rbac_enforcer import policy
    from keystone.wsgi import api

    from glance_wsgi.db import sqlite

    application = api.application
    if _version() >= TAKES_TURNS:
        application = sqlite.take_turns(application)

    policy._ENFORCER._enforcer.load_rules()
