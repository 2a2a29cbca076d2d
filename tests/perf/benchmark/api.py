"""The few calls to the Images API that prepare what is measured."""

import contextlib
import time

import requests

READY = 60.0  # seconds
ANSWER = 5.0  # seconds after which an API counts as one that hangs

SCRATCH = 'benchmark-scratch'
"""The name of what a work makes for itself and leaves to be removed."""


class NoFigure(Exception):
    """There is nothing to be measured; its text says why, in a few words."""


NO_ANSWER = 'no answer'


def wait(url: str) -> None:
    """Until something is answered there that is no error.

    :raises NoFigure: it is not within a minute
    """
    deadline = time.monotonic() + READY
    with requests.Session() as session:
        session.trust_env = False
        while time.monotonic() < deadline:
            with contextlib.suppress(requests.RequestException):
                if session.head(url, timeout=ANSWER).ok:
                    return
            # Short: it is a part of what is measured.
            time.sleep(0.005)
    raise NoFigure(NO_ANSWER)


class Images:
    """An Images API as the administrator sees it.

    :param url: without "/v2"
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token

    def _ask(self, method: str, path: str, **words) -> requests.Response:
        # A connection for each: not every contender keeps them.
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(
                method,
                f'{self.url}{path}',
                headers={
                    'X-Auth-Token': self.token,
                    'Connection': 'close',
                    **words.pop('headers', {}),
                },
                timeout=words.pop('timeout', READY),
                **words,
            )
        answer.raise_for_status()
        return answer

    def answers(self, image: str, within: float = ANSWER) -> None:
        """See that an image is shown in time.

        :param within: seconds
        :raises NoFigure: it is not
        """
        try:
            self._ask('GET', f'/v2/images/{image}', timeout=within)
        except requests.RequestException as error:
            raise NoFigure(NO_ANSWER) from error

    def await_uploads(self, number: int) -> None:
        """Until so many images are being uploaded.

        A client has begun when the kernel has taken its first bytes; what the
        server has to do then is no part of what a slow client costs. It gives
        up, silently, on an API that does not answer three times.
        """
        query = f'status=saving&name={SCRATCH}&limit=1000'
        deadline = time.monotonic() + READY
        silent = 0
        while number and silent < 3 and time.monotonic() < deadline:
            try:
                answer = self._ask(
                    'GET', f'/v2/images?{query}', timeout=ANSWER
                )
            except requests.RequestException:
                silent += 1
                continue
            if len(answer.json()['images']) >= number:
                return
            time.sleep(0.2)

    def create(self, name: str = SCRATCH, **properties) -> str:
        """A queued image; its id."""
        body = {
            'name': name,
            'disk_format': 'raw',
            'container_format': 'bare',
            **properties,
        }
        return self._ask('POST', '/v2/images', json=body).json()['id']

    def show(self, image: str) -> dict:
        """All that is known of an image."""
        return self._ask('GET', f'/v2/images/{image}').json()

    def upload(self, image: str, file) -> None:
        """The data of an image."""
        with file.open('rb') as body:
            self._ask(
                'PUT',
                f'/v2/images/{image}/file',
                data=body,
                headers={'Content-Type': 'application/octet-stream'},
            )

    def delete(self, image: str) -> None:
        """Remove an image and its data."""
        self._ask('DELETE', f'/v2/images/{image}')
