"""Merge pip's installation reports into one constraints file.

reports2constraints.py SERIES PYTHON=REPORT... >constraints/SERIES.txt
"""

import json
import re
import sys


def main(series: str, *reports: str) -> None:
    versions: dict[str, dict[str, str]] = {}  # {name: {Python: version}}
    for python, path in (report.split('=', 1) for report in reports):
        with open(path) as report:
            for item in json.load(report)['install']:
                data = item['metadata']
                name = re.sub(r'[-_.]+', '-', data['name']).lower()
                versions.setdefault(name, {})[python] = data['version']
    pythons = ', '.join(report.split('=')[0] for report in reports)
    print(f'# The versions of the OpenStack series {series}, resolved on')
    print(f'# Python {pythons}. Made by tools/refresh-constraints.sh.')
    for name in sorted(versions):
        found = versions[name]
        # One line where all Pythons agree; else one for each. A package
        # that some of them don't need is no disagreement.
        if len(set(found.values())) == 1:
            print(f'{name}=={found.popitem()[1]}')
            continue
        for python, version in found.items():
            print(f"{name}=={version};python_version=='{python}'")


main(*sys.argv[1:])
