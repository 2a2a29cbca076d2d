"""What is measured: each work asks one contender and yields its figures.

A figure is in seconds, bytes, or a number for each second.
"""

import contextlib
import dataclasses
import json
import math
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import api
import clients
import contenders
import measures

CLIENTS = (1, 4, 16, 64)
DOWNLOADS = (1, 8)
UPLOADS = (1, 4)
SLOW = (
    *((0, 0), (2, 0), (16, 0), (100, 0), (1000, 0)),
    *((0, 200), (1000, 200)),
)
"""Slow downloads and slow uploads at once."""

WARMING = 16
"""Clients that ask before anything is measured."""

ASKING = 4
"""Clients that ask for an image while others are slow."""

FRESH = 900
"""Seconds after which a token is renewed; Keystone's are good for an hour."""

GIB = 2**30

BODY = json.dumps(
    {'name': api.SCRATCH, 'disk_format': 'raw', 'container_format': 'bare'}
)

Figures = dict[str, Any]
Item = dict[str, Any]
Measured = Iterator[tuple[str, Callable[[], Figures]]]
"""The name of each case, and what measures it."""


@dataclasses.dataclass
class Visit:
    """One contender in one round, and what has been measured of it.

    :param seconds: how long a case with requests asks
    :param taken: seconds that all of it took
    """

    contender: contenders.Contender
    seconds: int
    token: str = ''
    renewed: float = -math.inf
    taken: float = 0
    measurements: list[Item] = dataclasses.field(default_factory=list)

    @property
    def name(self) -> str:
        """That of the contender."""
        return self.contender.name

    def measure(self, cases: Iterator[Item]) -> bool:
        """Measure the next of these cases; False if there is none."""
        began = time.monotonic()
        item = next(cases, None)
        if item is None:
            return False
        self.taken += time.monotonic() - began
        self.measurements.append(item)
        return True

    def renew(self) -> None:
        """Take a new token when it is time, and let all processes know it."""
        if time.monotonic() - self.renewed > FRESH:
            self.token = self.contender.ground.token()
            self.renewed = time.monotonic()
            if self.contender.roots():
                self.warm()

    @property
    def images(self) -> api.Images:
        """The API of the contender."""
        return api.Images(self.contender.url, self.token)

    @property
    def gib(self) -> float:
        """The size of the large image in GiB."""
        return self.contender.ground.size / GIB

    def restart(self) -> None:
        """Stop the contender and start it again."""
        self.contender.stop()
        self.contender.start()
        api.wait(self.contender.ready_url())
        self.warm()

    def warm(self) -> None:
        """Ask until all processes have loaded Glance, and answer at once.

        The first request of each one loads more, and asks Keystone whose the
        token is; so two good seconds are wanted.
        """
        if 'api' not in self.contender.kinds:
            return
        path = f'/v2/images/{self.contender.image}'
        deadline = time.monotonic() + api.READY
        good = 0
        while good < 2 and time.monotonic() < deadline:
            loaded = self.contender.loaded()
            fast = self.ask('show', path) >= WARMING
            good = good + 1 if fast and loaded else 0

    def settle(self) -> None:
        """Wait until it answers, if it is to answer anything.

        What a client asked and did not wait for is still worked on, and
        others wait behind it.
        """
        if 'api' in self.contender.kinds:
            self.images.answers(self.contender.image, api.READY)

    def ask(self, work: str, path: str) -> int:
        """A second of requests that nothing is measured by.

        :return: how many were answered
        """
        with contextlib.suppress(api.NoFigure, subprocess.SubprocessError):
            self.settle()
            url = f'{self.contender.url}{path}'
            answers = clients.wrk(url, self.token, work, WARMING, 1, BODY)
            return answers.requests
        return 0

    def tidy(self) -> None:
        """Remove what works have left."""
        self.contender.ground.forget(self.contender.database, api.SCRATCH)


def start(visit: Visit) -> Measured:
    """From nothing to the first answer."""

    def measure() -> Figures:
        visit.contender.stop()
        began = time.perf_counter()
        visit.contender.start()
        api.wait(visit.contender.ready_url())
        seconds = time.perf_counter() - began
        # Its other processes still load, while the next one would start.
        visit.warm()
        return {'seconds': seconds}

    yield 'start', measure


