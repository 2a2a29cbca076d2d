"""Answers to downloads, in a form that can be compared."""

import dataclasses
import hashlib
import http.client
import urllib.parse

import images

# Of the connection, not of the answer; and when it was made, by whom.
IGNORED = {'connection', 'date', 'keep-alive', 'server', 'transfer-encoding'}

REQUEST_ID = 'req-11111111-2222-3333-4444-555555555555'
"""Sent with each request: Glance takes it for its own."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a client gets.

    :param digest: the SHA-256 of the body, as far as it came
    :param size: bytes of the body
    :param whole: whether all of it came that was announced
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    digest: str
    size: int
    whole: bool

    def header(self, name: str) -> str | None:
        """One header, by its name in lower case."""
        return dict(self.headers).get(name)


FAILED = Answer(500, (), '', 0, whole=False)
"""Glance has failed; what is said then is the server's own."""


def ask(cloud, path: str, headers=(), method='GET') -> Answer:
    """One request for a path of the Images API, such as ``/images``.

    :param headers: beside the token, or instead of it
    """
    url = urllib.parse.urlsplit(images.url(cloud, path))
    connection = http.client.HTTPConnection(
        url.hostname, url.port, timeout=120
    )
    query = f'?{url.query}' if url.query else ''
    try:
        connection.request(
            method,
            url.path + query,
            headers={
                'X-Auth-Token': cloud.auth_token,
                'X-Openstack-Request-Id': REQUEST_ID,
                **dict(headers),
            },
        )
        answer = _read(connection.getresponse(), method)
    except http.client.RemoteDisconnected:  # uWSGI, where Glance fails; 502
        return FAILED
    else:
        return FAILED if answer.status in (500, 502) else answer
    finally:
        connection.close()


def download(cloud, image, headers=(), **options) -> Answer:
    """A request for an image's data."""
    return ask(cloud, f'/images/{image.id}/file', headers, **options)


def _read(response: http.client.HTTPResponse, method: str) -> Answer:
    digest, size, whole = hashlib.sha256(), 0, True
    try:
        while piece := response.read(65536):
            digest.update(piece)
            size += len(piece)
    except http.client.IncompleteRead as error:
        digest.update(error.partial)
        size, whole = size + len(error.partial), False
    except ConnectionResetError:
        whole = False
    announced = response.headers.get('Content-Length')
    if announced is not None and response.status != 304:
        whole = whole and size == int(announced)
    # Apache does not say that there is nothing where nothing can be.
    ignored = IGNORED | ({'content-length'} if method == 'HEAD' else set())
    headers = sorted(
        (name.lower(), value)
        for name, value in response.getheaders()
        if name.lower() not in ignored
    )
    return Answer(
        response.status, tuple(headers), digest.hexdigest(), size, whole
    )
