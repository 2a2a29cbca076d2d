"""Finds out what a file configures, and reads it as that."""

import pathlib
import re

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
    r'|(Alias|CustomLog|Define|DocumentRoot|ErrorLog|Include|IncludeOptional'
    r'|LimitRequestBody|Listen|LoadModule|LogFormat|ProxyPass|ProxyTimeout'
    r'|RequestHeader|RequestReadTimeout|ServerName|ServerRoot|SetEnv|SSLEngine'
    r'|Timeout|WSGI\w+)[ \t]+\S)',
    re.MULTILINE | re.IGNORECASE,
)


def read(path: pathlib.Path) -> Document:
    """One file, by its content.

    :raises errors.FileNotChecked: it can't be read, or is nothing we know
    """
    text = _text(path)
    found = set(_SECTION.findall(text))
    try:
        if 'uwsgi' in found:
            return ini.uwsgi(path, text)
        if found & _UNIT_SECTIONS:
            return ini.unit(path, text)
        if _GLANCE.search(text):
            return ini.oslo(path, text, Kind.GLANCE)
        if found & _OSLO_SECTIONS:
            return ini.oslo(path, text, Kind.OSLO)
    except iniparser.ParseError as error:
        raise _not_checked(path, f'is damaged {error}') from error
    if _APACHE.search(text):
        return httpd.read(path, text)
    raise _not_checked(path, 'is no configuration that can be checked')


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


def _not_checked(path: pathlib.Path, why: str) -> errors.FileNotChecked:
    return errors.FileNotChecked(
        f'{path} {why}.',
        'Give ini files of uWSGI, Apache configurations, glance-api.conf, or '
        'systemd units.',
    )