def _requests(visit: Visit, work: str, path: str) -> Measured:
    def measure(number: int) -> Figures:
        visit.settle()
        answers = clients.wrk(
            f'{visit.contender.url}{path}',
            visit.token,
            work,
            number,
            visit.seconds,
            BODY,
        )
        return {
            **dataclasses.asdict(answers),
            'per_second': answers.requests / answers.seconds,
        }

    # What is loaded with the first request is no part of it.
    visit.ask(work, path)
    for number in CLIENTS:
        yield str(number), lambda number=number: measure(number)


def show(visit: Visit) -> Measured:
    """One image."""
    return _requests(visit, 'show', f'/v2/images/{visit.contender.image}')


def list_images(visit: Visit) -> Measured:
    """A page of 20 images."""
    return _requests(visit, 'list', '/v2/images?limit=20')


def create_delete(visit: Visit) -> Measured:
    """An image without data is made, then removed: two requests."""
    yield from _requests(visit, 'create-delete', '')
    visit.tidy()


def memory(visit: Visit) -> Measured:
    """After everything has been asked for."""

    def measure() -> Figures:
        found = measures.anonymous(visit.contender.roots())
        if not found:
            raise api.NoFigure(api.NO_ANSWER)
        # Those with Glance in them are larger than any of the rest.
        workers = found[: visit.contender.processes]
        return {'worker': sum(workers) / len(workers), 'all': sum(found)}

    yield 'memory', measure


def _transfers(
    visit: Visit, transfers: list[clients.Transfer], wanted: tuple[int, int]
) -> Figures:
    visit.settle()
    roots = visit.contender.roots()
    before = measures.cpu_seconds(roots)
    seconds, found = clients.curl(transfers)
    used = measures.cpu_seconds(roots) - before
    for code, size in found:
        if (code, size) != wanted:
            raise api.NoFigure(_refusal(code, wanted[0]))
    gib = visit.gib * len(transfers)
    return {
        'seconds': seconds,
        'bytes_per_second': gib * GIB / seconds,
        'cpu_per_gib': used / gib,
    }


def _refusal(code: int, wanted: int) -> str:
    if code in (0, wanted):
        return 'cut off'
    return f'refused ({code})'


def download(visit: Visit) -> Measured:
    """The large image, by several clients at once, whose memory has it."""

    def measure(number: int) -> Figures:
        size = visit.contender.ground.size
        transfer = clients.download(
            visit.contender.download_url(), visit.token
        )
        return _transfers(visit, [transfer] * number, (200, size))

    # Out of the disk's way, and of what the first one loads.
    clients.curl(
        [clients.download(visit.contender.download_url(), visit.token)]
    )
    for number in DOWNLOADS:
        yield str(number), lambda number=number: measure(number)


def upload(visit: Visit) -> Measured:
    """As many bytes, into new images."""

    def measure(number: int, chunked: bool) -> Figures:
        ids = [visit.images.create() for _ in range(number)]
        transfers = [
            clients.upload(
                f'{visit.contender.url}/v2/images/{image}/file',
                visit.token,
                visit.contender.ground.file,
                chunked,
            )
            for image in ids
        ]
        figures = _transfers(visit, transfers, (204, 0))
        for image in ids:
            facts = visit.images.show(image)
            if facts['os_hash_value'] != visit.contender.ground.sha512:
                raise api.NoFigure('wrong bytes')
            visit.images.delete(image)
        return figures

    for chunked in (False, True):
        for number in UPLOADS:
            case = f'{number} chunked' if chunked else str(number)
            yield case, lambda n=number, c=chunked: measure(n, c)
    visit.tidy()


def write(visit: Visit) -> Measured:
    """The limit of an upload: a file copied, and both hashes of it."""
    ground = visit.contender.ground

    def measure(number: int) -> Figures:
        copies = [
            visit.contender.place / f'copy{index}' for index in range(number)
        ]
        before = clients.children_cpu()
        began = time.perf_counter()
        with futures.ThreadPoolExecutor(number) as pool:
            found = list(
                pool.map(lambda copy: _hashing_copy(ground.file, copy), copies)
            )
        seconds = time.perf_counter() - began
        used = clients.children_cpu() - before
        for copy in copies:
            copy.unlink()
        if any(pair != (ground.md5, ground.sha512) for pair in found):
            raise api.NoFigure('wrong bytes')
        gib = visit.gib * number
        return {
            'seconds': seconds,
            'bytes_per_second': gib * GIB / seconds,
            'cpu_per_gib': used / gib,
        }

    for number in UPLOADS:
        yield str(number), lambda number=number: measure(number)


