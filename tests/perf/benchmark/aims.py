"""What our servers are to reach, and whether they did."""

import dataclasses
from collections.abc import Callable

import arithmetic
import runs
from runs import LIMIT
from runs import STOCK
from runs import Figure

OURS = ('uwsgi', 'apache-uwsgi', 'mod_wsgi')

Reached = Callable[[runs.Run, str], float | None]


@dataclasses.dataclass(frozen=True)
class Aim:
    """A ratio.

    :param least: it is to be at least this, or
    :param most: at most this
    :param reached: what a contender has
    """

    what: str
    reached: Reached
    least: float | None = None
    most: float | None = None

    def bound(self) -> str:
        """What is to be reached, in words."""
        if self.least is not None:
            return f'at least {self.least}'
        return f'at most {self.most}'

    def verdict(self, run: runs.Run, contender: str) -> str:
        """What was reached, and whether that is less."""
        value = self.reached(run, contender)
        if value is None:
            return '-'
        missed = (self.least is not None and value < self.least) or (
            self.most is not None and value > self.most
        )
        return f'{value:.3f}, missed' if missed else f'{value:.3f}'


def _to(reference: str, *which: str) -> Reached:
    figure = Figure(*which)
    return lambda run, contender: run.ratio(contender, reference, figure)


def _isolation(run: runs.Run, contender: str) -> float | None:
    busy, quiet = (
        run.figures(contender, Figure('slow', case, 'p99'))
        for case in ('1000+200', '0+0')
    )
    return arithmetic.ratio(busy, quiet)


AIMS = (
    Aim(
        'one download, throughput, to the limit',
        _to(LIMIT, 'download', '1', 'bytes_per_second'),
        least=0.95,
    ),
    Aim(
        'one download, CPU per GiB, to the limit',
        _to(LIMIT, 'download', '1', 'cpu_per_gib'),
        most=1.2,
    ),
    Aim(
        'one upload, throughput, to devstack',
        _to(STOCK, 'upload', '1', 'bytes_per_second'),
        least=2.2,
    ),
    Aim(
        '4 uploads, throughput, to devstack',
        _to(STOCK, 'upload', '4', 'bytes_per_second'),
        least=1.3,
    ),
    Aim(
        'p99 with 1,000 slow downloads and 200 slow uploads, to that without',
        _isolation,
        most=1.5,
    ),
    Aim(
        'show, 16 clients, requests, to devstack',
        _to(STOCK, 'show', '16', 'per_second'),
        least=1.3,
    ),
    Aim(
        'show, 16 clients, p99, to devstack',
        _to(STOCK, 'show', '16', 'p99'),
        most=1.0,
    ),
    Aim(
        'list, 16 clients, requests, to devstack',
        _to(STOCK, 'list', '16', 'per_second'),
        least=1.3,
    ),
    Aim(
        'list, 16 clients, p99, to devstack',
        _to(STOCK, 'list', '16', 'p99'),
        most=1.0,
    ),
    Aim(
        'memory of a worker, to devstack',
        _to(STOCK, 'memory', 'memory', 'worker'),
        most=0.7,
    ),
    Aim(
        'start to first answer, to devstack',
        _to(STOCK, 'start', 'start', 'seconds'),
        most=1.0,
    ),
)
