"""What the smoke tests share: clients, images that go away, waiting."""

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from tempest import clients
from tempest import config
from tempest import test
from tempest.lib import exceptions
from tempest.lib.common.utils import data_utils

CONF = config.CONF

KIB = 1024
MIB = 1024 * KIB

# Not dict[str, str], which mypy would take for any argument of send().
OCTETS: Any = {'Content-Type': 'application/octet-stream'}
JSON: Any = {'Content-Type': 'application/json'}
PATCH: Any = {'Content-Type': 'application/openstack-images-v2.1-json-patch'}

_LOOK = 0.2  # seconds between two looks at something that takes time

_MANAGERS: dict[str, clients.Manager] = {}
"""The client managers of this process, by their accounts."""

Found = TypeVar('Found')


@dataclasses.dataclass(frozen=True)
class Answer:
    """A response, whatever its status."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


def frames(data: bytes, size: int, pause: float = 0) -> Iterator[bytes]:
    """Data in pieces: sent in chunks, each is one.

    :param size: bytes of a piece
    :param pause: seconds of silence in the middle
    """
    middle = len(data) // 2 // size * size
    for start in range(0, len(data), size):
        if start == middle:
            time.sleep(pause)
        yield data[start : start + size]


def sha256(data: bytes) -> str:
    """By which data is compared: a message with it can be read."""
    return hashlib.sha256(data).hexdigest()


def manager(credentials: Any) -> clients.Manager:
    """An account's client manager; the same, and its token, for each class.

    A login is slower than most tests: Keystone hashes the password.
    """
    name = str(credentials)
    if name not in _MANAGERS:
        _MANAGERS[name] = clients.Manager(credentials)
        provider = _MANAGERS[name].auth_provider
        log_in = provider.set_auth

        def log_in_once() -> None:
            if provider.cache is None or provider.is_expired(provider.cache):
                log_in()

        # Tempest calls this for each class.
        provider.set_auth = log_in_once
        if CONF.glance_wsgi.endpoint:
            _lead(provider, CONF.glance_wsgi.endpoint)
    return _MANAGERS[name]


def _lead(provider: Any, endpoint: str) -> None:
    """Have an account's clients find the Images API elsewhere.

    :param endpoint: its URL, whatever the catalogue says
    """
    catalogued = provider.base_url

    def base_url(filters: dict[str, Any], auth_data: Any = None) -> str:
        if filters.get('service') == CONF.image.catalog_type:
            return f'{endpoint}/v2'
        url: str = catalogued(filters, auth_data)
        return url

    provider.base_url = base_url


class SmokeTest(test.BaseTestCase):
    """A test with a member and an administrator."""

    credentials = ['primary', 'admin']  # noqa: RUF012 - Tempest's attribute
    client_manager = staticmethod(manager)

    @classmethod
    def skip_checks(cls) -> None:
        super().skip_checks()
        if not CONF.service_available.glance:
            raise cls.skipException('[service_available] glance is off')

    @classmethod
    def setup_credentials(cls) -> None:
        cls.set_network_resources()  # none
        super().setup_credentials()

    @classmethod
    def setup_clients(cls) -> None:
        super().setup_clients()
        cls.member = cls.os_primary.image_client_v2
        cls.admin = cls.os_admin.image_client_v2

    # --- requests ---

    @property
    def root(self) -> str:
        """The URL that the versions are listed under, without a slash."""
        base: str = self.member.base_url
        return base.rstrip('/').removesuffix('/v2')

    def send(
        self,
        method: str,
        path: str,
        body: bytes | str | Iterable[bytes] | None = None,
        client: Any = None,
        chunked: bool = False,
        **headers: str | None,
    ) -> Answer:
        """A request, and its answer whatever that is.

        :param path: below /v2; or a whole URL
        :param client: whose token goes with it; the member's by default
        :param chunked: send each piece of the body as a chunk
        :param headers: with underscores for dashes; None leaves one out
        """
        client = client or self.member
        url = path if '://' in path else f'{client.base_url}/{path}'
        wanted = {'X-Auth-Token': client.token}
        for name, value in headers.items():
            wanted[name.replace('_', '-')] = value
        response, data = client.raw_request(
            url,
            method,
            headers={k: v for k, v in wanted.items() if v is not None},
            body=body,
            chunked=chunked,
        )
        return Answer(response.status, dict(response), data)

    def expect(self, status: int, *words: Any, **options: Any) -> Answer:
        """A request that has to be answered with a status."""
        answer = self.send(*words, **options)
        said = answer.body[:500].decode(errors='replace')
        self.assertEqual(status, answer.status, said)
        return answer

    # --- images ---

    def name(self) -> str:
        """A name that nothing else has."""
        name: str = data_utils.rand_name(
            type(self).__name__, prefix=CONF.glance_wsgi.name_prefix
        )
        return name

    def create_image(self, client: Any = None, **record: Any) -> Any:
        """An image's record; the image is removed after the test."""
        client = client or self.member
        record = {
            'name': self.name(),
            'disk_format': 'raw',
            'container_format': 'bare',
            **record,
        }
        image = client.create_image(**record)
        self.addCleanup(self.remove_image, client, image['id'])
        return image

    def remove_image(self, client: Any, image_id: str) -> None:
        """Delete an image, as soon as nothing else works on it."""

        def gone() -> bool:
            try:
                client.delete_image(image_id)
            except exceptions.NotFound:
                return True
            except exceptions.Conflict:  # in use: cached, or being copied
                return False
            return True

        self.until(gone, f'image {image_id} can be deleted')

    def upload(self, image: Any, data: bytes, **options: Any) -> None:
        """Give an image its data, with a length."""
        self.expect(
            204,
            'PUT',
            f'images/{image["id"]}/file',
            data,
            **OCTETS,
            **options,
        )

    def stored_image(self, data: bytes, **options: Any) -> Any:
        """An image that is active."""
        image = self.create_image(**options)
        self.upload(image, data, client=options.get('client'))
        return image

    def assert_holds(self, image: Any, data: bytes) -> None:
        """The image is active, and what comes back is the data."""
        found = self.member.show_image(image['id'])
        self.assertEqual('active', found['status'])
        answer = self.expect(200, 'GET', f'images/{image["id"]}/file')
        self.assertEqual(sha256(data), sha256(answer.body))

    def change(
        self, image: Any, operation: dict[str, Any], status: int = 200
    ) -> None:
        """Change an image's record by a JSON patch, or see that refused."""
        self.expect(
            status,
            'PATCH',
            f'images/{image["id"]}',
            json.dumps([operation]),
            **PATCH,
        )

    def listed(self, client: Any = None, **query: Any) -> list[Any]:
        """The images that a list has, all pages of it."""
        client = client or self.member
        found: list[Any] = []
        page = client.list_images(params=query)
        while True:
            found += page['images']
            if 'next' not in page:
                return found
            query['marker'] = page['images'][-1]['id']
            page = client.list_images(params=query)

    # --- what takes time ---

    def until(self, look: Callable[[], Found], what: str) -> Found:
        """What `look` finds, as soon as it finds something.

        :raises tempest.lib.exceptions.TimeoutException: it does not within
            [image] build_timeout
        """
        deadline = time.monotonic() + CONF.image.build_timeout
        while not (found := look()):
            if time.monotonic() > deadline:
                raise exceptions.TimeoutException(f'Waited until {what}.')
            time.sleep(_LOOK)
        return found

    def wait_for(self, image: Any, status: str) -> Any:
        """The image, as soon as it has a status and no import any more.

        An import ends a moment after its image is active. Whoever deletes the
        image in that moment is answered 500 by Glance.

        :raises AssertionError: an import has failed meanwhile
        """

        def look() -> Any:
            found = self.member.show_image(image['id'])
            failed = found.get('os_glance_failed_import')
            self.assertFalse(failed, f'The import to {failed} has failed.')
            ended = 'os_glance_import_task' not in found
            return found['status'] == status and ended and found

        return self.until(look, f'image {image["id"]} is {status}')

    # --- what a cloud may have or not ---

    def stores(self) -> list[Any]:
        """The stores for images; skips where there is but one."""
        answer = self.send('GET', 'info/stores')
        if answer.status == 404:
            raise self.skipException('enabled_backends is not set')
        self.assertEqual(200, answer.status)
        return [
            store
            for store in answer.json()['stores']
            if not store.get('read-only')
        ]

    def method(self, name: str) -> None:
        """Skip where an import method is not enabled."""
        known = self.member.info_import()['import-methods']['value']
        if name not in known:
            raise self.skipException(
                f'{name} is not in enabled_import_methods'
            )


def random_bytes(number: int) -> bytes:
    """Data that nobody can have guessed or compressed."""
    return os.urandom(number)
