"""The arithmetic of the results: medians, and ratios within a round."""

import statistics
from collections.abc import Mapping, Sequence

Rounds = Mapping[int, float]
"""One figure of one contender, by the number of the round."""


def median(values: Sequence[float]) -> float | None:
    """The middle one; None of none."""
    return statistics.median(values) if values else None


def ratio(figure: Rounds, reference: Rounds) -> float | None:
    """The median of the ratios of the rounds in which both are there.

    Within a round both were measured within minutes, so that a machine that
    becomes slower in the course of the run changes both.
    """
    return median(
        [
            figure[number] / reference[number]
            for number in figure
            if reference.get(number)
        ]
    )


def rotated(items: Sequence[str], number: int) -> list[str]:
    """The order of round `number`, counted from 0: each begins once."""
    start = number % len(items) if items else 0
    return [*items[start:], *items[:start]]


def size(text: str) -> int:
    """Bytes, from a number with or without a unit: 1048576, 16MiB, 1GiB.

    :raises ValueError: it is none
    """
    for unit, factor in {'KiB': 2**10, 'MiB': 2**20, 'GiB': 2**30}.items():
        if text.endswith(unit):
            return int(text.removesuffix(unit)) * factor
    return int(text)
