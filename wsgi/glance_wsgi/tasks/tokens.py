"""Which stores are used with the user's token, not the service's own.

By the options of glance_store's drivers: ``swift_store_multi_tenant``, and
the credentials of cinder (``is_user_overriden`` of its driver).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from oslo_config import cfg

TOKENLESS = (
    *('file', 'filesystem', 'http', 'https', 'rbd', 's3'),
    *('vmware', 'vsphere'),
)
"""Drivers that never use one, and their schemes."""

CREDENTIALS = (
    ('user_name', 'password', 'project_name', 'auth_address'),
    (
        *('application_credential_id', 'application_credential_secret'),
        'auth_address',
    ),
)
"""Options of cinder; with all of one kind it uses no token."""


def needed(
    conf: cfg.ConfigOpts, given: Mapping[str, Any], signed: bool
) -> bool:
    """Whether a task with that input needs the user's token.

    :param signed: whether its image has a signature, whose certificate is read
        with it
    """
    method = (given.get('import_req') or {}).get('method') or {}
    if method.get('name') == 'glance-download' or signed:
        return True
    if given.get('loc_url', '').startswith('http'):
        return False
    # Other locations, and the old API, do not say which.
    return used(conf, given.get('backend') or every_store(conf))


def used(conf: cfg.ConfigOpts, stores: Iterable[str | None]) -> bool:
    """Whether writing to these stores needs a token.

    :param conf: Glance's configuration, with the options of its stores
    :param stores: names; None is the only store where stores have no names
    """
    return any(_uses(conf, store) for store in stores)


def every_store(conf: cfg.ConfigOpts) -> list[str | None]:
    """All stores that Glance has."""
    return list(conf.enabled_backends or {}) or [None]


def _uses(conf: cfg.ConfigOpts, store: str | None) -> bool:
    if conf.enabled_backends:
        name = store or conf.glance_store.default_backend
        kind = conf.enabled_backends.get(name, '')
    else:
        # A scheme, such as swift+https.
        name, kind = 'glance_store', conf.glance_store.default_store
    if kind in TOKENLESS:
        return False
    options = getattr(conf, name, None)
    if kind.partition('+')[0] == 'swift':
        return bool(_get(options, 'swift_store_multi_tenant'))
    if kind == 'cinder':
        return not any(
            all(_get(options, f'cinder_store_{one}') for one in needed)
            for needed in CREDENTIALS
        )
    # A driver that is not glance_store's may well need it.
    return True


def _get(options: Any, name: str) -> Any:
    # Not every release of glance_store has all of them.
    return getattr(options, name, None)
