"""The Glance nodes of a deployment: one, and where Tempest runs a second one.

Nodes have the database and the stores in common. What each has for itself is
here: where it listens, and where it stages, caches and locks.
"""

import dataclasses
import pathlib

from glance_wsgi import addresses
from glance_wsgi.deployment import Deployment

REMOTE_TYPE = 'image_remote'
"""The second node's type in the service catalogue; devstack's has the same."""


@dataclasses.dataclass(frozen=True)
class Node:
    """One Glance.

    :param name: that of its application
    :param service: its name in Keystone's catalogue
    :param service_type: and its type there
    :param listen: where it listens
    :param path: the path before its own; empty for the root
    :param endpoint: the URL that clients are told
    :param url: a URL that this machine itself can use, and no other node has
    :param conf: its configuration file
    :param paste: what Paste.Deploy makes its application of
    :param stop_file: while it is there, the node begins nothing
    :param staging: where uploads for an import wait
    :param tasks: where imports work
    :param cache: where it caches images; None where it does not
    :param locks: the files by which its workers take turns
    """

    name: str
    service: str
    service_type: str
    listen: addresses.Address
    path: str
    endpoint: str
    url: str
    conf: pathlib.Path
    paste: pathlib.Path
    stop_file: pathlib.Path
    staging: pathlib.Path
    tasks: pathlib.Path
    cache: pathlib.Path | None
    locks: pathlib.Path

    def directories(self) -> tuple[pathlib.Path, ...]:
        """What it writes to, and finds there when it starts."""
        own = (self.staging, self.tasks)
        return (*own, self.cache) if self.cache else own


def of(deployment: Deployment) -> tuple[Node, ...]:
    """The nodes that are configured here, the one that clients use first."""
    if deployment.has_remote:
        return (first(deployment), _second(deployment))
    return (first(deployment),)


def first(deployment: Deployment) -> Node:
    """The one that every deployment has."""
    state = deployment.state
    return Node(
        name='glance-api',
        service='glance',
        service_type='image',
        listen=deployment.listen,
        path=deployment.path,
        endpoint=deployment.endpoint,
        url=deployment.local_endpoint,
        conf=state.etc / 'glance' / 'glance-api.conf',
        paste=state.etc / 'glance' / 'glance-api-paste.ini',
        stop_file=state.etc / 'glance' / 'healthcheck_disable',
        staging=state.data / 'staging',
        tasks=state.data / 'tasks',
        cache=state.gate / 'cache' if deployment.gate else None,
        locks=state.run / 'locks',
    )


def _second(deployment: Deployment) -> Node:
    state = deployment.state
    listen = deployment.remote_listen
    return Node(
        name='glance-api-remote',
        service='glance_remote',
        service_type=REMOTE_TYPE,
        listen=listen,
        path='',
        endpoint=deployment.public_url(listen, ''),
        url=f'{deployment.scheme}://{listen.reachable}',
        conf=state.etc / 'glance-remote' / 'glance-api.conf',
        paste=state.etc / 'glance-remote' / 'glance-api-paste.ini',
        stop_file=state.etc / 'glance-remote' / 'healthcheck_disable',
        staging=state.gate / 'remote-staging',
        tasks=state.gate / 'remote-tasks',
        cache=state.gate / 'remote-cache',
        locks=state.run / 'remote-locks',
    )
