"""Tell which tests failed, and how, from pytest's JUnit reports.

    tools/failures.py DIRECTORY

A run of all environments prints thousands of lines, and what failed is
somewhere among them: this tells it once more, where people look, at the end.
"""

import pathlib
import sys
import xml.etree.ElementTree as ElementTree

LAST = 40
"""So many lines of each failure: pytest ends with the assertion."""


def failures(report: pathlib.Path):
    """Each test that failed or could not be set up, and what it said."""
    # pytest of this very run has written it
    tree = ElementTree.parse(report)  # noqa: S314
    for case in tree.iter('testcase'):
        for verdict in ('failure', 'error'):
            for found in case.iterfind(verdict):
                name = f'{case.get("classname")}.{case.get("name")}'
                yield name, found.text or found.get('message') or ''


def main(directory: str) -> None:
    for report in sorted(pathlib.Path(directory).glob('*.xml')):
        for name, said in failures(report):
            print(f'\n=== {report.stem}: {name}')
            print('\n'.join(said.splitlines()[-LAST:]))


if __name__ == '__main__':
    main(sys.argv[1])
