"""What tests have made and could not remove: found by its name, and removed.

Images first, then metadata namespaces and application credentials.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import tenacity

from glance_wsgi.smoke import cloud

PATIENCE = 30.0  # seconds in which what uses an image has to end
_PAUSE = 0.5  # seconds between two attempts

_WORTH_ANOTHER = {409, 500, 502, 503, 504}
"""What a DELETE is answered while an import or a copy works on an image."""

_UNPROTECTED = [{'op': 'replace', 'path': '/protected', 'value': False}]


@dataclasses.dataclass(frozen=True)
class _Thing:
    name: str
    url: str
    protected: bool = False


Look = Callable[[], Iterator[_Thing]]
Left = dict[_Thing, Any]  # and what its DELETE was answered, if it had one


class Leftovers:
    """Everything whose name begins with a prefix.

    :param member: whose the application credentials are
    :param admin: who may remove everything else
    :param endpoint: the URL of the Images API, without its version
    """

    def __init__(
        self,
        member: cloud.Cloud,
        admin: cloud.Cloud,
        endpoint: str,
        prefix: str,
    ) -> None:
        self.member, self.admin = member, admin
        self.endpoint, self.prefix = endpoint, prefix

    def remove(self) -> list[str]:
        """Remove all; a line for each that is left, or can't be looked for.

        Never raises an Exception: whoever cleans up has results to tell.
        """
        lines: list[str] = []
        for kind, who, look in (
            ('image', self.admin, self._images),
            ('metadata namespace', self.admin, self._namespaces),
            ('application credential', self.member, self._credentials),
        ):
            try:
                lines += _lines(kind, _remove(who, look))
            except Exception as error:
                why = ' '.join(str(error).split())
                lines.append(
                    f"Can't look which {kind}s are left ({why}); their names "
                    f'begin with {self.prefix}.'
                )
        return lines

    def _images(self) -> Iterator[_Thing]:
        for hidden in ('false', 'true'):
            path = f'/v2/images?limit=100&os_hidden={hidden}'
            for item in self._pages(path, 'images'):
                if self._is_ours(item.get('name')):
                    url = f'{self.endpoint}/v2/images/{item["id"]}'
                    yield _Thing(item['name'], url, item['protected'])

    def _namespaces(self) -> Iterator[_Thing]:
        path = '/v2/metadefs/namespaces'
        for item in self._pages(f'{path}?limit=100', 'namespaces'):
            name = item['namespace']
            if self._is_ours(name):
                yield _Thing(name, f'{self.endpoint}{path}/{name}')

    def _credentials(self) -> Iterator[_Thing]:
        user = self.member.log_in().user_id
        url = f'{self.member.auth_url}/users/{user}/application_credentials'
        answer = _ask(self.member, 'GET', url).json()
        for item in answer['application_credentials']:
            if self._is_ours(item['name']):
                yield _Thing(item['name'], f'{url}/{item["id"]}')

    def _pages(self, path: Any, key: str) -> Iterator[Any]:
        while path:
            page = _ask(self.admin, 'GET', self.endpoint + path).json()
            yield from page[key]
            path = page.get('next')

    def _is_ours(self, name: str | None) -> bool:
        return (name or '').startswith(self.prefix)


def _lines(kind: str, left: Left) -> list[str]:
    return [
        f'The {kind} {thing.name} is still there{_why(answer)}.'
        for thing, answer in left.items()
    ]


def _why(answer: Any) -> str:
    if answer is None:
        return ''
    return f': its DELETE was answered {answer.status_code} {answer.reason}'


def _remove(who: cloud.Cloud, look: Look) -> Left:
    """Remove what is found, for as long as that may help; what is left."""
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_result(_may_go_yet),
        stop=tenacity.stop_after_delay(PATIENCE),
        wait=tenacity.wait_fixed(_PAUSE),
        retry_error_callback=lambda state: state.outcome.result(),
    )
    return dict(retrying(_remove_once, who, look))


def _may_go_yet(left: Left) -> bool:
    return any(
        answer is None or answer.status_code in _WORTH_ANOTHER
        for answer in left.values()
    )


def _remove_once(who: cloud.Cloud, look: Look) -> Left:
    # All pages first: a page begins behind an image, which has to be there.
    answers = {thing.url: _delete(who, thing) for thing in list(look())}
    if not answers:
        return {}
    return {thing: answers.get(thing.url) for thing in look()}


def _delete(who: cloud.Cloud, thing: _Thing) -> Any:
    if thing.protected:
        kind = 'application/openstack-images-v2.1-json-patch'
        _ask(
            who,
            'PATCH',
            thing.url,
            raise_exc=False,
            json=_UNPROTECTED,
            headers={'Content-Type': kind},
        )
    return _ask(who, 'DELETE', thing.url, raise_exc=False)


def _ask(who: cloud.Cloud, method: str, url: str, **options: Any) -> Any:
    """The answer.

    :param options: of keystoneauth1's Session.request
    :raises keystoneauth1.exceptions.ClientException: there is none, or,
        without raise_exc=False, it is an error
    """
    return who.session.request(url, method, **options)
