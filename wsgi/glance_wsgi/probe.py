"""Asking the deployment whether it serves."""

import pathlib
import time
import warnings
from collections.abc import Callable

import requests
from keystoneauth1 import exceptions
from keystoneauth1 import session
from keystoneauth1.identity import v3
from urllib3.exceptions import InsecureRequestWarning

from glance_wsgi import errors
from glance_wsgi import keystone
from glance_wsgi.deployment import Deployment

READY_TIMEOUT = 60.0  # seconds
INTERVAL = 0.1  # seconds between two questions

DRAINED = 'drained'
STOPPED = 'DISABLED BY FILE'
"""What oslo.middleware's health check says of a node that is taken out."""


def health(url: str, timeout: float = 5.0) -> str:
    """What a health check's URL answers, in a word or two.

    "OK" when it is 200, `DRAINED` when it is taken out; else the status and
    reason, or why nothing came.

    :param timeout: seconds
    """
    try:
        with requests.Session() as asking:
            # This machine itself is never behind a proxy.
            asking.trust_env = False
            # It asks whether something answers, with no secret and by an
            # address that the certificate need not name.
            with warnings.catch_warnings():
                warnings.simplefilter('ignore', InsecureRequestWarning)
                answer = asking.get(url, timeout=timeout, verify=False)
    except requests.Timeout:
        return f'no answer in {timeout:.0f} s'
    except requests.RequestException:
        return 'no answer'
    if answer.status_code == 200:
        return 'OK'
    if answer.status_code == 503 and answer.text.strip() == STOPPED:
        return DRAINED
    return f'{answer.status_code} {answer.reason}'


def answers(url: str) -> bool:
    """Whether what is asked there works, taken out or not."""
    return health(url) in ('OK', DRAINED)


def wait_until(
    ready: Callable[[], bool],
    complaint: Callable[[], str | None],
    what: str,
    where: str,
    timeout: float = READY_TIMEOUT,
    held: Callable[[], bool] = lambda: False,
    patience: float = 0.0,
) -> None:
    """Ask until `ready` says yes.

    :param complaint: asked in between; what it says ends the waiting
    :param what: the name of what is waited for
    :param where: where the person finds its log
    :param timeout: seconds
    :param held: whether it still waits for what came before it; the time
        begins when it says no
    :param patience: seconds for which it may be held
    :raises errors.NotReady: it complained, or the time is over
    """
    began = time.monotonic()
    deadline = began + timeout
    while not ready():
        said = complaint()
        if said:
            raise errors.NotReady(
                f"{what} can't start: {said}.",
                f'Correct that and run "glance-wsgi up" again; the log is '
                f'{where}.',
            )
        now = time.monotonic()
        if now - began < patience and held():
            deadline = now + timeout
        elif now > deadline:
            raise errors.NotReady(
                f'{what} does not answer after {timeout:.0f} s.',
                f'See {where}.',
            )
        time.sleep(INTERVAL)


def list_images(deployment: Deployment, log: pathlib.Path) -> None:
    """List one image with a token, as a client does.

    It shows at once that the API, Keystone and the database work together.

    :param log: where the person finds what the API says
    :raises errors.NotReady: it was refused
    """
    auth = v3.Password(**keystone.account(deployment))
    asking = session.Session(auth=auth, timeout=30, verify=deployment.verify)
    # A certificate names the host that clients are told.
    encrypted = deployment.encrypted
    base = deployment.endpoint if encrypted else deployment.local_endpoint
    url = f'{base}/v2/images?limit=1'
    try:
        asking.get(url)
    except exceptions.ClientException as error:
        raise errors.NotReady(
            f'The Images API refuses a list of images: {error}.',
            f'See {log}.',
        ) from error
