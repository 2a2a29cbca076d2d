"""The tables of a run, in reStructuredText."""

from collections.abc import Callable, Iterable

import arithmetic
import runs

STOCK = 'devstack'
"""The contender that the others are compared with."""

LIMIT = runs.LIMIT
OURS = ('uwsgi', 'apache-uwsgi', 'mod_wsgi')
MIB = 2**20
QUIET, BUSY = '0+0', '1000+200'


def of(run: runs.Run) -> list[str]:
    """What was measured on, what was reached, then each figure."""
    parts = [conditions(run)]
    if set(OURS) & set(run.contenders()):
        parts.append(aims(run))
    for title, work, name, show, references in TABLES:
        if run.cases(work):
            parts.append(table(run, title, work, name, show, references))
    return parts


def conditions(run: runs.Run) -> str:
    """On what, and how often."""
    machine, options = run.facts['machine'], run.facts['options']
    return (
        f'{machine["date"]}, {machine["cpus"]} CPUs ({machine["cpu"]}), '
        f'{machine["memory_gib"]:.0f} GiB, {machine["system"]}, Python '
        f'{machine["python"]}, Glance {machine["glance"]}, uWSGI '
        f'{machine["uWSGI"]}, gunicorn {machine["gunicorn"]}. '
        f'{_rounds(options["rounds"])}, an image of '
        f'{options["size"] / MIB:.0f} MiB, {options["seconds"]:g} s for each '
        'case with requests.'
    )


def _rounds(number: int) -> str:
    return f'Medians of {number} rounds' if number > 1 else 'One round'


def _per_second(value: float) -> str:
    return f'{value:.0f}/s'


def _milliseconds(value: float) -> str:
    return f'{value * 1000:.1f} ms'


def _mib(value: float) -> str:
    return f'{value / MIB:.0f} MiB'


def _mib_per_second(value: float) -> str:
    return f'{value / MIB:.0f} MiB/s'


def _seconds(value: float) -> str:
    return f'{value:.2f} s'


STOCKS = (STOCK,)
BOTH = (STOCK, LIMIT)

TABLES: tuple[
    tuple[str, str, str, Callable[[float], str], tuple[str, ...]], ...
] = (
    ('Show an image: requests', 'show', 'per_second', _per_second, STOCKS),
    ('Show an image: p99', 'show', 'p99', _milliseconds, STOCKS),
    ('List 20 images: requests', 'list', 'per_second', _per_second, STOCKS),
    ('List 20 images: p99', 'list', 'p99', _milliseconds, STOCKS),
    (
        'Create and delete: requests',
        *('create-delete', 'per_second', _per_second, STOCKS),
    ),
    ('Create and delete: p99', 'create-delete', 'p99', _milliseconds, STOCKS),
    (
        'Downloads: throughput',
        *('download', 'bytes_per_second', _mib_per_second, BOTH),
    ),
    ('Downloads: CPU per GiB', 'download', 'cpu_per_gib', _seconds, BOTH),
    (
        'Uploads: throughput',
        *('upload', 'bytes_per_second', _mib_per_second, BOTH),
    ),
    ('Uploads: CPU per GiB', 'upload', 'cpu_per_gib', _seconds, BOTH),
    (
        'Show an image while clients are slow: p50',
        *('slow', 'p50', _milliseconds, STOCKS),
    ),
    (
        'Show an image while clients are slow: p99',
        *('slow', 'p99', _milliseconds, STOCKS),
    ),
    (
        'From the start to the first answer',
        'start',
        'seconds',
        _seconds,
        STOCKS,
    ),
    ('Memory of a worker (PSS)', 'memory', 'worker', _mib, STOCKS),
    ('Memory of all processes (PSS)', 'memory', 'all', _mib, STOCKS),
)

HEADINGS = {
    'show': '{} clients',
    'list': '{} clients',
    'create-delete': '{} clients',
    'download': '{} at once',
    'upload': '{} at once',
    'slow': '{} slow',
    'start': 'start',
    'memory': 'memory',
}


