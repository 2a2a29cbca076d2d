"""Keystone: an embedded one's set-up, and Glance's place in any one.

https://docs.openstack.org/keystone/latest/cli/index.html
https://docs.openstack.org/api-ref/identity/v3/
"""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

from keystoneauth1 import exceptions
from keystoneauth1 import session
from keystoneauth1.identity import v3

from glance_wsgi import errors
from glance_wsgi import nodes
from glance_wsgi import programs
from glance_wsgi.deployment import CLOUD
from glance_wsgi.deployment import MEMBER_CLOUD
from glance_wsgi.deployment import Deployment

SERVICE_PROJECT = 'service'
MEMBER = 'demo'
"""A user and a project that may use images, and administer nothing."""
DOMAIN = 'default'
INTERFACES = ('public', 'internal')
TIMEOUT = 20  # seconds for one answer of Keystone


def manage(
    deployment: Deployment, *words: str, env: dict[str, str] | None = None
) -> None:
    """Run keystone-manage for the embedded Keystone."""
    config = deployment.state.etc / 'keystone' / 'keystone.conf'
    programs.run(
        [programs.program('keystone-manage'), '--config-file', config, *words],
        deployment.user,
        deployment.state,
        env,
    )


def service_user(deployment: Deployment) -> str:
    """The name of Glance's user in Keystone."""
    return str(deployment.conf.deployment.service_user)


def place(deployment: Deployment) -> list[str]:
    """What a registration is for: the Keystone, the region and the user."""
    return [
        deployment.keystone_url,
        deployment.conf.deployment.region,
        service_user(deployment),
    ]


def database_file(deployment: Deployment) -> pathlib.Path:
    """The embedded Keystone's SQLite database."""
    return deployment.state.data / 'keystone.sqlite'


def set_up_database(deployment: Deployment) -> None:
    """Make the embedded Keystone's tables, or bring them up to date."""
    manage(deployment, 'db_sync')


def make_keys(deployment: Deployment) -> bool:
    """Make the Fernet and credential keys; False if they are there."""
    changed = False
    for command, place in (
        ('fernet_setup', deployment.state.fernet_keys),
        ('credential_setup', deployment.state.credential_keys),
    ):
        # Two keys make a set; an interrupted start may leave fewer, and the
        # command completes them.
        if len(list(place.glob('[0-9]*'))) < 2:
            # It runs as the service user, who then owns the keys.
            manage(deployment, command)
            changed = True
    return changed


def bootstrap(deployment: Deployment) -> None:
    """Make the administrator, the roles and Keystone's own endpoints.

    It may be repeated: what exists is kept, the password is set again.
    """
    url = deployment.keystone_url
    manage(
        deployment,
        'bootstrap',
        f'--bootstrap-region-id={deployment.conf.deployment.region}',
        f'--bootstrap-public-url={url}',
        f'--bootstrap-internal-url={url}',
        f'--bootstrap-admin-url={url}',
        env={'OS_BOOTSTRAP_PASSWORD': deployment.passwords['admin_password']},
    )


def account(deployment: Deployment) -> dict[str, str]:
    """The account that clouds.yaml gives to the person, as in its "auth".

    With an embedded Keystone the administrator; with another one the service
    user, since the administrator's password is none of ours to keep.
    """
    embedded = deployment.embedded_keystone
    return {
        'auth_url': deployment.keystone_url,
        'username': 'admin' if embedded else service_user(deployment),
        'password': deployment.passwords[
            'admin_password' if embedded else 'glance_password'
        ],
        'project_name': 'admin' if embedded else SERVICE_PROJECT,
        'user_domain_id': DOMAIN,
        'project_domain_id': DOMAIN,
    }


def member(deployment: Deployment) -> dict[str, str]:
    """The account of somebody who is no administrator.

    In an embedded Keystone only: in another one it is not ours to make.
    """
    return {
        **account(deployment),
        'username': MEMBER,
        'password': deployment.passwords['member_password'],
        'project_name': MEMBER,
    }


def clouds(deployment: Deployment) -> dict[str, Any]:
    """The contents of clouds.yaml."""
    accounts = {CLOUD: account(deployment)}
    if deployment.embedded_keystone:
        accounts[MEMBER_CLOUD] = member(deployment)
    return {
        'clouds': {
            name: {
                'auth': auth,
                'region_name': deployment.conf.deployment.region,
                'identity_api_version': 3,
                'image_api_version': 2,
                **certificates(deployment),
            }
            for name, auth in accounts.items()
        }
    }


