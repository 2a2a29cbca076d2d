"""Measures ``glance-wsgi``: first and second ``up``, ``down``, memory.

    python tests/perf/up_down.py [--runs N] [--requests N]

Run it with the Python of the virtualenv that glance-wsgi is in. Each run makes
a deployment of its own, on free ports in a temporary directory, and removes
it. It prints a table of medians, with the lowest and the highest value.
"""

import argparse
import contextlib
import json
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import psutil

PROGRAM = pathlib.Path(sys.prefix, 'bin', 'glance-wsgi')
MIB = 2**20

Figures = dict[str, float]


def main() -> None:
    """Measure, then print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--runs', type=int, default=3)
    parser.add_argument('--requests', type=int, default=200)
    arguments = parser.parse_args()
    runs = []
    for number in range(arguments.runs):
        print(f'run {number + 1} of {arguments.runs} ...', file=sys.stderr)
        runs.append(measure(arguments.requests))
    show(runs)


def measure(requests: int) -> Figures:
    """One deployment, from nothing to nothing."""
    # Not in /tmp, where a service user may not reach it.
    with tempfile.TemporaryDirectory(dir='/var/tmp') as directory:
        pathlib.Path(directory).chmod(0o755)
        state_dir = f'--state-dir={directory}/state'
        listen = free_address()
        up = (
            'up',
            state_dir,
            f'--listen={listen}',
            f'--keystone-listen={free_address()}',
        )
        try:
            figures = {
                'first up, s': seconds(*up),
                'second up, s': seconds(*up),
            }
            ask(f'http://{listen}/versions', requests)
            figures |= memory(state_dir)
            figures['down, s'] = seconds('down', state_dir)
            return figures
        finally:
            glance_wsgi('down', state_dir, '--purge', '--timeout=0')


def free_address() -> str:
    """HOST:PORT on loopback that nobody listens on."""
    with contextlib.closing(socket.create_server(('127.0.0.1', 0))) as taken:
        return f'127.0.0.1:{taken.getsockname()[1]}'


def glance_wsgi(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run(
        [PROGRAM, *words], capture_output=True, text=True, cwd='/'
    )


def seconds(*words: str) -> float:
    """How long a command takes that has to succeed."""
    began = time.monotonic()
    result = glance_wsgi(*words)
    took = time.monotonic() - began
    if result.returncode:
        sys.exit(result.stdout + result.stderr)
    return took


def ask(url: str, times: int) -> None:
    """Let the workers do something, so that they have loaded what they use."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(times):
        # "300 Multiple Choices" is what a list of versions answers.
        with contextlib.suppress(urllib.request.HTTPError):
            direct.open(url).close()


def memory(state_dir: str) -> Figures:
    """The mean of each kind of worker, and the sum of everything, in MiB."""
    shown = glance_wsgi('status', state_dir, '-f', 'json').stdout
    rows = json.loads(shown)['processes']
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        facts = psutil.Process(row['pid']).memory_full_info()
        found.setdefault(row['name'], []).append(
            (facts.rss / MIB, facts.pss / MIB)
        )
    figures = {}
    for name in ('glance-api worker', 'keystone worker'):
        rss, pss = zip(*found[name], strict=True)
        figures[f'{name} RSS, MiB'] = statistics.mean(rss)
        figures[f'{name} PSS, MiB'] = statistics.mean(pss)
    everything = [pss for pairs in found.values() for _, pss in pairs]
    figures['all processes PSS, MiB'] = sum(everything)
    return figures


def show(runs: list[Figures]) -> None:
    """A table of all figures."""
    print(f'{"":28}{"median":>9}{"lowest":>9}{"highest":>9}')
    for name in runs[0]:
        values = [run[name] for run in runs]
        median = statistics.median(values)
        print(f'{name:28}{median:9.1f}{min(values):9.1f}{max(values):9.1f}')


if __name__ == '__main__':
    main()
