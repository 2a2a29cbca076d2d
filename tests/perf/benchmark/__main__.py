"""The benchmark: our servers beside what people would have otherwise.

    python tests/perf/benchmark [--rounds N] [--only NAME] [--work NAME]

Run it with the Python of the virtualenv that glance-wsgi is in, as root, on a
machine that does nothing else. In each round all contenders are started, and
each case is measured with one after the other, while the others have nothing
to do; the next round begins with another one. So a machine that changes in the
course of the run changes all of them alike. A run that was interrupted goes on
with the round that it was in when it is started again. When all is measured
the report is written beside the record.
"""

import argparse
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import NoReturn

sys.path.append(str(pathlib.Path(__file__).parents[2] / 'functional'))

import api
import arithmetic
import contenders
import ground
import measures
import report
import runs
import works

TOP = pathlib.Path(__file__).parents[3]

NEEDED = {
    'wrk': 'wrk',
    'curl': 'curl',
    'nginx': 'nginx',
    'openssl': 'openssl',
    'mysqld': 'mariadb-server-core',
}


def main() -> None:
    """Measure what is left to be measured, then report."""
    arguments = parse()
    # nginx and MariaDB are where not everybody looks.
    os.environ['PATH'] += ':/usr/sbin'
    missing = [
        package
        for program, package in NEEDED.items()
        if shutil.which(program) is None
    ]
    if missing:
        sys.exit(f'Not installed: {", ".join(missing)}')
    # A signal ends the block that stops everything.
    signal.signal(signal.SIGTERM, stop)
    record = runs.Run(
        arguments.run / 'run.json',
        {
            'format': runs.FORMAT,
            'rounds': arguments.rounds,
            'size': arguments.size,
            'seconds': arguments.seconds,
            'filesystem': filesystem(arguments.place),
            'only': arguments.only,
            'work': arguments.work,
        },
    )
    left = [
        number for number in range(arguments.rounds) if not record.has(number)
    ]
    if left:
        measure(arguments, record, left)
    report.write(record, arguments.run)
    print(f'The report is in {arguments.run}')


def filesystem(place: pathlib.Path) -> str:
    """The kind of file system that everything is written to."""
    return subprocess.run(
        ['stat', '--file-system', '--format=%T', place],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def stop(number: int, frame: object) -> NoReturn:
    """Tidy up, as after Ctrl-C."""
    sys.exit(128 + number)


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument(
        '--size',
        type=arithmetic.size,
        default='1GiB',
        help='of the image: a multiple of 16MiB',
    )
    parser.add_argument(
        '--seconds',
        type=int,
        default=2,
        help='for which each case with requests asks',
    )
    parser.add_argument(
        '--only',
        type=names_of(contenders.ALL),
        default=list(contenders.ALL),
        metavar='NAME,...',
        help=f'contenders, of {", ".join(contenders.ALL)}',
    )
    parser.add_argument(
        '--work',
        type=names_of(works.WORKS),
        default=list(works.WORKS),
        metavar='NAME,...',
        help=f'what is measured, of {", ".join(works.WORKS)}',
    )
    parser.add_argument(
        '--run',
        type=pathlib.Path,
        default=TOP / 'build' / 'benchmark',
        metavar='DIR',
        help='where the record and the report are; a record is gone on with',
    )
    parser.add_argument(
        '--place',
        type=pathlib.Path,
        default=pathlib.Path('/var/tmp'),
        metavar='DIR',
        help='where databases and stores are made, and removed; a tmpfs, such '
        'as /dev/shm, keeps the disk out of the figures',
    )
    return parser.parse_args()


def names_of(known: dict):
    """A type of an option: some of these names, with commas."""

    def names(text: str) -> list[str]:
        found = text.split(',')
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(f'there is no "{name}"')
        return found

    return names


def measure(
    arguments: argparse.Namespace,
    record: runs.Run,
    left: list[int],
) -> None:
    """Make the ground and the contenders, then measure round by round."""
    with tempfile.TemporaryDirectory(
        prefix='glance-wsgi-perf-', dir=arguments.place
    ) as directory:
        place = pathlib.Path(directory)
        # The service user has to reach what is its own.
        place.chmod(0o755)
        with ground.Ground(place, arguments.size) as common:
            ready = {}
            for name in arguments.only:
                began = time.monotonic()
                ready[name] = contenders.ALL[name](common)
                ready[name].prepare()
                say(f'{name}: prepared', began)
            for number in left:
                began = time.monotonic()
                names = arithmetic.rotated(arguments.only, number)
                record.add(
                    number,
                    measure_round([ready[name] for name in names], arguments),
                )
                say(f'round {number + 1}', began)


def measure_round(
    all_of_them: list[contenders.Contender], arguments: argparse.Namespace
) -> list[works.Visit]:
    """All works of all contenders, from their start to their stop."""
    visits = []
    with contextlib.ExitStack() as stopped:
        for contender in all_of_them:
            stopped.callback(stop_all, contender)
            visits.append(works.Visit(contender, arguments.seconds))
        try:
            if 'start' not in arguments.work:
                for visit in visits:
                    visit.renew()
                    with contextlib.suppress(api.NoFigure):
                        visit.restart()
            works.measure(visits, arguments.work)
        except BaseException:
            for contender in all_of_them:
                print(
                    f'{contender.name} says:\n{contender.said()}',
                    file=sys.stderr,
                )
            raise
    return visits


def stop_all(contender: contenders.Contender) -> None:
    """Stop all of a contender, also what does not want to."""
    roots = contender.roots()
    contender.stop()
    measures.kill(roots, 5)


def say(what: str, began: float) -> None:
    """A line for whoever waits."""
    print(f'{what} ({time.monotonic() - began:.0f} s)', flush=True)


if __name__ == '__main__':
    main()
