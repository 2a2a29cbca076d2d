"""The applications of a deployment, and the files that they read."""

import dataclasses
import hashlib
import pathlib
import subprocess
from collections.abc import Mapping
from typing import Any
from urllib import parse

from glance_wsgi import errors
from glance_wsgi import gate
from glance_wsgi import keystone
from glance_wsgi import lifecycle
from glance_wsgi import nodes
from glance_wsgi import programs
from glance_wsgi import source
from glance_wsgi import state
from glance_wsgi import stopping
from glance_wsgi import upstream
from glance_wsgi.data import downloads
from glance_wsgi.deployment import FEW_PROCESSES
from glance_wsgi.deployment import Deployment
from glance_wsgi.render import File

KEYSTONE = 'keystone'
SOURCE = 'image-source'

FEW_THREADS = 4
"""Of an application that answers at once; see `FEW_PROCESSES`."""

PIPELINES = tuple(
    f'glance-api{flavor}'
    for flavor in (
        *('', '-caching', '-cachemanagement'),
        *('-keystone', '-keystone+caching', '-keystone+cachemanagement'),
    )
)
"""What [paste_deploy] flavor may choose of Glance's Paste file."""


@dataclasses.dataclass(frozen=True)
class Application:
    """One application that a server runs.

    :param module: the module that has the WSGI callable ``application``
    :param script: the file that a web server loads it by
    :param ready: a file that is touched each time it has been loaded
    :param busy: a file that is locked while it has to do with a transfer or
        an import
    :param listen: HOST:PORT
    :param path: the path before its own; empty for the root
    :param health: a URL that answers 200 when the application serves
    :param environment: variables that the application finds its
        configuration by, and files that it locks; nothing secret
    :param files: the files that it reads, its script among them
    :param data: directories with image data that the web server may send
    """

    name: str
    module: str
    script: pathlib.Path
    ready: pathlib.Path
    busy: pathlib.Path
    listen: str
    path: str
    health: str
    processes: int
    threads: int
    environment: Mapping[str, str]
    files: tuple[File, ...]
    data: tuple[pathlib.Path, ...] = ()


def of(deployment: Deployment) -> tuple[Application, ...]:
    """The applications of this deployment, in the order of their start.

    The last one is the Glance that clients use.
    """
    if deployment.hosted is not None:
        return _hosted(deployment, deployment.hosted)
    glance, *others = nodes.of(deployment)
    return (
        *((_keystone(deployment),) if deployment.embedded_keystone else ()),
        *((_source(deployment),) if deployment.gate else ()),
        *(_glance(deployment, node, FEW_PROCESSES) for node in others),
        _glance(deployment, glance, deployment.workers),
    )


def can_be_made(deployment: Deployment) -> bool:
    """Whether there is everything that `of` needs.

    There is no service user yet, or no secrets, where "up" has not come far.
    What others have configured has its secrets itself.
    """
    if deployment.user.owner is None:
        return False
    return deployment.hosted is not None or deployment.state.secrets.exists()


def names(deployment: Deployment) -> list[str]:
    """Their names, also where they can't be made yet."""
    return [
        *([KEYSTONE] if deployment.hosts_keystone else ()),
        *([SOURCE] if deployment.gate else ()),
        *(node.name for node in nodes.of(deployment)),
    ]


def locations(deployment: Deployment) -> list[tuple[str, str]]:
    """Where each application is served: its HOST:PORT and its path."""
    found = [(str(deployment.listen), deployment.path)]
    if deployment.hosts_keystone:
        place = str(deployment.keystone_listen), deployment.keystone_path
        found.insert(0, place)
    if deployment.has_remote:
        found.append((str(deployment.remote_listen), ''))
    if deployment.gate:
        found.append((str(deployment.source_listen), ''))
    return found


def service(deployment: Deployment) -> state.Owner:
    """Who runs the applications; they read their secrets as this user."""
    owner = deployment.user.owner
    if owner is None:
        raise ValueError(f'the user {deployment.user.name} is yet to be made')
    return owner


def _hosted(
    deployment: Deployment, directory: pathlib.Path
) -> tuple[Application, ...]:
    """Those that others have configured: only the scripts are ours."""
    keystone_directory = deployment.conf.deployment.keystone_config_dir
    remote_directory = deployment.conf.gate.remote_config_dir
    found = []
    if keystone_directory:
        place = pathlib.Path(keystone_directory).absolute()
        found.append(
            _keystone_application(deployment, place, (), _contents(place))
        )
    glance, *others = nodes.of(deployment)
    for node in others:
        place = pathlib.Path(remote_directory).absolute()
        found.append(_hosted_glance(deployment, node, FEW_PROCESSES, place))
    return (
        *found,
        _hosted_glance(deployment, glance, deployment.workers, directory),
    )