def table(
    run: runs.Run,
    title: str,
    work: str,
    name: str,
    show: Callable[[float], str],
    references: tuple[str, ...],
) -> str:
    """A figure of a work: a row for each contender, its ratios behind it."""
    cases = run.cases(work)
    rows = []
    for contender in run.contenders():
        cells = [
            cell(run, contender, work, case, name, show, references)
            for case in cases
        ]
        if any(cells):
            rows.append([contender, *cells])
    heading = [HEADINGS[work].format(case) for case in cases]
    return f'.. rubric:: {title}\n\n{grid(["", *heading], rows)}'


def cell(
    run: runs.Run,
    contender: str,
    work: str,
    case: str,
    name: str,
    show: Callable[[float], str],
    references: Iterable[str],
) -> str:
    """The median with its ratios, or why there is none."""
    value = run.median(contender, work, case, name)
    if value is None:
        return run.problem(contender, work, case) or ''
    ratios = [
        f'{ratio:.2f}' if ratio is not None else '-'
        for reference in references
        if reference in run.contenders()
        for ratio in [compare(run, contender, reference, work, case, name)]
    ]
    return f'{show(value)} ({", ".join(ratios)})' if ratios else show(value)


def compare(
    run: runs.Run,
    contender: str,
    reference: str,
    work: str,
    case: str,
    name: str,
) -> float | None:
    """The ratio of one contender's figure to another's."""
    return arithmetic.ratio(
        run.figures(contender, work, case, name),
        run.figures(reference, work, case, name),
    )


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


def aims(run: runs.Run) -> str:
    """What was to be reached, and what was."""
    present = [name for name in OURS if name in run.contenders()]
    rows = []
    for title, aim, reached in AIMS:
        sign = -1 if aim.startswith('at most') else 1
        bound = float(aim.split()[-1])
        cells = []
        for name in present:
            value = reached(run, name)
            if value is None:
                cells.append('-')
            else:
                missed = sign * value < sign * bound
                cells.append(f'{value:.2f}{", missed" if missed else ""}')
        rows.append([title, aim, *cells])
    return '.. rubric:: Aims\n\n' + grid(['', 'Aim', *present], rows)


Reached = Callable[[runs.Run, str], float | None]


def _to(reference: str, work: str, case: str, name: str) -> Reached:
    return lambda run, contender: compare(
        run, contender, reference, work, case, name
    )


def _isolation(run: runs.Run, contender: str) -> float | None:
    return arithmetic.ratio(
        run.figures(contender, 'slow', BUSY, 'p99'),
        run.figures(contender, 'slow', QUIET, 'p99'),
    )


AIMS: tuple[tuple[str, str, Reached], ...] = (
    (
        'one download, throughput, to the limit',
        'at least 0.95',
        _to(LIMIT, 'download', '1', 'bytes_per_second'),
    ),
    (
        'one download, CPU per GiB, to the limit',
        'at most 1.2',
        _to(LIMIT, 'download', '1', 'cpu_per_gib'),
    ),
    (
        'one upload, throughput, to devstack',
        'at least 2.2',
        _to(STOCK, 'upload', '1', 'bytes_per_second'),
    ),
    (
        '4 uploads, throughput, to devstack',
        'at least 1.3',
        _to(STOCK, 'upload', '4', 'bytes_per_second'),
    ),
    (
        'p99 with 1,000 slow downloads and 200 uploads, to that without',
        'at most 1.5',
        _isolation,
    ),
    (
        'show, 16 clients, requests, to devstack',
        'at least 1.3',
        _to(STOCK, 'show', '16', 'per_second'),
    ),
    (
        'show, 16 clients, p99, to devstack',
        'at most 1.0',
        _to(STOCK, 'show', '16', 'p99'),
    ),
    (
        'list, 16 clients, requests, to devstack',
        'at least 1.3',
        _to(STOCK, 'list', '16', 'per_second'),
    ),
    (
        'list, 16 clients, p99, to devstack',
        'at most 1.0',
        _to(STOCK, 'list', '16', 'p99'),
    ),
    (
        'memory of a worker, to devstack',
        'at most 0.7',
        _to(STOCK, 'memory', 'memory', 'worker'),
    ),
    (
        'start to first answer, to devstack',
        'at most 1.0',
        _to(STOCK, 'start', 'start', 'seconds'),
    ),
)
