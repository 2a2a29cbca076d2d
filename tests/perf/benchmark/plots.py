"""The plots of a run, as SVG files: the same file from the same record."""

import pathlib
from collections.abc import Iterator

import aims
import matplotlib
import runs
from matplotlib import pyplot

# Neither the date nor random names: a plot changes when its figures do.
matplotlib.rcParams['svg.hashsalt'] = 'glance-wsgi'
matplotlib.rcParams['svg.fonttype'] = 'none'

MIB = 2**20
BESIDE = {'bbox_to_anchor': (1, 1)}

LINES = (
    ('show', 'per_second', 'Show an image', 'requests per second'),
    ('list', 'per_second', 'List 20 images', 'requests per second'),
    ('create-delete', 'per_second', 'Create, delete', 'requests per second'),
)

BARS = (
    ('download', 'bytes_per_second', MIB, 'Downloads', 'MiB/s'),
    ('upload', 'bytes_per_second', MIB, 'Uploads', 'MiB/s'),
    ('download', 'cpu_per_gib', 1, 'Downloads', 'CPU-seconds per GiB'),
    ('upload', 'cpu_per_gib', 1, 'Uploads', 'CPU-seconds per GiB'),
    ('memory', 'worker', MIB, 'Memory of a worker', 'PSS, MiB'),
    ('start', 'seconds', 1, 'Start to first answer', 'seconds'),
)


def draw(run: runs.Run, directory: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Write every plot that there are figures for; their names and titles."""
    # No window, on whatever machine.
    pyplot.switch_backend('svg')
    for name, title, works, plot in PLOTS:
        if any(run.cases(work) for work in works):
            figure = plot(run)
            figure.savefig(directory / name, metadata={'Date': None})
            pyplot.close(figure)
            yield name, title


def _requests(run: runs.Run) -> pyplot.Figure:
    figure, axes = pyplot.subplots(1, 3, figsize=(13, 4.5))
    for place, (work, name, title, unit) in zip(axes, LINES, strict=True):
        _lines(place, run, work, name, 1)
        place.set(title=title, xlabel='clients', ylabel=unit, ylim=(0, None))
    _legend(figure, axes[0])
    return figure


def _slow(run: runs.Run) -> pyplot.Figure:
    figure, place = pyplot.subplots(figsize=(9, 5.5))
    _lines(place, run, 'slow', 'p99', 0.001)
    place.set(
        xlabel='slow downloads + slow uploads', ylabel='p99, ms', yscale='log'
    )
    _legend(figure, place)
    return figure


def _lines(
    place: pyplot.Axes, run: runs.Run, work: str, name: str, unit: float
) -> None:
    cases = run.cases(work)
    for number, contender in enumerate(run.contenders()):
        medians = [
            run.median(contender, runs.Figure(work, case, name))
            for case in cases
        ]
        if any(medians):
            values = [
                float('nan') if median is None else median / unit
                for median in medians
            ]
            place.plot(
                range(len(cases)),
                values,
                label=contender,
                color=f'C{number}',
                marker='o',
                linestyle='-' if contender in aims.OURS else '--',
            )
    place.set_xticks(range(len(cases)), cases)


def _bars(run: runs.Run) -> pyplot.Figure:
    figure, axes = pyplot.subplots(3, 2, figsize=(13, 13))
    contenders = run.contenders()
    for place, (work, name, unit, title, label) in zip(
        axes.flat, BARS, strict=True
    ):
        cases = run.cases(work)
        for number, case in enumerate(cases):
            medians = [
                run.median(contender, runs.Figure(work, case, name))
                for contender in contenders
            ]
            height = 0.8 / len(cases)
            place.barh(
                [index + number * height for index in range(len(contenders))],
                [(median or 0) / unit for median in medians],
                height,
                label=case,
                color=f'C{number}',
            )
        place.set(title=title, xlabel=label)
        place.set_yticks(range(len(contenders)), contenders)
        place.invert_yaxis()
        if len(cases) > 1:
            place.legend(title='at once', loc='upper left', **BESIDE)
    figure.tight_layout()
    return figure


def _legend(figure: pyplot.Figure, place: pyplot.Axes) -> None:
    handles, labels = place.get_legend_handles_labels()
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    figure.legend(handles, labels, loc='lower center', ncols=5)


PLOTS = (
    (
        'requests.svg',
        'Requests per second, by the number of clients.',
        ('show', 'list', 'create-delete'),
        _requests,
    ),
    (
        'slow.svg',
        'p99 of showing an image, while others download and upload slowly; '
        'no point where there is no answer.',
        ('slow',),
        _slow,
    ),
    (
        'transfers.svg',
        'Transfers, memory and start; a bar for each case of a contender.',
        ('download', 'upload', 'memory', 'start'),
        _bars,
    ),
)
