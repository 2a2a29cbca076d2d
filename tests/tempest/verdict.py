"""What the results of the published suites amount to.

A result is what became of one test. Where a whole class was skipped there is
one for the class, with the name ``setUpClass (module.Class)``.
"""

import csv
import dataclasses
import pathlib
import re
from collections.abc import Iterable, Mapping

ENOUGH = 250
"""How many tests have to pass, in both passes together."""

SKIPS = pathlib.Path(__file__).with_name('skips.csv')


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of a test.

    :param status: ``success``, ``skip``, or something that is a failure
    :param said: why it was skipped, or how it failed
    """

    test: str
    status: str
    said: str = ''

    @property
    def failed(self) -> bool:
        """Whatever is neither: also a test that never came to its end."""
        return self.status not in ('success', 'skip')

    def covers(self, test: str) -> bool:
        """Whether this result is one of that test, or of a class with it."""
        whole = re.fullmatch(r'setUpClass \((.+)\)', self.test)
        return test.startswith(f'{whole[1]}.') if whole else test == self.test


@dataclasses.dataclass(frozen=True)
class Skip:
    """A skip that is known: a row of the list that is documented.

    :param test: the name that the result has
    :param said: what the suite says, or a part of that
    :param why: the reason behind it
    """

    test: str
    said: str
    why: str


def known_skips(path: pathlib.Path = SKIPS) -> list[Skip]:
    """The list."""
    with path.open(newline='') as file:
        return [Skip(**row) for row in csv.DictReader(file)]


def named(test: str) -> str:
    """A test's name without the tags that Tempest puts behind it."""
    return re.sub(r'\[.*\]$', '', test)


def combined(
    first: Iterable[Result], second: Iterable[Result]
) -> list[Result]:
    """The results of two passes, without skips that the second made up for."""
    second = list(second)
    return [
        *(
            result
            for result in first
            if result.status != 'skip'
            or not any(result.covers(again.test) for again in second)
        ),
        *second,
    ]


def complaints(
    results: Iterable[Result], skips: Iterable[Skip], enough: int = ENOUGH
) -> list[str]:
    """What is wrong with the results, a paragraph each; may be none."""
    results = list(results)
    known = {skip.test: skip for skip in skips}
    skipped = {one.test: one for one in results if one.status == 'skip'}
    found = [
        f'{one.test} ended as "{one.status}":\n{one.said}'
        for one in results
        if one.failed
    ]
    for test, one in skipped.items():
        if test not in known or known[test].said not in one.said:
            found.append(
                f'{test} was skipped ("{one.said}"), and {SKIPS.name} does '
                'not say why.'
            )
    found += [
        f'{test} is in {SKIPS.name} and was not skipped.'
        for test in known
        if test not in skipped
    ]
    passed = counts(results)['passed']
    if passed < enough:
        found.append(f'{passed} tests passed, not {enough} or more.')
    return found


def counts(results: Iterable[Result]) -> Mapping[str, int]:
    """How many passed, were skipped and failed.

    A test that does the same in both passes counts once.
    """
    results = list(results)
    return {
        'passed': len(
            {one.test for one in results if one.status == 'success'}
        ),
        'skipped': len({one.test for one in results if one.status == 'skip'}),
        'failed': len({one.test for one in results if one.failed}),
    }