def _hosted_glance(
    deployment: Deployment,
    node: nodes.Node,
    processes: int,
    directory: pathlib.Path,
) -> Application:
    return _glance_application(
        deployment,
        node,
        processes,
        directory,
        (),
        downloads.configured(directory / 'glance-api.conf'),
        _contents(directory),
    )


def _contents(directory: pathlib.Path) -> str:
    """What is configured in a directory, as one text.

    An empty file configures nothing: the one that takes a node out is such a
    file, which may come and go without anything being new.

    :raises errors.BadOption: it is none that can be read
    """
    try:
        files = sorted(
            item
            for item in directory.iterdir()
            if item.is_file() and item.stat().st_size
        )
        return '\0'.join(
            f'{file.name}\0{file.read_text(errors="replace")}'
            for file in files
        )
    except OSError as error:
        raise errors.BadOption(
            f"The configuration in {directory} can't be read: {error}.",
            'Give the directory that glance-api.conf, or keystone.conf, is '
            'in.',
        ) from error


def _application(
    deployment: Deployment,
    name: str,
    module: str,
    environment: Mapping[str, str],
    files: tuple[File, ...],
    configured: str,
    **facts: Any,
) -> Application:
    run = deployment.places.run
    configured += ''.join(file.text() for file in files)
    code = upstream.fingerprint()
    script = File(
        path=deployment.places.etc / 'wsgi' / f'{name}.wsgi',
        template='application.wsgi.j2',
        variables={
            'name': name,
            'module': module,
            'environment': environment,
            'digest': hashlib.sha256((code + configured).encode()).hexdigest(),
            'ready': run / f'{name}.ready',
        },
        owner=state.Owner.myself(),
    )
    return Application(
        name=name,
        module=module,
        script=script.path,
        ready=run / f'{name}.ready',
        busy=run / f'{name}.busy',
        environment=environment,
        files=(*files, script),
        **facts,
    )


def _glance(
    deployment: Deployment, node: nodes.Node, processes: int
) -> Application:
    conf = File(
        path=node.conf,
        template='glance-api.conf.j2',
        variables=_glance_variables(deployment, node),
        owner=service(deployment),
        mode=0o600,
    )
    paste = File(
        path=node.paste,
        template='glance-api-paste.ini.j2',
        variables={
            'shipped': upstream.shipped('glance-api-paste.ini'),
            'stop_file': node.stop_file,
            'pipelines': PIPELINES,
        },
        owner=state.Owner.myself(),
    )
    sent = downloads.configured(
        deployment.state.own_settings, deployment.file_stores
    )
    cache = [node.cache] if sent and node.cache else []
    return _glance_application(
        deployment,
        node,
        processes,
        conf.path.parent,
        (conf, paste),
        [*sent, *cache],
    )


def _glance_application(
    deployment: Deployment,
    node: nodes.Node,
    processes: int,
    directory: pathlib.Path,
    files: tuple[File, ...],
    data: list[pathlib.Path],
    configured: str = '',
) -> Application:
    hand_off = deployment.conf.transfers.hand_off_downloads
    return _application(
        deployment,
        name=node.name,
        data=tuple(data) if hand_off else (),
        module='glance_wsgi.api',
        environment={
            'OS_GLANCE_CONFIG_DIR': str(directory),
            lifecycle.BUSY: str(deployment.places.run / f'{node.name}.busy'),
            stopping.VARIABLE: str(deployment.places.stopping),
        },
        files=files,
        configured=configured,
        listen=str(node.listen),
        path=node.path,
        health=f'{node.url}/healthcheck',
        processes=processes,
        threads=deployment.size.threads,
    )


def glance_conf(deployment: Deployment) -> pathlib.Path:
    """Glance's configuration file."""
    return nodes.first(deployment).conf


def own_settings(deployment: Deployment) -> str:
    """The person's own settings of Glance; empty if there are none.

    :raises errors.BadOption: the file is no text
    """
    file = deployment.state.own_settings
    try:
        return file.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return ''
    except (OSError, ValueError) as error:
        raise errors.BadOption(
            f"{file} can't be read as text: {error}.",
            'Correct it, or remove it.',
        ) from error


