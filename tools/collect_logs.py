#!/usr/bin/env python3
"""tools/collect_logs.py DIRECTORY: logs and configuration, without secrets.

Everything that tells what a web server did with the Images API on this
machine, as "glance-wsgi install", the devstack plugin and the upgrade job
leave it, is copied below the directory under its own path. Passwords, tokens
and keys in configuration are overwritten on the way; private keys are left
out.
"""

import pathlib
import re
import sys

CONFIGURATION = (
    '/etc/glance/*.conf',
    '/etc/glance/*.ini',
    '/etc/glance-remote/*.conf',
    '/etc/glance-remote/*.ini',
    '/etc/glance-wsgi/**/*',
    '/etc/apache2/sites-enabled/*',
    '/etc/httpd/conf.d/*glance*',
    '/etc/systemd/system/glance-wsgi.service',
    '/etc/systemd/system/*.service.d/glance-wsgi.conf',
    '/etc/tmpfiles.d/glance-wsgi.conf',
    '/opt/glance-wsgi-upgrade/state/etc/**/*.conf',
    '/opt/glance-wsgi-upgrade/state/etc/**/*.ini',
)
LOGS = (
    '/var/log/glance-wsgi/*',
    '/var/log/apache2/*.log',
    '/var/log/httpd/*log',
    '/opt/glance-wsgi-upgrade/state/log/*',
)

MASK = '***'

# A name that says that its value is one.
_NAME = (
    r'(?:[\w.-]*(?:password|passwd|secret|token|credential|_key)[\w.-]*|key)'
)
# NAME = VALUE, also where it is a comment; Apache's SetEnv NAME VALUE.
_SECRET = re.compile(
    rf'^([ \t]*#?[ \t]*(?:["\']?{_NAME}["\']?[ \t]*[=:]'
    rf'|SetEnv[ \t]+{_NAME}[ \t])[ \t]*)\S.*$',
    re.IGNORECASE | re.MULTILINE,
)
# scheme://USER:PASSWORD@HOST, whose password may have an @, but no /
_IN_URL = re.compile(r'(://[^\s:/@]*:)[^\s/]+(@)')
_PRIVATE = re.compile(
    r'-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----',
    re.DOTALL,
)


def without_secrets(text: str) -> str:
    """A configuration file without what is secret in it."""
    text = _PRIVATE.sub(MASK, text)
    text = _SECRET.sub(rf'\1{MASK}', text)
    return _IN_URL.sub(rf'\1{MASK}\2', text)


def collect(
    target: pathlib.Path, root: pathlib.Path = pathlib.Path('/')
) -> int:
    """Copy everything there is; how many files that were.

    The directory is there afterwards, whether it has any or not.

    :param root: what the paths are below
    """
    count = 0
    target.mkdir(parents=True, exist_ok=True)
    for patterns, change in (
        (CONFIGURATION, without_secrets),
        (LOGS, lambda text: text),
    ):
        for pattern in patterns:
            for file in sorted(root.glob(pattern.lstrip('/'))):
                if file.is_file():
                    copy = target / file.relative_to(root)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    text = file.read_text(errors='surrogateescape')
                    copy.write_text(change(text), errors='surrogateescape')
                    count += 1
    return count


def main(words: list[str]) -> int:
    """Collect, if anything is there; 2 where it can't be done."""
    if len(words) != 1 or words[0].startswith('-'):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        count = collect(pathlib.Path(words[0]))
    except OSError as error:
        print(f'collect_logs.py: {error}', file=sys.stderr)
        return 2
    print(f'{count} files.')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
