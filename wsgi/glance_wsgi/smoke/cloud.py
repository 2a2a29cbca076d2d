"""The two clouds that the smoke tests need, and whether Glance is there.

A cloud is an entry of clouds.yaml: where Keystone is, and who one is.
https://docs.openstack.org/openstacksdk/latest/user/config/configuration.html
"""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import requests
from keystoneauth1 import exceptions
from openstack import config
from openstack import exceptions as sdk_exceptions

from glance_wsgi import errors

ADMIN_ROLE = 'admin'
NOTHING = 'No test was run.'
TIMEOUT = 20  # seconds for an answer

_KEPT = (
    'username',
    'user_id',
    'password',
    'project_name',
    'project_id',
    'user_domain_name',
    'user_domain_id',
    'project_domain_name',
    'project_domain_id',
)


class Cloud:
    """Somebody's account in a cloud.

    :param name: of the entry
    :param files: where it is looked for first
    :raises errors.CloudUnknown: there is no such entry, or it does not log in
        by a password
    """

    def __init__(self, name: str, files: list[pathlib.Path]) -> None:
        self.name = name
        try:
            # Nothing of OS_USERNAME and so on: it would be mixed in.
            known = config.OpenStackConfig(
                config_files=[str(path) for path in files] or None,
                load_envvars=False,
            )
            self.region = known.get_one(cloud=name)
        except (OSError, sdk_exceptions.SDKException) as error:
            raise errors.CloudUnknown(
                f'There is no cloud "{name}" in {_places(files)}.',
                'Name one of clouds.yaml; OS_CLIENT_CONFIG_FILE says where '
                'that is.',
                NOTHING,
            ) from error
        if not self.auth.get('password'):
            raise errors.CloudUnknown(
                f'The cloud "{name}" does not log in by a password, which '
                'Tempest needs.',
                'Name one that does.',
                NOTHING,
            )
        self.session = self.region.get_session()

    @property
    def auth(self) -> dict[str, Any]:
        """Its "auth", as clouds.yaml has it."""
        return dict(self.region.get_auth_args())

    @property
    def account(self) -> dict[str, Any]:
        """As Tempest's accounts.yaml has it."""
        return {key: self.auth[key] for key in _KEPT if self.auth.get(key)}

    @property
    def auth_url(self) -> str:
        """Keystone's, for its API v3."""
        url = str(self.auth['auth_url']).rstrip('/').removesuffix('/v3')
        return f'{url}/v3'

    @property
    def region_name(self) -> str:
        """The region; empty where none is named."""
        return self.region.get_region_name() or ''

    @property
    def interface(self) -> str:
        """Which of the endpoints: public, internal or admin."""
        return str(self.region.get_interface('image') or 'public')

    @property
    def verify(self) -> bool | str:
        """Whether certificates are verified; a path: by which authority."""
        found: bool | str = self.region.get_requests_verify_args()[0]
        return found

    def log_in(self) -> Any:
        """What Keystone says of us.

        :raises errors.GlanceWSGIError: it can't be reached, is not trusted
            or refuses us
        """
        with _explained(self.auth_url, f'the cloud "{self.name}"'):
            return self.session.auth.get_access(self.session)

    def endpoint(self) -> str:
        """The URL of the Images API, without its version.

        :raises errors.GlanceWSGIError: there is none, or it is something else
        """
        with _explained(self.auth_url, f'the cloud "{self.name}"'):
            try:
                found = self.session.get_endpoint(
                    service_type='image',
                    region_name=self.region_name or None,
                    interface=self.interface,
                    skip_discovery=True,
                )
            except exceptions.CatalogException:
                found = None
        if not found:
            where = f' in {self.region_name}' if self.region_name else ''
            raise errors.ImagesMissing(
                f'The catalogue of {self.auth_url} has no {self.interface} '
                f'endpoint of the Images API{where}.',
                'Register it, or name another region in clouds.yaml.',
                NOTHING,
            )
        endpoint = str(found).rstrip('/').removesuffix('/v2')
        _check_is_glance(endpoint, self.verify)
        return endpoint


def _places(files: list[pathlib.Path]) -> str:
    return ', '.join(map(str, files)) or 'clouds.yaml'


@contextlib.contextmanager
def _explained(url: str, who: str) -> Iterator[None]:
    try:
        yield
    except exceptions.SSLError as error:
        raise untrusted(url, error) from error
    except (exceptions.Unauthorized, exceptions.Forbidden) as error:
        raise errors.KeystoneRefused(
            f'Keystone at {url} refuses {who}: {error}.',
            'Correct its name, password or project in clouds.yaml.',
            NOTHING,
        ) from error
    except exceptions.ClientException as error:
        raise errors.KeystoneUnreachable(
            f'Keystone at {url} gives no usable answer: {error}.',
            'Start it, or correct auth_url in clouds.yaml.',
            NOTHING,
        ) from error


def _check_is_glance(endpoint: str, verify: bool | str) -> None:
    url = f'{endpoint}/versions'
    try:
        answer = requests.get(url, timeout=TIMEOUT, verify=verify)
    except requests.exceptions.SSLError as error:
        raise untrusted(endpoint, error) from error
    except requests.RequestException as error:
        raise errors.ImagesUnreachable(
            f'The Images API at {endpoint} gives no answer: {error}.',
            'Start it, or correct its endpoint in Keystone.',
            NOTHING,
        ) from error
    try:
        known = {item['id'] for item in answer.json()['versions']}
    except (ValueError, KeyError, TypeError):
        known = set()
    if not any(str(version).startswith('v2') for version in known):
        raise errors.ImagesForeign(
            f'What answers at {url} ({answer.status_code} {answer.reason}) '
            'is no Images v2 API.',
            'Correct its endpoint in Keystone.',
            NOTHING,
        )


def untrusted(url: str, error: Exception) -> errors.GlanceWSGIError:
    """The error for a certificate that does not verify."""
    return errors.CertificateUntrusted(
        f'The certificate of {url} does not verify: {error}.',
        'Name the authority that has signed it as "cacert" in clouds.yaml.',
        NOTHING,
    )