def certificates(deployment: Deployment) -> dict[str, str]:
    """What clouds.yaml says about whom to trust; empty for the usual ones."""
    ca = deployment.conf.tls.tls_ca
    return {'cacert': str(pathlib.Path(ca).absolute())} if ca else {}


def is_registered(deployment: Deployment) -> bool:
    """Whether everybody can log in and the catalogue names our endpoint.

    :raises errors.KeystoneUnreachable: Keystone does not answer
    """
    service = {
        **account(deployment),
        'username': service_user(deployment),
        'password': deployment.passwords['glance_password'],
        'project_name': SERVICE_PROJECT,
    }
    try:
        catalog = _log_in(deployment, service).service_catalog
        if deployment.embedded_keystone:
            _log_in(deployment, member(deployment))
    except (exceptions.Unauthorized, exceptions.NotFound):
        return False
    except exceptions.ClientException as error:
        raise unreachable(
            deployment.keystone_url, error, 'Later steps were not begun.'
        ) from error
    return all(
        catalog.get_urls(
            service_type=service_type,
            interface=interface,
            region_name=deployment.conf.deployment.region,
        )
        == urls
        for service_type, urls in _catalogue(deployment).items()
        for interface in INTERFACES
    )


def _log_in(deployment: Deployment, auth: dict[str, str]) -> Any:
    return v3.Password(**auth).get_access(
        session.Session(timeout=TIMEOUT, verify=deployment.verify)
    )


def _catalogue(deployment: Deployment) -> dict[str, tuple[str, ...]]:
    """What the catalogue should say: the URLs of each type of service.

    In an embedded Keystone there is no second node where we have none; in
    another one it is none of our business.
    """
    none: dict[str, tuple[str, ...]] = {nodes.REMOTE_TYPE: ()}
    ours = {
        node.service_type: (node.endpoint,) for node in nodes.of(deployment)
    }
    return {**(none if deployment.embedded_keystone else {}), **ours}


def register(deployment: Deployment) -> None:
    """Make users, services and endpoints, as an administrator.

    :raises errors.KeystoneRefused: the administrator is not accepted
    """
    with _explained(deployment):
        identity = _administrator(deployment)
        _register_user(
            identity,
            service_user(deployment),
            deployment.passwords['glance_password'],
            SERVICE_PROJECT,
            ('service', 'member'),
        )
        if deployment.embedded_keystone:
            password = deployment.passwords['member_password']
            _register_user(identity, MEMBER, password, MEMBER, ('member',))
        for node in nodes.of(deployment):
            service = _service(identity, node)
            for interface in INTERFACES:
                _register_endpoint(
                    deployment, identity, service, interface, node.endpoint
                )
        for service_type, urls in _catalogue(deployment).items():
            if not urls:
                for service in identity.services(type=service_type):
                    identity.delete_service(service)


def check_registrable(deployment: Deployment) -> None:
    """Log in as the administrator, and see that no other Glance is there.

    :raises errors.KeystoneRefused: there is no administrator, it is not
        accepted, or another Glance has the region's endpoint or our user
    """
    with _explained(deployment):
        identity = _administrator(deployment)
        if (deployment.marker or {}).get('registered') == place(deployment):
            return
        name = service_user(deployment)
        if identity.find_user(name, domain_id=DOMAIN):
            raise errors.KeystoneRefused(
                f'Keystone at {deployment.keystone_url} has a user "{name}" '
                'already; another Glance may need its password.',
                'Give another name with --service-user, or remove that user.',
            )
        region = deployment.conf.deployment.region
        service_type = nodes.first(deployment).service_type
        for service in identity.services(type=service_type):
            for endpoint in identity.endpoints(
                service_id=service.id, region_id=region
            ):
                if endpoint.url != deployment.endpoint:
                    raise errors.KeystoneRefused(
                        f'The region {region} has an Images API already, at '
                        f'{endpoint.url}.',
                        'Choose another --region, or remove that endpoint.',
                    )


