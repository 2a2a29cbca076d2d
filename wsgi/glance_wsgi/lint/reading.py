"""Finds out what a file configures, and reads it as that."""

import pathlib
import re
from collections.abc import Iterable

from oslo_config import iniparser

from glance_wsgi import errors
from glance_wsgi.lint import httpd
from glance_wsgi.lint import ini
from glance_wsgi.lint.documents import Document
from glance_wsgi.lint.documents import Kind

_SECTION = re.compile(r'^\s*\[([^\]\n]+)\]\s*$', re.MULTILINE)

_UNIT_SECTIONS = {'Unit', 'Service', 'Install', 'Socket', 'Timer'}

# What only a configuration of Glance has.
_GLANCE = re.compile(
    r'^\s*(\[(glance_store|paste_deploy|os_glance_\w+)\]'
    r'|(enabled_backends|worker_self_reference_url|node_staging_uri)\s*=)',
    re.MULTILINE,
)
# What services of OpenStack have in common.
_OSLO_SECTIONS = {
    'DEFAULT',
    'database',
    'keystone_authtoken',
    'oslo_concurrency',
    'oslo_messaging_rabbit',
}

_APACHE = re.compile(
    r'^\s*(<(VirtualHost|Location|LocationMatch|Directory|Proxy|IfModule'
    r'|IfDefine|IfVersion|If)\b[^\n]*>'
    r'|(Alias|AllowEncodedSlashes|CustomLog|Define|DocumentRoot|ErrorLog|Include|IncludeOptional'
    r'|Header|LimitRequestBody|Listen|LoadModule|LogFormat|PidFile|Protocols'
    r'|Proxy\w+|RequestHeader|RequestReadTimeout|Rewrite\w+|Server\w+|SetEnv'
    r'|SSL\w+|Timeout|WSGI\w+)[ \t]+\S)',
    re.MULTILINE | re.IGNORECASE,
)


LARGEST = 2**20
"""Bytes of a file in a directory that may be a configuration."""


def known(
    paths: Iterable[pathlib.Path],
) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """The files to be checked, those in directories among them.

    :return: and those that are passed over: in a directory whatever is no
        configuration that is known, anywhere the scripts that a server loads
        its applications by
    :raises errors.FileNotChecked: nothing is left to be checked
    """
    wanted: list[pathlib.Path] = []
    others: list[pathlib.Path] = []
    given = list(paths)
    for path in given:
        if path.is_dir():
            for file in _files(path):
                (wanted if _is_known(file) else others).append(file)
        else:
            (others if path.suffix == '.wsgi' else wanted).append(path)
    if not wanted:
        names = ', '.join(map(str, given))
        raise _not_checked(names, 'has no configuration that is known')
    return wanted, others


def _files(directory: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path for path in directory.rglob('*') if path.is_file())


def _is_known(path: pathlib.Path) -> bool:
    try:
        return path.stat().st_size <= LARGEST and kind(path) is not None
    except (OSError, errors.FileNotChecked):
        return False


def kind(path: pathlib.Path) -> Kind | None:
    """What a file configures; None if it is nothing we know.

    :raises errors.FileNotChecked: it can't be read
    """
    return _kind(_text(path))


def _kind(text: str) -> Kind | None:
    found = set(_SECTION.findall(text))
    if 'uwsgi' in found:
        return Kind.UWSGI
    if found & _UNIT_SECTIONS:
        return Kind.UNIT
    if _GLANCE.search(text):
        return Kind.GLANCE
    if found & _OSLO_SECTIONS:
        return Kind.OSLO
    return Kind.APACHE if _APACHE.search(text) else None


def read(path: pathlib.Path) -> Document:
    """One file, by its content.

    :raises errors.FileNotChecked: it can't be read, or is nothing we know
    """
    text = _text(path)
    match _kind(text):
        case None:
            raise _not_checked(path, 'is no configuration that is known')
        case Kind.UWSGI:
            return ini.uwsgi(path, text)
        case Kind.UNIT:
            return ini.unit(path, text)
        case Kind.APACHE:
            return httpd.read(path, text)
        case oslo:
            try:
                return ini.oslo(path, text, oslo)
            except iniparser.ParseError as error:
                raise _not_checked(path, f'is damaged {error}') from error


def _text(path: pathlib.Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise _not_checked(path, 'is not a file')
        text = path.read_text()
    except OSError as error:
        why = f"can't be read: {error.strerror}"
        raise _not_checked(path, why) from error
    except ValueError as error:
        raise _not_checked(path, 'is no text') from error
    if '\0' in text:
        raise _not_checked(path, 'is no text')
    return text


def _not_checked(path: pathlib.Path | str, why: str) -> errors.FileNotChecked:
    return errors.FileNotChecked(
        f'{path} {why}.',
        'Give ini files of uWSGI, Apache configurations, glance-api.conf, '
        'systemd units, or a directory that has some.',
    )