def _glance_variables(
    deployment: Deployment, node: nodes.Node
) -> dict[str, Any]:
    options = deployment.conf.deployment
    return {
        'own_settings': deployment.state.own_settings,
        'own_settings_text': own_settings(deployment),
        'stores': [f'{name}:{kind}' for name, kind in options.stores.items()],
        'default_store': next(iter(options.stores)),
        'file_stores': deployment.file_stores,
        'staging': node.staging,
        'tasks': node.tasks,
        'cache': node.cache,
        'locks': node.locks,
        'self_url': node.url,
        'gate': deployment.gate,
        'database': deployment.database,
        'database_pool': deployment.size.pool,
        'paste_file': node.paste,
        'hand_off': deployment.conf.transfers.hand_off_downloads,
        'requests_at_once': deployment.conf.admission.requests_at_once,
        'task_heartbeat': deployment.conf.task_engine.task_heartbeat,
        'task_attempts': deployment.conf.task_engine.task_attempts,
        'upload_pipeline': deployment.conf.transfers.upload_pipeline,
        'public_endpoint': node.endpoint,
        'keystone_ca': deployment.conf.tls.tls_ca,
        'keystone_url': deployment.keystone_url,
        'service_name': keystone.service_user(deployment),
        'service_password': deployment.passwords['glance_password'],
        'python': deployment.python,
        **_source_variables(deployment),
    }


def _source_variables(deployment: Deployment) -> dict[str, Any]:
    """What lets Glance download from the source of a gate, and itself."""
    if not deployment.gate:
        return {'source_hosts': [], 'source_ports': []}
    place = deployment.source_listen.reachable
    own = parse.urlsplit(deployment.endpoint)
    return {
        'source_hosts': sorted({place.host, str(own.hostname)}),
        'source_ports': sorted({place.port, own.port}),
    }


def _source(deployment: Deployment) -> Application:
    directory = gate.source_directory(deployment)
    return _application(
        deployment,
        name=SOURCE,
        module='glance_wsgi.source_api',
        environment={source.DIRECTORY: str(directory)},
        files=(),
        configured='',
        listen=str(deployment.source_listen),
        path='',
        health=f'{gate.source_url(deployment)}/',
        processes=FEW_PROCESSES,
        threads=FEW_THREADS,
    )


def _keystone(deployment: Deployment) -> Application:
    conf = File(
        path=deployment.state.etc / 'keystone' / 'keystone.conf',
        template='keystone.conf.j2',
        variables={
            'public_endpoint': deployment.keystone_url[: -len('/v3')],
            'database_file': keystone.database_file(deployment),
            'fernet_keys': deployment.state.fernet_keys,
            'credential_keys': deployment.state.credential_keys,
            'gate': deployment.gate,
        },
        owner=service(deployment),
        mode=0o600,
    )
    return _keystone_application(deployment, conf.path.parent, (conf,))


def _keystone_application(
    deployment: Deployment,
    directory: pathlib.Path,
    files: tuple[File, ...],
    configured: str = '',
) -> Application:
    listen = deployment.keystone_listen
    path = deployment.keystone_path
    return _application(
        deployment,
        name=KEYSTONE,
        module='glance_wsgi.keystone_api',
        environment={'OS_KEYSTONE_CONFIG_DIR': str(directory)},
        files=files,
        configured=configured,
        listen=str(listen),
        path=path,
        health=f'{deployment.scheme}://{listen.reachable}{path}/v3',
        processes=FEW_PROCESSES,
        threads=FEW_THREADS,
    )


# Without an argument, which the application would take for its own. It ends
# at once in both cases: threads that the application has started have more to
# say when Python ends, but nothing that matters.
_LOAD = """
import os, traceback
try:
    import {module}
except BaseException:
    traceback.print_exc()
    os._exit(1)
os._exit(0)
"""


def check_loads(deployment: Deployment, application: Application) -> None:
    """Load an application as its worker would, but serve nothing.

    :raises errors.ServerRefuses: it can't be loaded
    """
    result = subprocess.run(
        [deployment.python, '-c', _LOAD.format(module=application.module)],
        cwd='/',
        env=programs.environment(
            deployment.places.run, application.environment
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors='replace',
        umask=0o077,
        **deployment.user.popen_arguments(),
    )
    if result.returncode:
        said = programs.complaint(result.stderr) or (
            f'exit code {result.returncode}'
        )
        raise errors.ServerRefuses(
            f"{application.name} can't be loaded: {said}.",
            'Correct its configuration; what serves goes on with the one '
            'before.',
        )
