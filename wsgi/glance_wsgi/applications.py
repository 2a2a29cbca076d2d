"""The applications of a deployment, and the files that they read."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from glance_wsgi import errors
from glance_wsgi import keystone
from glance_wsgi import state
from glance_wsgi import upstream
from glance_wsgi.deployment import Deployment
from glance_wsgi.render import File

GLANCE = 'glance-api'
KEYSTONE = 'keystone'

# The embedded Keystone only issues and checks tokens.
KEYSTONE_PROCESSES = 2
KEYSTONE_THREADS = 4


@dataclasses.dataclass(frozen=True)
class Application:
    """One application that a server runs.

    :param module: ``package.module:callable``, the WSGI application
    :param listen: HOST:PORT
    :param health: a URL that answers 200 when the application serves
    :param environment: variables that the application finds its
        configuration by; nothing secret
    :param files: the files that it reads
    """

    name: str
    module: str
    listen: str
    health: str
    processes: int
    threads: int
    environment: Mapping[str, str]
    files: tuple[File, ...]


def of(deployment: Deployment) -> tuple[Application, ...]:
    """The applications of this deployment, in the order of their start."""
    if deployment.embedded_keystone:
        return (_keystone(deployment), _glance(deployment))
    return (_glance(deployment),)


def service(deployment: Deployment) -> state.Owner:
    """Who runs the applications; they read their secrets as this user."""
    owner = deployment.user.owner
    if owner is None:
        raise ValueError(f'the user {deployment.user.name} is yet to be made')
    return owner


def _glance(deployment: Deployment) -> Application:
    directory = deployment.state.etc / 'glance'
    paste_file = directory / 'glance-wsgi-paste.ini'
    return Application(
        name=GLANCE,
        module='glance_wsgi.api:application',
        listen=str(deployment.listen),
        health=f'{deployment.local_endpoint}/healthcheck',
        processes=deployment.workers,
        threads=deployment.conf.server.threads,
        environment={'OS_GLANCE_CONFIG_DIR': str(directory)},
        files=(
            File(
                path=glance_conf(deployment),
                template='glance-api.conf.j2',
                variables=_glance_variables(deployment, paste_file),
                owner=service(deployment),
                mode=0o600,
            ),
            File(
                path=paste_file,
                template='glance-wsgi-paste.ini.j2',
                variables={
                    'glance_paste_file': upstream.shipped(
                        'glance-api-paste.ini'
                    )
                },
                owner=state.Owner.myself(),
            ),
        ),
    )


def glance_conf(deployment: Deployment) -> pathlib.Path:
    """Glance's configuration file."""
    return deployment.state.etc / 'glance' / 'glance-api.conf'


def own_settings(deployment: Deployment) -> str:
    """The person's own settings of Glance; empty if there are none.

    :raises errors.BadOption: the file is no text
    """
    file = deployment.state.own_settings
    try:
        return file.read_text()
    except FileNotFoundError:
        return ''
    except (OSError, ValueError) as error:
        raise errors.BadOption(
            f"{file} can't be read as text: {error}.",
            'Correct it, or remove it.',
        ) from error


def _glance_variables(
    deployment: Deployment, paste_file: pathlib.Path
) -> dict[str, Any]:
    options = deployment.conf.deployment
    return {
        'own_settings': deployment.state.own_settings,
        'own_settings_text': own_settings(deployment),
        'stores': [f'{name}:{kind}' for name, kind in options.stores.items()],
        'default_store': next(iter(options.stores)),
        'file_stores': deployment.file_stores,
        'staging': deployment.state.data / 'staging',
        'tasks': deployment.state.data / 'tasks',
        'locks': deployment.state.run / 'locks',
        'self_url': deployment.local_endpoint,
        'database': deployment.database,
        'paste_file': paste_file,
        'keystone_url': deployment.keystone_url,
        'service_name': keystone.service_user(deployment),
        'service_password': deployment.passwords['glance_password'],
        'python': deployment.python,
    }


def _keystone(deployment: Deployment) -> Application:
    directory = deployment.state.etc / 'keystone'
    listen = deployment.keystone_listen
    return Application(
        name=KEYSTONE,
        module='keystone.wsgi.api:application',
        listen=str(listen),
        health=f'http://{listen.reachable}/v3',
        processes=KEYSTONE_PROCESSES,
        threads=KEYSTONE_THREADS,
        environment={'OS_KEYSTONE_CONFIG_DIR': str(directory)},
        files=(
            File(
                path=directory / 'keystone.conf',
                template='keystone.conf.j2',
                variables={
                    'public_endpoint': deployment.keystone_url[: -len('/v3')],
                    'database_file': keystone.database_file(deployment),
                    'fernet_keys': deployment.state.fernet_keys,
                    'credential_keys': deployment.state.credential_keys,
                },
                owner=service(deployment),
                mode=0o600,
            ),
        ),
    )