@contextlib.contextmanager
def _explained(deployment: Deployment) -> Iterator[None]:
    try:
        yield
    except (
        exceptions.Unauthorized,
        exceptions.Forbidden,
        exceptions.MissingRequiredOptions,
        exceptions.EmptyCatalog,
    ) as error:
        action = (
            'Give an administrator in the environment (OS_CLOUD, or '
            'OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME and so on).'
        )
        if deployment.embedded_keystone:
            action = (
                'Write the password of its user "admin" into '
                f'{deployment.state.secrets}.'
            )
        raise errors.KeystoneRefused(
            f'Keystone at {deployment.keystone_url} does not let us register '
            f'Glance: {error}.',
            action,
            'Glance is not registered.',
        ) from error
    except exceptions.ClientException as error:
        raise unreachable(
            deployment.keystone_url, error, 'Later steps were not begun.'
        ) from error


def _administrator(deployment: Deployment) -> Any:
    # Imported here: it takes half a second, and only the first "up" needs it.
    import openstack
    from openstack import exceptions as sdk_exceptions

    given: dict[str, Any] = {}
    if deployment.embedded_keystone:
        # Nothing of the person's own environment or clouds.yaml.
        given = {
            'load_envvars': False,
            'load_yaml_config': False,
            'auth': account(deployment),
            'region_name': deployment.conf.deployment.region,
            **certificates(deployment),
        }
    try:
        cloud = openstack.connect(app_name=CLOUD, **given)
        _check_same(deployment, cloud.config.get_auth_args().get('auth_url'))
        cloud.authorize()
    except sdk_exceptions.SDKException as error:
        raise exceptions.Unauthorized(str(error)) from error
    return cloud.identity


def _check_same(deployment: Deployment, auth_url: str | None) -> None:
    # The environment may well be that of another cloud.
    wanted = deployment.keystone_url
    if (auth_url or '').rstrip('/').removesuffix('/v3') + '/v3' != wanted:
        raise errors.KeystoneRefused(
            f'The administrator in the environment is one of '
            f'{auth_url or "no Keystone"}, not of {wanted}.',
            'Give the one of that Keystone: its URL has to be the same in '
            '--keystone and in OS_CLOUD or OS_AUTH_URL.',
        )


def _register_user(
    identity: Any,
    name: str,
    password: str,
    project_name: str,
    roles: tuple[str, ...],
) -> None:
    project = identity.find_project(
        project_name, domain_id=DOMAIN
    ) or identity.create_project(name=project_name, domain_id=DOMAIN)
    user = identity.find_user(name, domain_id=DOMAIN)
    if user is None:
        user = identity.create_user(
            name=name, domain_id=DOMAIN, password=password
        )
    else:
        identity.update_user(user, password=password)
    for role_name in roles:
        role = identity.find_role(role_name) or identity.create_role(
            name=role_name
        )
        identity.assign_project_role_to_user(project, user, role)


def _service(identity: Any, node: nodes.Node) -> Any:
    for service in identity.services(type=node.service_type):
        return service
    return identity.create_service(
        name=node.service,
        type=node.service_type,
        description='OpenStack Images',
    )


def _register_endpoint(
    deployment: Deployment,
    identity: Any,
    service: Any,
    interface: str,
    url: str,
) -> None:
    region = deployment.conf.deployment.region
    if identity.find_region(region) is None:
        identity.create_region(id=region)
    found = list(
        identity.endpoints(
            service_id=service.id, interface=interface, region_id=region
        )
    )
    if found:
        identity.update_endpoint(found[0], url=url)
        return
    identity.create_endpoint(
        service_id=service.id,
        interface=interface,
        region_id=region,
        url=url,
    )


def unreachable(
    url: str, error: Exception, outcome: str | None = None
) -> errors.GlanceWSGIError:
    """The error for a Keystone that gives no usable answer."""
    return errors.KeystoneUnreachable(
        f'Keystone at {url} gives no usable answer: {error}.',
        'Start it, or give --keystone its URL, which ends in /v3; a '
        'certificate that systems do not know needs --tls-ca.',
        outcome,
    )


def check_answers(url: str, verify: bool | str) -> None:
    """Ask Keystone for its version document.

    :param verify: a file with the certificates to trust; or True

    :raises errors.KeystoneUnreachable: it is not there, or not a Keystone
    """
    try:
        answer = session.Session(timeout=TIMEOUT, verify=verify).get(url)
        version = answer.json()['version']['id']
    except exceptions.ClientException as error:
        raise unreachable(url, error) from error
    except (ValueError, KeyError, TypeError) as error:
        raise unreachable(
            url, ValueError('it is not the Identity v3 API')
        ) from error
    if not str(version).startswith('v3'):
        raise unreachable(url, ValueError(f'it speaks {version}, not v3'))
