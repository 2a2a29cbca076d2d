"""What is checked before anything is changed."""

import os
import pathlib
import re
import shutil
import ssl
import subprocess
from collections.abc import Mapping, Sequence

from glance_wsgi import addresses
from glance_wsgi import applications
from glance_wsgi import db
from glance_wsgi import errors
from glance_wsgi import gate
from glance_wsgi import keystone
from glance_wsgi import processes
from glance_wsgi import render
from glance_wsgi import servers
from glance_wsgi import state
from glance_wsgi import upstream
from glance_wsgi.db import plan
from glance_wsgi.deployment import Deployment

STORE_KINDS = ('file', 'http')
RESERVED = 'os_glance_'
# Directories beside those of the stores. Glance deletes from staging what is
# not being imported.
TAKEN = ('staging', 'tasks')

FREE_SPACE = 1024**3
"""Bytes that must be free: one small image in staging and in two stores."""


def check(deployment: Deployment, server: servers.Server) -> None:
    """All checks, the cheap ones first; changes nothing.

    :raises errors.GlanceWSGIError: the first thing that is wrong
    """
    check_not_hosted(deployment)
    check_same_server(deployment)
    check_paths(deployment)
    check_versions(deployment)
    server.version()
    server.check()
    check_stores(deployment)
    check_templates(deployment)
    check_state_dir(deployment)
    check_own_settings(deployment)
    check_python(deployment)
    check_certificate(deployment)
    check_ports(deployment, server)
    check_database(deployment)
    if not deployment.embedded_keystone:
        check_keystone(deployment)


def check_not_hosted(deployment: Deployment) -> None:
    """It is not meant to host what somebody else has configured."""
    if deployment.hosted is not None:
        raise errors.BadOption(
            '"up" configures a Glance of its own and does not touch that in '
            f'{deployment.hosted}.',
            'Leave --glance-config-dir out, or use "render" or "install".',
        )
    if deployment.conf.deployment.run_as:
        raise errors.BadOption(
            'What "up" makes runs as its own service user, not as '
            f'{deployment.user.name}.',
            'Leave --run-as out, or use it with "install" and '
            '--glance-config-dir.',
        )


def check_same_server(deployment: Deployment) -> None:
    """Nothing runs that another way to host has started."""
    before = (deployment.marker or {}).get('server', 'uwsgi')
    name = deployment.conf.deployment.server
    if before != name and servers.load(deployment, before).processes():
        raise errors.BadOption(
            f'The deployment runs under {before}, which {name} cannot '
            'replace while it runs.',
            'Run "glance-wsgi down" first.',
        )


def check_templates(deployment: Deployment) -> None:
    """Every file can be rendered, so that none is written where one can't."""
    imagined = deployment.imagined()
    for file in (
        *servers.load(imagined).all_files(applications.of(imagined)),
        *((gate.tempest_file(imagined),) if imagined.gate else ()),
    ):
        file.text()


def check_paths(deployment: Deployment) -> None:
    """Every format that our paths are written in can hold them.

    Paste separates names by blanks and a file from its section by "#";
    uWSGI and ini files have their own special characters.
    """
    for what, path, kind in (
        ('state directory', deployment.state.path, errors.StateNotWritable),
        ('virtualenv', deployment.python, errors.PythonNotReadable),
    ):
        _check_path(what, path, kind)


def _check_path(
    what: str, path: pathlib.Path, kind: type[errors.GlanceWSGIError]
) -> None:
    if odd := sorted(set(re.findall(r'[^\w./+:@~=-]', str(path)))):
        raise kind(
            f'The path of the {what}, {path}, has {odd[0]!r} in it, '
            'which configuration files have another use for.',
            'Choose a path of letters, digits and "._-+/".',
        )


def check_versions(deployment: Deployment) -> None:
    """The installed Glance is supported, and fits to what is there."""
    found = upstream.version()
    marker = deployment.marker
    if marker is None or marker.get('complete') or not marker.get('glance'):
        return
    if _series(marker['glance']) != _series(found):
        raise errors.StateForeign(
            f'{deployment.state.path} was left half-written with Glance '
            f'{marker["glance"]}; this is Glance {found}.',
            'Finish it with that version, or remove it with "glance-wsgi '
            'down --purge".',
        )


def _series(version: object) -> str:
    return str(version).split('.')[0]


