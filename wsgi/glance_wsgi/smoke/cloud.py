"""The two clouds that the smoke tests need, and whether Glance is there.

A cloud is an entry of clouds.yaml: where Keystone is, and who one is.
https://docs.openstack.org/openstacksdk/latest/user/config/configuration.html
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from keystoneauth1 import exceptions
from openstack import config
from openstack import exceptions as sdk_exceptions

from glance_wsgi import errors
from glance_wsgi.smoke import clouds_file

ADMIN_ROLE = 'admin'
NOTHING = clouds_file.NOTHING
TIMEOUT = 20.0  # seconds for an answer, where clouds.yaml has no api_timeout

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


@dataclasses.dataclass(frozen=True)
class _Service:
    """What errors say of a service that gives no usable answer."""

    name: str
    unusable: type[errors.GlanceWSGIError]
    correction: str

    @property
    def action(self) -> str:
        """What to do."""
        return (
            f'Start it, or {self.correction[0].lower()}{self.correction[1:]}.'
        )


_KEYSTONE = _Service(
    'Keystone',
    errors.KeystoneUnreachable,
    'Correct auth_url in clouds.yaml',
)
_IMAGES = _Service(
    'The Images API',
    errors.ImagesUnreachable,
    'Correct its endpoint in Keystone',
)
_GIVEN = dataclasses.replace(_IMAGES, correction='Correct --endpoint')


class Cloud:
    """Somebody's account in a cloud.

    :param name: of the entry
    :param file: clouds.yaml
    :raises errors.CloudUnknown: there is no such file or entry, or it does
        not log in by a password
    """

    def __init__(self, name: str, file: pathlib.Path) -> None:
        self.name = name
        clouds_file.check(file, name)
        try:
            # Nothing of OS_USERNAME and so on: it would be mixed in.
            self.region = config.OpenStackConfig(
                config_files=[str(file)], load_envvars=False
            ).get_one(cloud=name)
            self.session = self.region.get_session()
        except (
            OSError,
            sdk_exceptions.SDKException,
            exceptions.ClientException,
        ) as error:
            raise self._unsuitable(f"can't be used: {error}") from error
        if not self.auth.get('password'):
            raise self._unsuitable(
                'does not log in by a password, which Tempest needs'
            )
        if isinstance(self.verify, str) and not os.path.exists(self.verify):
            raise self._unsuitable(f'has no file {self.verify}, its cacert')
        # Of itself it waits for ever.
        self.session.timeout = self.session.timeout or TIMEOUT

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
        # The tests run in another directory.
        return os.path.abspath(found) if isinstance(found, str) else found

    def check_keystone(self) -> None:
        """Ask Keystone for its version.

        :raises errors.GlanceWSGIError: it can't be reached, is not trusted
            or is something else
        """
        status, answer = self._get(
            _KEYSTONE, self.auth_url, authenticated=False
        )
        version = answer.get('version')
        known = version.get('id') if isinstance(version, dict) else None
        if not str(known).startswith('v3'):
            raise errors.KeystoneUnreachable(
                f'What answers at {self.auth_url} ({status}) is no Keystone '
                'with the Identity v3 API.',
                'Correct auth_url in clouds.yaml.',
                NOTHING,
            )

    def log_in(self) -> Any:
        """What Keystone says of us.

        :raises errors.GlanceWSGIError: it can't be reached, is not trusted
            or refuses us, or it knows of no project
        """
        with _explained(_KEYSTONE, self.auth_url):
            try:
                access = self.session.auth.get_access(self.session)
            except (exceptions.Unauthorized, exceptions.Forbidden) as error:
                raise errors.KeystoneRefused(
                    f'Keystone at {self.auth_url} refuses the cloud '
                    f'"{self.name}": {error}.',
                    'Correct its name, password or project in clouds.yaml.',
                    NOTHING,
                ) from error
        if not access.project_id:
            raise self._unsuitable('names no project')
        return access

    def check_is_beside(self, other: 'Cloud') -> None:
        """Look whether another account is of the same Keystone.

        :raises errors.GlanceWSGIError: it is not, or Keystone can't be asked
        """
        if self.auth_url == other.auth_url:
            return
        # One Keystone may have several URLs; each knows its own tokens.
        token = other.log_in().auth_token
        url = f'{self.auth_url}/auth/tokens'
        headers = {'X-Auth-Token': token, 'X-Subject-Token': token}
        with _explained(_KEYSTONE, self.auth_url):
            answer = self.session.get(
                url, headers=headers, authenticated=False, raise_exc=False
            )
        if answer.status_code != 200:
            raise self._unsuitable(
                f'is of the Keystone at {self.auth_url}, which does not know '
                f'"{other.name}" of {other.auth_url}'
            )

    def endpoint(self, given: str | None = None) -> str:
        """The URL of the Images API, without its version.

        :param given: one that is asked instead of the catalogue's
        :raises errors.GlanceWSGIError: there is none, or it is something else
        """
        found = given or self._catalogued()
        endpoint = found.rstrip('/').removesuffix('/v2')
        self._check_is_glance(endpoint, _GIVEN if given else _IMAGES)
        return endpoint

    def _catalogued(self) -> str:
        """What the catalogue has."""
        with _explained(_KEYSTONE, self.auth_url):
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
        return str(found)

    def _check_is_glance(self, endpoint: str, service: _Service) -> None:
        # Nova lists a version 2, too, but has no schemas. Not that of one
        # image: a test asks for it.
        status, answer = self._get(service, f'{endpoint}/versions')
        if _has_v2(answer):
            url = f'{endpoint}/v2/schemas/images'
            status, answer = self._get(service, url)
            if answer.get('name') == 'images':
                return
        raise errors.ImagesForeign(
            f'What answers at {endpoint} ({status}) is no Images v2 API.',
            f'{service.correction}.',
            NOTHING,
        )

    def _get(
        self, service: _Service, url: str, **options: Any
    ) -> tuple[str, dict[str, Any]]:
        """An answer's status, and its JSON; empty where there is none."""
        with _explained(service, url):
            answer = self.session.get(url, raise_exc=False, **options)
        status = f'{answer.status_code} {answer.reason}'
        # A proxy without a server behind it, or a Glance whose own account
        # Keystone refuses: either may well be what it should be.
        if answer.status_code >= 500 or answer.status_code == 401:
            raise _unusable(service, url, status)
        try:
            content = answer.json()
        except ValueError:
            content = None
        return status, content if isinstance(content, dict) else {}

    def _unsuitable(self, why: str) -> errors.GlanceWSGIError:
        return errors.CloudUnknown(
            f'The cloud "{self.name}" {why}.',
            'Correct it in clouds.yaml, or name another one.',
            NOTHING,
        )


def _has_v2(answer: dict[str, Any]) -> bool:
    versions = answer.get('versions')
    return isinstance(versions, list) and any(
        str(item.get('id')).startswith('v2')
        for item in versions
        if isinstance(item, dict)
    )


@contextlib.contextmanager
def _explained(service: _Service, url: str) -> Iterator[None]:
    try:
        yield
    except exceptions.ClientException as error:
        # A server that does not speak TLS has no certificate to trust.
        if (
            isinstance(error, exceptions.SSLError)
            and 'certificate' in str(error).lower()
        ):
            raise errors.CertificateUntrusted(
                f'The certificate of {url} does not verify: {error}.',
                'Name the authority that has signed it as "cacert" in '
                'clouds.yaml.',
                NOTHING,
            ) from error
        raise _unusable(service, url, error) from error


def _unusable(
    service: _Service, url: str, why: object
) -> errors.GlanceWSGIError:
    return service.unusable(
        f'{service.name} at {url} gives no usable answer: {why}.',
        service.action,
        NOTHING,
    )
