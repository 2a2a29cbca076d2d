"""The tables of a run, in reStructuredText."""

import dataclasses
from collections.abc import Callable

import aims
import runs
from runs import Figure

MIB = 2**20


def of(run: runs.Run) -> list[str]:
    """What was measured on, what was reached, then each figure."""
    tables = [table for table in TABLES if run.cases(table.work)]
    return [
        conditions(run),
        *aimed(run),
        *(
            f'.. rubric:: {table.title}\n\n{table.text(run)}'
            for table in tables
        ),
        *process_table(run),
    ]


def conditions(run: runs.Run) -> str:
    """On what, and how often."""
    machine, options = run.facts['machine'], run.facts['options']
    return (
        f'{machine["date"]}, {machine["cpus"]} CPUs ({machine["cpu"]}), '
        f'{machine["memory_gib"]:.0f} GiB, {machine["system"]}, Python '
        f'{machine["python"]}, Glance {machine["glance"]}, uWSGI '
        f'{machine["uWSGI"]}, gunicorn {machine["gunicorn"]}. '
        f'{_rounds(options["rounds"])}, an image of '
        f'{options["size"] / MIB:.0f} MiB on {options["filesystem"]}, '
        f'{options["seconds"]} s for each case with requests.'
    )


def _rounds(number: int) -> str:
    return f'Medians of {number} rounds' if number > 1 else 'One round'


def _rate(value: float) -> str:
    return f'{value:.0f}/s'


def _ms(value: float) -> str:
    return f'{value * 1000:.1f} ms'


def _mib(value: float) -> str:
    return f'{value / MIB:.0f} MiB'


def _mib_rate(value: float) -> str:
    return f'{value / MIB:.0f} MiB/s'


def _number(value: float) -> str:
    return f'{value:.0f}'


def _seconds(value: float) -> str:
    return f'{value:.2f} s'


@dataclasses.dataclass(frozen=True)
class Table:
    """A figure of a work: a row for each contender, a column for each case.

    :param by: what the cases are
    :param show: writes a figure
    :param references: the contenders that it is divided by
    """

    what: str
    by: str
    work: str
    name: str
    show: Callable[[float], str]
    references: tuple[str, ...] = (runs.STOCK,)

    @property
    def title(self) -> str:
        """Its heading."""
        return f'{self.what}, by {self.by}'

    def text(self, run: runs.Run) -> str:
        """The table."""
        cases = run.cases(self.work)
        rows = []
        for contender in run.contenders():
            cells = [
                cell(
                    run,
                    contender,
                    Figure(self.work, case, self.name),
                    self.show,
                    self.references,
                )
                for case in cases
            ]
            if any(cells):
                rows.append([contender, *cells])
        return grid(['', *cases], rows)


def cell(
    run: runs.Run,
    contender: str,
    figure: Figure,
    show: Callable[[float], str],
    references: tuple[str, ...] = (runs.STOCK,),
) -> str:
    """The median with its ratios, or why there is none."""
    value = run.median(contender, figure)
    if value is None:
        return run.problem(contender, figure) or ''
    found = [
        run.ratio(contender, reference, figure)
        for reference in references
        if reference in run.contenders()
    ]
    ratios = ', '.join('-' if one is None else f'{one:.2f}' for one in found)
    return f'{show(value)} ({ratios})' if ratios else show(value)


def grid(heading: list[str], rows: list[list[str]]) -> str:
    """A simple table of reStructuredText."""
    # An empty first cell would go on with the row above.
    lines = [heading, *rows]
    lines = [[text or r'\ ' for text in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = '  '.join('=' * width for width in widths)
    text = [
        '  '.join(
            item.ljust(width) for item, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]
    return '\n'.join([rule, text[0], rule, *text[1:], rule])


def aimed(run: runs.Run) -> list[str]:
    """What was to be reached, and what was by each of our servers."""
    present = [name for name in aims.OURS if name in run.contenders()]
    if not present:
        return []
    rows = [
        [aim.what, aim.bound(), *(aim.verdict(run, name) for name in present)]
        for aim in aims.AIMS
    ]
    return ['.. rubric:: Aims\n\n' + grid(['', 'Aim', *present], rows)]


def process_table(run: runs.Run) -> list[str]:
    """What a contender takes to be there at all."""
    columns = {
        'start to first answer': (
            Figure('start', 'start', 'seconds'),
            _seconds,
        ),
        'PSS of a worker': (Figure('memory', 'memory', 'worker'), _mib),
        'PSS of all processes': (Figure('memory', 'memory', 'all'), _mib),
    }
    rows = [
        [
            contender,
            *(
                cell(run, contender, figure, show)
                for figure, show in columns.values()
            ),
        ]
        for contender in run.contenders()
    ]
    rows = [row for row in rows if any(row[1:])]
    if not rows:
        return []
    text = grid(['', *columns], rows)
    return [f'.. rubric:: Start and memory\n\n{text}']


CLIENTS = 'clients'
AT_ONCE = 'how many at once'
SLOW = 'slow downloads + slow uploads'
BOTH = (runs.STOCK, runs.LIMIT)

TABLES = (
    Table('Show an image, requests', CLIENTS, 'show', 'per_second', _rate),
    Table('Show an image, p99', CLIENTS, 'show', 'p99', _ms),
    Table('List 20 images, requests', CLIENTS, 'list', 'per_second', _rate),
    Table('List 20 images, p99', CLIENTS, 'list', 'p99', _ms),
    Table(
        'Create and delete, requests',
        *(CLIENTS, 'create-delete', 'per_second', _rate),
    ),
    Table('Create and delete, p99', CLIENTS, 'create-delete', 'p99', _ms),
    Table(
        'Downloads, throughput',
        *(AT_ONCE, 'download', 'bytes_per_second', _mib_rate, BOTH),
    ),
    Table(
        'Downloads, CPU per GiB',
        *(AT_ONCE, 'download', 'cpu_per_gib', _seconds, BOTH),
    ),
    Table(
        'Uploads, throughput',
        *(AT_ONCE, 'upload', 'bytes_per_second', _mib_rate, BOTH),
    ),
    Table(
        'Uploads, CPU per GiB',
        *(AT_ONCE, 'upload', 'cpu_per_gib', _seconds, BOTH),
    ),
    Table('Show an image, p50', SLOW, 'slow', 'p50', _ms),
    Table('Show an image, p99', SLOW, 'slow', 'p99', _ms),
    Table(
        'Slow downloads that still went on at the end',
        *(SLOW, 'slow', 'slow_downloads', _number, ()),
    ),
    Table(
        'Slow uploads that still went on at the end',
        *(SLOW, 'slow', 'slow_uploads', _number, ()),
    ),
)
