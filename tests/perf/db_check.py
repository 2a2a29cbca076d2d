"""Measures ``db sync --check`` beside ``glance-manage db version``.

    python tests/perf/db_check.py [--runs N]

Run it with the Python of the virtualenv that glance-wsgi is in. Both are run
in turn on the same SQLite file, so that other work on the machine is shared by
both. It prints a table of medians, with the lowest and the highest value.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

BIN = pathlib.Path(sys.prefix, 'bin')

COMMANDS = {
    'glance-manage db version': ('glance-manage', 'db', 'version'),
    'glance-manage db check': ('glance-manage', 'db', 'check'),
    'glance-wsgi-manage db sync --check': (
        *('glance-wsgi-manage', 'db', 'sync', '--check'),
    ),
}


def main() -> None:
    """Measure, then print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--runs', type=int, default=10)
    arguments = parser.parse_args()
    for name, seconds in measure(arguments.runs).items():
        low, high = min(seconds), max(seconds)
        median = statistics.median(seconds)
        print(f'{name:40} {median:6.2f} s  ({low:.2f} to {high:.2f})')


def measure(runs: int) -> dict[str, list[float]]:
    """The seconds of each run of each command, on a current database."""
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, 'glance-api.conf')
        config.write_text(
            f'[database]\nconnection = sqlite:///{folder}/glance.sqlite\n'
        )
        run('glance-wsgi-manage', config, 'db', 'sync')
        for _ in range(runs):
            for name, (program, *words) in COMMANDS.items():
                began = time.monotonic()
                run(program, config, *words)
                found[name].append(time.monotonic() - began)
    return found


def run(program: str, config: pathlib.Path, *words: str) -> None:
    """One command, to its end."""
    subprocess.run(
        [BIN / program, f'--config-file={config}', *words],
        check=True,
        capture_output=True,
    )


if __name__ == '__main__':
    main()
