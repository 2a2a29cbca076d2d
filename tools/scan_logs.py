#!/usr/bin/env python3
"""tools/scan_logs.py DIRECTORY...: what no log should have in it.

Tracebacks, processes that were killed by a fault of memory, and tokens that
somebody could use. A line for each on standard output, and exit code 1 if
there is one. With --mask tokens are overwritten, so that the files may be
published; with --allow FILE some tracebacks are expected: a regular expression
in each line, which the exception has to match from its beginning.
"""

import argparse
import dataclasses
import pathlib
import re
import sys
from collections.abc import Iterator

TRACEBACK = re.compile(r'Traceback \(most recent call last\):')
LONGEST = 500  # lines of a traceback

FAULT = re.compile(
    r'segfault at|Segmentation [Ff]ault|SIGSEGV|general protection fault'
    r'|core dumped|signal 11\b|\b11/SEGV\b'
)

# Fernet's begin with their version, 0x80, in base64; the others are two or
# three parts of base64 that begin with {" (RFC 7519).
# https://github.com/fernet/spec/blob/master/Spec.md
_TOKENS = (
    r'\bgAAAAA[\w-]{60,}={0,2}',
    r'\beyJ[\w-]{20,}\.[\w-]{20,}(?:\.[\w-]+)?',
    # Whatever a client has sent, but for the digest that keystoneauth logs.
    r'(?i:x-(?:auth|subject|service)-token)["\']?\s*[:=]\s*["\']?'
    r'(?!\{SHA256\})[\w-]{16,}',
)
TOKEN = re.compile('|'.join(_TOKENS))
MASK = '***'


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something in a file that should not be there.

    :param line: its number, from 1
    :param kind: traceback, fault or token
    :param what: what is said of it; never a token
    """

    file: pathlib.Path
    line: int
    kind: str
    what: str

    def __str__(self) -> str:
        return f'{self.file}:{self.line}: {self.kind}: {self.what}'


def scan(
    file: pathlib.Path, text: str, allowed: list[re.Pattern[str]]
) -> Iterator[Finding]:
    """What is in a file, in its order."""
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if TRACEBACK.search(line):
            said = exception(lines[index : index + LONGEST])
            if not any(pattern.match(said) for pattern in allowed):
                yield Finding(file, index + 1, 'traceback', masked(said))
        if FAULT.search(line):
            yield Finding(file, index + 1, 'fault', masked(line.strip()))
        if TOKEN.search(line):
            yield Finding(file, index + 1, 'token', masked(line.strip()))


def exception(lines: list[str]) -> str:
    """The exception that a traceback ends with, as far as it is there.

    :param lines: they begin with the one that has the word
    """
    found = TRACEBACK.search(lines[0])
    # What a logger has written before it is before each of its lines.
    before = found.start() if found else 0
    for line in lines[1:]:
        said = line[before:]
        if said and not said.startswith(' '):
            return said.strip()
    return '(cut off)'


def masked(text: str) -> str:
    """A text without the tokens that are in it."""
    return TOKEN.sub(MASK, text)


def files(places: list[pathlib.Path]) -> Iterator[pathlib.Path]:
    """Every file in the directories."""
    for place in places:
        found = sorted(place.rglob('*')) if place.is_dir() else [place]
        yield from (path for path in found if path.is_file())


def patterns(file: pathlib.Path | None) -> list[re.Pattern[str]]:
    """The regular expressions in a file; empty lines and # mean nothing.

    :raises ValueError: one of them is none, or the file can't be read
    """
    if file is None:
        return []
    try:
        lines = map(str.strip, file.read_text().splitlines())
        return [
            re.compile(line)
            for line in lines
            if line and not line.startswith('#')
        ]
    except (OSError, re.error) as error:
        raise ValueError(f'{file}: {error}') from error


def parsed(words: list[str]) -> argparse.Namespace:
    """The arguments."""
    summary, _, rest = (__doc__ or '').partition('\n')
    parser = argparse.ArgumentParser(
        description=rest, usage=summary.partition(':')[0]
    )
    parser.add_argument('places', nargs='+', type=pathlib.Path)
    parser.add_argument('--allow', type=pathlib.Path)
    parser.add_argument('--mask', action='store_true')
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    """Scan; 0 if nothing was found, 1 if something was, 2 if it can't."""
    arguments = parsed(words)
    count = 0
    try:
        allowed = patterns(arguments.allow)
        for place in arguments.places:
            place.stat()
        for file in files(arguments.places):
            # Bytes that are no text stay what they are.
            text = file.read_text(errors='surrogateescape')
            for finding in scan(file, text, allowed):
                print(str(finding).encode(errors='replace').decode())
                count += 1
            if arguments.mask and TOKEN.search(text):
                file.write_text(masked(text), errors='surrogateescape')
    except (OSError, ValueError) as error:
        print(f'scan_logs.py: {error}', file=sys.stderr)
        return 2
    print(f'{count} found.')
    return 1 if count else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
