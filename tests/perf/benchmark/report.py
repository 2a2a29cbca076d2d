"""The report of a run: its tables and plots, from nothing but its record.

python tests/perf/benchmark/report.py RUN.JSON DIRECTORY
"""

import pathlib
import shutil
import sys

import plots
import runs
import tables


def write(run: runs.Run, directory: pathlib.Path) -> None:
    """The record, `results.txt` (reStructuredText) and the plots."""
    directory.mkdir(parents=True, exist_ok=True)
    record = directory / 'run.json'
    if run.path.resolve() != record.resolve():
        shutil.copyfile(run.path, record)
    parts = tables.of(run)
    parts += [figure(name, text) for name, text in plots.draw(run, directory)]
    (directory / 'results.txt').write_text('\n\n'.join(parts) + '\n')


def figure(name: str, text: str) -> str:
    """A plot, as the documentation finds it from `benchmark.rst`."""
    return f'.. figure:: benchmark/{name}\n   :alt: {text}\n\n   {text}'


if __name__ == '__main__':
    source, target = map(pathlib.Path, sys.argv[1:])
    write(runs.Run(source), target)