def check_stores(deployment: Deployment) -> None:
    """Each store is of a kind that we can set up."""
    stores = deployment.conf.deployment.stores
    sections = render.sections('glance-api.conf.j2')
    for name, kind in stores.items():
        if kind not in STORE_KINDS:
            raise errors.StoreUnknown(
                f'The store "{name}" is of the unknown kind "{kind}".',
                f'--stores knows the kinds {", ".join(STORE_KINDS)}.',
            )
        if name.startswith(RESERVED) or not name.replace('_', '').isalnum():
            raise errors.StoreUnknown(
                f'"{name}" can\'t be the name of a store.',
                'Use letters, digits and underscores, and do not begin with '
                f'"{RESERVED}", which Glance keeps for itself.',
            )
        if name in TAKEN or name in sections:
            raise errors.StoreUnknown(
                f'"{name}" can\'t be the name of a store: it has another '
                'use in the data directory or in glance-api.conf.',
                'Choose another name.',
            )
    if 'file' not in stores.values() or next(iter(stores.values())) != 'file':
        raise errors.StoreUnknown(
            'The first store, which is the default one, is not of the kind '
            '"file", so no image could be uploaded.',
            'Put a file store first: --stores fast:file,web:http.',
        )
    if deployment.gate:
        gate.check(deployment)


def check_own_settings(deployment: Deployment) -> None:
    """The person's own settings, if there are any, are a text file."""
    applications.own_settings(deployment)


def _existing(path: pathlib.Path) -> pathlib.Path:
    while not path.exists():
        path = path.parent
    return path


def check_state_dir(deployment: Deployment) -> None:
    """It can be written, the service user reaches it, the disk has room."""
    path = deployment.state.path
    place = _existing(path)
    if not place.is_dir():
        raise state.not_writable(path, f'{place} is not a directory')
    if not os.access(place, os.W_OK | os.X_OK):
        raise state.not_writable(path, f'no right to write to {place}')
    if deployment.marker is None and path.is_dir():
        foreign = sorted(
            entry.name
            for entry in path.iterdir()
            if entry.name not in ('.lock', 'etc')
        )
        if foreign:
            raise errors.StateForeign(
                f'{path} is not empty and not a deployment (it has '
                f'{foreign[0]}).',
                'Choose an empty or new --state-dir.',
            )
    made = deployment.state.directories()
    for folder in (
        *reversed((place, *place.parents)),
        *filter(pathlib.Path.is_dir, made),
    ):
        if not _may_enter(folder, deployment.user.owner):
            raise errors.StateNotReachable(
                f'The user {deployment.user.name}, who runs the services, '
                f'may not enter {folder}.',
                'Choose a --state-dir outside of it, such as '
                '/var/lib/glance-wsgi.',
            )
    free = shutil.disk_usage(place).free
    complete = deployment.marker and deployment.marker.get('complete')
    # A deployment whose disk is filling up must still be repairable.
    if free < FREE_SPACE and not complete:
        raise errors.DiskFull(
            f'Only {free >> 20} MiB are free where {path} is; at least '
            f'{FREE_SPACE >> 20} MiB are needed.',
            'Make room, or choose a --state-dir on another disk.',
        )


def _may_enter(folder: pathlib.Path, owner: state.Owner | None) -> bool:
    # As another user, or one that is yet to be made: its rights are those of
    # "others". As ourselves: the system knows.
    if owner == state.Owner.myself():
        return os.access(folder, os.X_OK)
    facts = folder.stat()
    if owner is not None and facts.st_uid == owner.uid:
        return bool(facts.st_mode & 0o100)
    if owner is not None and facts.st_gid == owner.gid:
        return bool(facts.st_mode & 0o010)
    return bool(facts.st_mode & 0o001)


def check_python(deployment: Deployment) -> None:
    """The service user can run our Python and import this package.

    A Python under a home with mode 0700 is the usual cause when it can't.
    """
    try:
        result = _as_service(
            deployment,
            [deployment.python, '-c', 'import glance_wsgi.app, glance'],
        )
        said = result.stderr.strip().splitlines()
        if result.returncode == 0:
            return
        cause = said[-1] if said else f'exit code {result.returncode}'
    except OSError as error:
        cause = str(error)
    raise errors.PythonNotReadable(
        f"The user {deployment.user.name}, who runs the services, can't run "
        f'{deployment.python}: {cause}.',
        'Make the virtualenv where everybody may read, from a Python that '
        'everybody may read (not one in a home with mode 0700): for example '
        '"/usr/bin/python3 -m venv /opt/glance-wsgi/venv".',
    )


def _as_service(
    deployment: Deployment, command: Sequence[str | pathlib.Path]
) -> subprocess.CompletedProcess[str]:
    """Run a command with the rights of the service user."""
    user = deployment.user.popen_arguments()
    if os.geteuid() == 0 and not user:
        user = {'user': 65534, 'group': 65534, 'extra_groups': []}  # nobody
    elif user:
        # As a service has them, which may read what its groups may.
        user['extra_groups'] = sorted(deployment.user.groups())
    return subprocess.run(
        command, cwd='/', env={}, capture_output=True, text=True, **user
    )


