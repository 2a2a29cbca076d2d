"""What Tempest needs of a deployment, and what it is told of it.

OpenStack's tests of the Images API, ``tempest.api.image`` and
glance-tempest-plugin, skip whatever their tempest.conf does not say is there.
A gate has all of it; its second Glance node is in `glance_wsgi.nodes`.
"""

import hashlib
import pathlib
import struct

from glance_wsgi import errors
from glance_wsgi import keystone
from glance_wsgi import nodes
from glance_wsgi import state
from glance_wsgi.deployment import Deployment
from glance_wsgi.render import File

HTTP_STORE = 'web'
"""The http store has this name: the suite asks for it by that."""

RAW = 'image.raw'
QCOW2 = 'image.qcow2'

SIZE = 1 << 20
"""Bytes of the images; the suite fetches them many times."""


def check(deployment: Deployment) -> None:
    """Refuse options that the suites can't pass with.

    :raises errors.GateUnsuitable: the first such option
    """
    options = deployment.conf.deployment
    stores = options.stores
    if stores.get(HTTP_STORE) != 'http' or len(deployment.file_stores) < 2:
        raise errors.GateUnsuitable(
            f'--stores has {len(deployment.file_stores)} stores of the kind '
            f'"file", and "{HTTP_STORE}" is {stores.get(HTTP_STORE)!r}.',
            'Give two of the kind "file", for copies, and one of the kind '
            f'"http" with the name "{HTTP_STORE}", for locations: as the '
            'default has them.',
        )
    if deployment.state.gate in deployment.file_stores.values():
        raise errors.GateUnsuitable(
            f'The store "{deployment.state.gate.name}" would be in the '
            "directory that has the gate's own data.",
            'Give the store another name.',
        )
    if not deployment.embedded_keystone:
        raise errors.GateUnsuitable(
            f'Keystone is another one, at {deployment.keystone_url}, and '
            'Tempest needs the password of its administrator.',
            'Leave --keystone out. Where there is a cloud already, Tempest '
            'has been configured by whoever made it.',
        )
    if deployment.encrypted:
        raise errors.GateUnsuitable(
            'Everything would be encrypted, and Glance downloads only from '
            'sources whose certificate its system knows.',
            'Leave --tls-certificate and --tls-key out.',
        )


def source_directory(deployment: Deployment) -> pathlib.Path:
    """Where the images are that Glance is made to download."""
    return deployment.state.gate / 'source'


def source_url(deployment: Deployment) -> str:
    """Where they are served; Glance itself and Tempest reach it."""
    return f'{deployment.scheme}://{deployment.source_listen.reachable}'


def directories(deployment: Deployment) -> tuple[pathlib.Path, ...]:
    """The directories of a gate that no node has, parents first."""
    if not deployment.gate:
        return ()
    return (deployment.state.gate, source_directory(deployment))


def write_images(deployment: Deployment) -> bool:
    """Write what Glance is made to download; False if it was there."""
    directory = source_directory(deployment)
    images = {RAW: raw(), QCOW2: qcow2()}
    return any(
        [
            state.write_file(
                directory / name, image, state.Owner.myself(), 0o644
            )
            for name, image in images.items()
        ]
    )


def raw() -> bytes:
    """An image without a format, the same each time, with no two halves
    alike."""
    return hashlib.shake_256(b'glance-wsgi').digest(SIZE)


def qcow2() -> bytes:
    """An empty disk as qcow2, version 3, which has no data cluster.

    Four clusters: header, table of reference counts, its one block, L1 table.
    https://www.qemu.org/docs/master/interop/qcow2.html
    """
    bits = 16
    cluster = 1 << bits
    header = struct.pack(
        '>4sIQIIQIIQQIIQQQQII',
        *(b'QFI\xfb', 3),  # magic, version
        *(0, 0),  # no backing file
        *(bits, SIZE),
        0,  # not encrypted
        *(1, 3 * cluster),  # L1 table: entries, offset
        *(1 * cluster, 1),  # table of reference counts: offset, clusters
        *(0, 0),  # no snapshots
        *(0, 0, 0),  # no features
        *(4, 104),  # 16 bits for a reference count; size of this header
    )
    counts = struct.pack('>Q', 2 * cluster), struct.pack('>4H', 1, 1, 1, 1)
    return b''.join(
        part.ljust(cluster, b'\0') for part in (header, *counts, b'')
    )


def tempest_file(deployment: Deployment) -> File:
    """What tells Tempest where everything is; it has the password of the
    administrator, and belongs to the person as clouds.yaml does."""
    account = keystone.account(deployment)
    url = source_url(deployment)
    return File(
        path=deployment.state.tempest,
        template='tempest.conf.j2',
        variables={
            'locks': deployment.state.path / 'tempest-locks',
            'username': account['username'],
            'password': account['password'],
            'project_name': account['project_name'],
            'keystone_url': deployment.keystone_url,
            'region': deployment.conf.deployment.region,
            'remote_type': nodes.REMOTE_TYPE,
            'raw_url': f'{url}/{RAW}',
            'qcow2_url': f'{url}/{QCOW2}',
        },
        owner=state.Owner.myself(),
        mode=0o600,
    )