def _hashing_copy(file: pathlib.Path, copy: pathlib.Path) -> tuple[str, str]:
    """``cat`` into a file by way of ``tee``, OpenSSL for the hashes.

    :return: MD5 and SHA-512, in hexadecimal
    """
    hashing = [
        subprocess.Popen(
            ['openssl', 'dgst', f'-{name}', '-r'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in ('md5', 'sha512')
    ]
    handles = [process.stdin.fileno() for process in hashing]
    with (
        copy.open('wb') as target,
        subprocess.Popen(['cat', file], stdout=subprocess.PIPE) as cat,
    ):
        subprocess.run(
            ['tee', *(f'/dev/fd/{handle}' for handle in handles)],
            stdin=cat.stdout,
            stdout=target,
            pass_fds=handles,
            check=True,
        )
    md5, sha512 = (process.communicate()[0] for process in hashing)
    return md5.split()[0].decode(), sha512.split()[0].decode()


def slow(visit: Visit) -> Measured:
    """How long an image is waited for while others are slow."""
    hangs = False

    def measure(downloads: int, uploads: int) -> Figures:
        nonlocal hangs
        # What hangs with few of them is not asked with more.
        if hangs and downloads:
            raise api.NoFigure(api.NO_ANSWER)
        try:
            figures = _while_slow(visit, downloads, uploads)
        except api.NoFigure:
            hangs = hangs or bool(downloads)
            visit.restart()
            raise
        # What was cut off has to be undone; the next one wants the machine.
        measures.rest(visit.contender.roots(), api.READY)
        return figures

    for downloads, uploads in SLOW:
        case = f'{downloads}+{uploads}'
        yield case, lambda d=downloads, u=uploads: measure(d, u)
    visit.tidy()


def _while_slow(visit: Visit, downloads: int, uploads: int) -> Figures:
    visit.settle()
    contender = visit.contender
    with futures.ThreadPoolExecutor(8) as pool:
        images = list(
            pool.map(lambda _: visit.images.create(), range(uploads))
        )
    size = contender.ground.size
    within = 5 + (downloads + uploads) / 100
    ids = [contender.image] * downloads
    to = (contender.url, visit.token)
    with (
        clients.slow('download', *to, ids, size, within) as down,
        clients.slow('upload', *to, images, size, within) as up,
    ):
        visit.images.await_uploads(uploads)
        visit.images.answers(contender.image)
        answers = clients.wrk(
            f'{contender.url}/v2/images/{contender.image}',
            visit.token,
            'show',
            ASKING,
            visit.seconds,
            BODY,
        )
    see_all(downloads, down)
    see_all(uploads, up)
    return {
        **dataclasses.asdict(answers),
        'slow_downloads': down.get('begun'),
        'slow_uploads': up.get('begun'),
        'ended': {'downloads': down.get('ended'), 'uploads': up.get('ended')},
    }


def see_all(asked: int, said: dict) -> None:
    """See that all slow clients were there to the end.

    :raises api.NoFigure: some were refused, or cut
    """
    begun = said.get('begun', 0)
    if begun < asked:
        raise api.NoFigure(f'{begun} of {asked} clients')


WORKS = {
    'start': ('bytes', start),
    'show': ('api', show),
    'list': ('api', list_images),
    'create-delete': ('api', create_delete),
    'memory': ('api', memory),
    'download': ('bytes', download),
    'upload': ('api', upload),
    'write': ('limit', write),
    'slow': ('api', slow),
}
"""Each with the kind of contender that can do it, in their order."""


def measure(visits: list[Visit], names: list[str]) -> None:
    """Every case of these works: its figures, or why there are none.

    A case of all contenders before the next case, so that what is compared
    was measured within minutes.
    """
    for name, (kind, work) in WORKS.items():
        if name not in names:
            continue
        for visit in visits:
            visit.renew()
        left = [
            (visit, _cases(name, work(visit)))
            for visit in visits
            if kind in visit.contender.kinds
        ]
        while left:
            left = [
                (visit, cases) for visit, cases in left if visit.measure(cases)
            ]


def _cases(name: str, cases: Measured) -> Iterator[Item]:
    for case, run in cases:
        yield {'work': name, 'case': case, **_outcome(run)}


def _outcome(run: Callable[[], Figures]) -> Figures:
    try:
        return run()
    except api.NoFigure as reason:
        return {'problem': str(reason)}
    except (OSError, subprocess.SubprocessError) as error:
        # An hour of measuring is not lost to one contender that fails;
        # requests' errors are OSErrors too.
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        return {'problem': 'failed'}