def check_certificate(deployment: Deployment, by_root: bool = False) -> None:
    """The certificate and its key fit, and the service user reads both.

    :param by_root: whether root reads them, before it serves as another user
    """
    if deployment.tls is None:
        return
    certificate, key = deployment.tls['certificate'], deployment.tls['key']
    for file, option in (
        (certificate, '--tls-certificate'),
        (key, '--tls-key'),
    ):
        _check_path('certificate or key', file, errors.BadCertificate)
        if not file.is_absolute():
            raise errors.BadCertificate(
                f'{file} is relative, and the services work elsewhere.',
                f'Give {option} an absolute path.',
            )
        if not by_root and not may_read(deployment, file):
            raise errors.BadCertificate(
                f"{file} can't be read by the user {deployment.user.name}, "
                'who runs the services.',
                f'Give {option} the absolute path of a file that this user '
                'may read.',
            )
    check_pair(certificate, key)


def may_read(deployment: Deployment, file: pathlib.Path) -> bool:
    """Whether the service user may."""
    return not _as_service(
        deployment, ['/usr/bin/test', '-r', file]
    ).returncode


def check_pair(certificate: pathlib.Path, key: pathlib.Path) -> None:
    """The key is that of the certificate.

    :raises errors.BadCertificate: it is not, or one of them is no such thing
    """
    try:
        # Without a password for it, or the person would be asked for one.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            certificate, key, password=''
        )
    except (OSError, ValueError) as error:
        why = getattr(error, 'reason', None) or str(error)
        raise errors.BadCertificate(
            f'{certificate} and {key} are not a certificate and its key: '
            f'{why}.',
            'Give --tls-certificate and --tls-key two PEM files that belong '
            'together, the key without a passphrase.',
        ) from error


def check_ports(deployment: Deployment, server: servers.Server) -> None:
    """The addresses are free, or ours already."""
    # Computed for their errors: addresses that clients can't be told.
    _ = deployment.endpoint, deployment.keystone_url
    wanted = dict(deployment.listening())
    # By the port alone: a wider or narrower address of it replaces ours.
    ours = {
        connection.laddr.port
        for _, process in server.processes()
        for connection in processes.listening(process)
    }
    for option, address in wanted.items():
        if address.port not in ours:
            address.check_free(option)
    check_apart(wanted)


def check_apart(wanted: Mapping[str, addresses.Address]) -> None:
    """No two addresses have the same port.

    :param wanted: the addresses by their options
    :raises errors.PortInUse: two have
    """
    shared = wanted.get('--keystone-listen') == wanted['--listen']
    ports = [
        address.port
        for option, address in wanted.items()
        # The same in full is for the server to judge; two that differ in the
        # host only may be one to the system.
        if not (shared and option == '--keystone-listen')
    ]
    for port in ports:
        if ports.count(port) > 1:
            raise errors.PortInUse(
                f'Two addresses have the port {port}.',
                f'Give {", ".join(wanted)} different ports; only where Apache '
                'serves may --listen and --keystone-listen be the same in '
                'full.',
            )


def check_database(deployment: Deployment) -> None:
    """It answers, and the installed Glance can upgrade what is in it."""
    file = db.sqlite_file(deployment.database)
    chosen = bool(deployment.conf.deployment.database)
    if chosen and file and not file.parent.is_dir():
        raise errors.DatabaseUnsupported(
            f'{file.parent}, where the SQLite file should be, is no '
            'directory.',
            'Make it for the user who runs the services, or give another '
            'file in --database.',
        )
    if file and not chosen:
        db.roll_back(file)
    found = db.current_revisions(deployment.database)
    if found and not known_current(deployment, found):
        plan.make(db.parse(deployment.database))


def check_keystone(deployment: Deployment) -> None:
    """It answers, and accepts whom it has to before Glance is registered."""
    keystone.check_answers(deployment.keystone_url, deployment.verify)
    begun = deployment.state.secrets.exists()
    if not (begun and keystone.is_registered(deployment)):
        keystone.check_registrable(deployment)


def known_current(deployment: Deployment, found: tuple[str, ...]) -> bool:
    """Whether we left the database at this revision with this very Glance.

    Asking Glance's own migrations takes a second; this takes nothing.
    """
    marker = deployment.marker or {}
    return (
        marker.get('glance') == upstream.version()
        and tuple(marker.get('database_revision') or ()) == found
    )
