"""The programs that ask: wrk for requests, curl for bytes, and slow ones.

None of them is given a token in its arguments, which everybody can read.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import api

HERE = pathlib.Path(__file__).parent
TRANSFER_TIMEOUT = 180  # seconds for all transfers of a case
ANSWER_TIMEOUT = 10  # seconds after which wrk counts an answer as late


@dataclasses.dataclass(frozen=True)
class Answers:
    """What wrk has seen; times in seconds.

    Its percentiles are of its own histogram, corrected for what a client that
    waits for an answer does not ask meanwhile.

    :param client_cpu: CPU-seconds that wrk itself took
    """

    requests: int
    seconds: float
    p50: float
    p90: float
    p99: float
    longest: float
    refused: int
    broken: int
    late: int
    client_cpu: float


def wrk(
    url: str, token: str, work: str, clients: int, seconds: int, body: str
) -> Answers:
    """Ask again and again, each client when it has its answer.

    :param work: see requests.lua
    :raises api.NoFigure: no answer at all, or answers that are errors
    """
    before = children_cpu()
    result = subprocess.run(
        [
            'wrk',
            '--threads=1',
            f'--connections={clients}',
            f'--duration={seconds}s',
            f'--timeout={ANSWER_TIMEOUT}s',
            f'--script={HERE / "requests.lua"}',
            url,
        ],
        env={**os.environ, 'TOKEN': token, 'WORK': work, 'BODY': body},
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = (
        line for line in result.stdout.splitlines() if line.startswith('JSON ')
    )
    # Nothing at all has percentiles that are no JSON.
    facts = json.loads(line.removeprefix('JSON ').replace('-nan', '0'))
    answers = Answers(**facts, client_cpu=children_cpu() - before)
    if answers.requests == 0:
        raise api.NoFigure(api.NO_ANSWER)
    if answers.refused * 100 > answers.requests:
        raise api.NoFigure('errors')
    return answers


def children_cpu() -> float:
    """CPU-seconds of every child that has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclasses.dataclass(frozen=True)
class Transfer:
    """One request of curl's.

    :param options: of its configuration file
    """

    url: str
    options: dict[str, str]

    def config(self) -> str:
        """https://curl.se/docs/manpage.html#-K"""
        lines = {
            'url': self.url,
            'noproxy': '*',
            'output': os.devnull,
            'write-out': '%{http_code} %{size_download}',
            'max-time': str(TRANSFER_TIMEOUT),
            **self.options,
        }
        return '\n'.join(
            [
                'silent',
                *(f'{name} = "{value}"' for name, value in lines.items()),
            ]
        )


def download(url: str, token: str) -> Transfer:
    """Of which nothing is kept."""
    return Transfer(url, {'header': f'X-Auth-Token: {token}'})


def upload(
    url: str, token: str, file: pathlib.Path, chunked: bool
) -> Transfer:
    """Of a file, in chunks or with its length.

    Without "Expect: 100-continue": some servers never answer it, and curl
    would wait for a second, as no client of OpenStack's does.
    """
    headers = [
        f'X-Auth-Token: {token}',
        'Content-Type: application/octet-stream',
        'Expect:',
        *(['Transfer-Encoding: chunked'] if chunked else []),
    ]
    # One name several times: the quotes are those that `config` leaves out.
    joined = '"\nheader = "'.join(headers)
    return Transfer(url, {'upload-file': str(file), 'header': joined})


def curl(transfers: list[Transfer]) -> tuple[float, list[tuple[int, int]]]:
    """Run all of them at once.

    :return: seconds from the first start to the last end; the status and the
        bytes that came of each
    """
    began = time.perf_counter()
    running = []
    for transfer in transfers:
        process = subprocess.Popen(
            # "-q" first: nobody's .curlrc
            ['curl', '-q', '--config', '-'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        process.stdin.write(transfer.config())
        process.stdin.close()
        process.stdin = None
        running.append(process)
    said = [process.communicate()[0] for process in running]
    seconds = time.perf_counter() - began
    pairs = [text.split() for text in said]
    return seconds, [(int(code), int(size)) for code, size in pairs]


@contextlib.contextmanager
def slow(
    kind: str, url: str, token: str, ids: list[str], size: int, within: float
) -> Iterator[dict]:
    """Slow clients, one for each image; see slow.py.

    :param within: seconds until all should have begun
    :return: what has become of them, when the block has ended
    """
    facts: dict = {}
    if not ids:
        yield facts
        return
    task = {
        'kind': kind,
        'url': url,
        'token': token,
        'ids': ids,
        'size': size,
        'within': within,
    }
    with subprocess.Popen(
        [sys.executable, HERE / 'slow.py'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            process.stdin.write(json.dumps(task) + '\n')
            process.stdin.flush()
            process.stdout.readline()
            yield facts
            said, _ = process.communicate(timeout=30)
            facts |= json.loads(said)
        finally:
            process.kill()
