"""Half an image: what Glance is left with when an upload's process dies.

This module alone uses what Glance does not publish: its database API, its
administrator's context, two of its hidden properties, and where its stores
have their files. tests/functional/test_contract.py pins each name on every
supported Glance.
"""

import datetime
import logging
import pathlib
import stat
from collections.abc import Iterator, Mapping
from typing import Any

from oslo_config import cfg

LOG = logging.getLogger(__name__)

RECEIVING = ('saving', 'uploading')
"""What an image's status is during ``PUT …/file`` and ``PUT …/stage``."""

OWNED = ('os_glance_import_task', 'os_glance_stage_host')
"""Properties of an image that an import works on, and of one that was staged
to the end: what has been received is whole, or another's."""

STAGING = 'os_glance_staging_store'

SLACK = 1
"""Seconds by which a record may seem older than it is: MariaDB cuts them."""


def mend(image_id: str, begun: float) -> None:
    """Remove half an image's data, and let its owner upload it again.

    The data goes first: until the image is queued again, Glance refuses
    another upload to it, so nobody else's data can be met.

    :param begun: when the upload began, in seconds since 1970
    :raises Exception: whatever Glance raises when its database fails
    :raises OSError: the data can't be removed
    """
    # Importing Glance registers its options, which only servers may do.
    from glance import context
    from glance import db
    from glance.common import exception

    database, admin = db.get_api(), context.get_admin_context()
    try:
        image = database.image_get(admin, image_id, force_show_deleted=True)
    except exception.ImageNotFound:  # deleted, and purged since
        _remove(image_id)
        return
    if any(place['status'] != 'deleted' for place in image['locations']):
        return
    if image['deleted']:
        _remove(image['id'])
    elif _is_half(image, begun):
        _remove(image['id'])
        try:
            database.image_update(
                admin,
                image['id'],
                {'status': 'queued'},
                from_state=image['status'],
            )
        except (exception.Conflict, exception.ImageNotFound) as error:
            LOG.info('Image %s has just changed: %s', image_id, error)
        else:
            LOG.warning(
                'The process that received image %s has died. The image is '
                'queued again.',
                image_id,
            )


def _is_half(image: Mapping[str, Any], begun: float) -> bool:
    """Whether the upload that began then is what the image waits for.

    Its status was changed after that, by this upload. A younger one was
    refused: the image waits for another, perhaps on another machine that has
    the same stores.
    """
    changed = image['updated_at'].replace(tzinfo=datetime.timezone.utc)
    properties = {
        each['name'] for each in image['properties'] if not each['deleted']
    }
    return (
        image['status'] in RECEIVING
        and properties.isdisjoint(OWNED)
        and begun <= changed.timestamp() + SLACK
    )


def _remove(image_id: str) -> None:
    for directory in directories(cfg.CONF):
        path = directory / image_id
        try:
            regular = stat.S_ISREG(path.lstat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if regular:
            LOG.warning('Removing half an upload: %s', path)
            path.unlink(missing_ok=True)
        else:  # Glance writes files; a link may lead anywhere
            LOG.warning('Left alone, not a file of a store: %s', path)


def directories(conf: cfg.ConfigOpts) -> Iterator[pathlib.Path]:
    """Where uploads are written: file stores, and the staging area."""
    yield from store_directories(conf)
    if conf.enabled_backends:
        yield from data_directories(conf[STAGING])
    else:
        yield pathlib.Path(conf.node_staging_uri.removeprefix('file://'))


def store_directories(conf: cfg.ConfigOpts) -> Iterator[pathlib.Path]:
    """Where file stores keep the data of images."""
    if not conf.enabled_backends:
        if 'file' in conf.glance_store.stores:
            yield from data_directories(conf.glance_store)
        return
    for name in file_stores(conf.enabled_backends):
        yield from data_directories(conf[name])


def file_stores(backends: Mapping[str, str]) -> list[str]:
    """The names of the file stores.

    :param backends: ``enabled_backends``
    """
    return [
        name
        for name, kind in backends.items()
        if kind == 'file' and not name.startswith('os_glance_')
    ]


def data_directories(
    store: cfg.ConfigOpts.GroupAttr,
) -> Iterator[pathlib.Path]:
    """The directories of one file store."""
    if store.filesystem_store_datadir:
        yield pathlib.Path(store.filesystem_store_datadir)
    for each in store.filesystem_store_datadirs or ():
        # A priority may follow the path.
        yield pathlib.Path(each.rsplit(':', 1)[0].strip())
