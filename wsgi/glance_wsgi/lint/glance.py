"""What configurations of Glance get wrong."""

import ipaddress
import pathlib
import urllib.parse
from collections.abc import Iterator

from glance_wsgi.lint.documents import Ini
from glance_wsgi.lint.documents import Kind
from glance_wsgi.lint.findings import Check
from glance_wsgi.lint.findings import Hit
from glance_wsgi.lint.findings import Rule
from glance_wsgi.lint.findings import Severity
from glance_wsgi.lint.view import View

_MANUAL = 'https://docs.openstack.org/glance/latest/'
_OPTIONS = f'{_MANUAL}configuration/glance_api.html'
_BUGS = 'https://bugs.launchpad.net/bugs/'

SELF = 'worker_self_reference_url'
STAGING = 'os_glance_staging_store'


def _missing(name: str, section: str) -> Check:
    def check(ini: Ini, seen: View) -> Iterator[Hit]:
        if not ini.text(name, section):
            yield ini.placed(name, section), {}

    return check


def _host(url: str) -> str:
    try:
        return urllib.parse.urlsplit(url).hostname or ''
    except ValueError:
        return ''


def _wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _self_wildcard(ini: Ini, seen: View) -> Iterator[Hit]:
    value = ini.text(SELF, 'DEFAULT')
    if _wildcard(_host(value)):
        yield ini.placed(SELF), {'value': value}


def _self_shared(ini: Ini, seen: View) -> Iterator[Hit]:
    value = ini.text(SELF, 'DEFAULT')
    host = _host(value)
    if not host or _wildcard(host):
        return
    for why in _reasons(ini, host, seen):
        yield ini.placed(SELF), {'value': value, 'reason': why}
        return


def _reasons(ini: Ini, host: str, seen: View) -> Iterator[str]:
    """Why an address is not this node's own."""
    own = seen.context.addresses()
    found = seen.context.resolve(host)
    if any(own.get(address) for address in found):
        yield 'this machine has it as an address that moves'
    # 127.0.1.1, which Debian gives to a machine's own name, is on no
    # interface.
    loop = any(ipaddress.ip_address(one).is_loopback for one in found)
    if found and not found & own.keys() and not loop:
        yield 'no interface of this machine has it'


def _self_public(ini: Ini, seen: View) -> Iterator[Hit]:
    value = ini.text(SELF, 'DEFAULT')
    host = _host(value)
    loop = any(
        ipaddress.ip_address(one).is_loopback
        for one in seen.context.resolve(host)
    )
    public = _host(ini.text('public_endpoint', 'DEFAULT'))
    if host and host == public and not loop:
        yield ini.placed(SELF), {'value': value}


def _self_missing(ini: Ini, seen: View) -> Iterator[Hit]:
    if not ini.text(SELF, 'DEFAULT'):
        yield ini.place, {}


def _self_loopback(ini: Ini, seen: View) -> Iterator[Hit]:
    value = ini.text(SELF, 'DEFAULT')
    if _host(value) in ('127.0.0.1', '::1', 'localhost'):
        yield ini.placed(SELF), {'value': value}


def _interpreter(ini: Ini, seen: View) -> Iterator[Hit]:
    other = seen.apaches() and not seen.uwsgis()
    if not other and not ini.text('python_interpreter', 'wsgi'):
        yield ini.place, {}


def _flavor(ini: Ini, seen: View) -> Iterator[Hit]:
    value = ini.text('flavor', 'paste_deploy')
    if 'keystone' not in value:
        said = f'is "{value}"' if value else 'is not set'
        yield ini.placed('flavor', 'paste_deploy'), {'said': said}


def staging(ini: Ini) -> pathlib.Path | None:
    """Where uploads for an import wait; None where that is not said."""
    named = ini.text('filesystem_store_datadir', STAGING)
    older = ini.text('node_staging_uri', 'DEFAULT').removeprefix('file://')
    return pathlib.Path(named or older) if named or older else None


def _staging(ini: Ini, seen: View) -> Iterator[Hit]:
    place = staging(ini)
    found = ini.placed('filesystem_store_datadir', STAGING)
    if place is None:
        yield ini.place, {'said': 'no directory of its own'}
    elif seen.context.fleeting(place):
        yield found, {'said': f'{place}, which a reboot empties'}


def _directories(ini: Ini, seen: View) -> Iterator[Hit]:
    for section in sorted(ini.sections()):
        several = ini.last('filesystem_store_datadirs', section)
        one = ini.last('filesystem_store_datadir', section)
        if several and (one is None or one.value):
            said = 'is not set, which means a default'
            if one:
                said = f'is {one.value}'
            yield several.place, {'section': section, 'said': said}


def _rule(id: str, severity: Severity, check: Check, *texts: str) -> Rule:
    what, why, action = texts
    return Rule(id, severity, (Kind.GLANCE,), check, what, why, action)


RULES = (
    _rule(
        'self-url-wildcard',
        Severity.ERROR,
        _self_wildcard,
        f'{SELF} is {{value}}.',
        'Nobody can connect to that address: other nodes do not find what '
        f'was staged here ({_OPTIONS}).',
        "Write this node's own address.",
    ),
    _rule(
        'self-url-shared',
        Severity.ERROR,
        _self_shared,
        f'{SELF} is {{value}}, but {{reason}}.',
        'Staged data lies on one node. By an address that nodes share, an '
        f'import is sent to one that does not have it ({_OPTIONS}).',
        "Write this node's own address, never that of the load balancer.",
    ),
    _rule(
        'self-url-public',
        Severity.INFO,
        _self_public,
        f'{SELF} is {{value}}, which public_endpoint tells to clients.',
        'Right for one node. Where several serve the API, clients reach all '
        f'of them by one address, which is none of these ({_OPTIONS}).',
        "With several nodes write this node's own address.",
    ),
    _rule(
        'self-url-missing',
        Severity.INFO,
        _self_missing,
        f'{SELF} is not set.',
        'Where several nodes serve the API, they do not find what was staged '
        f'here ({_OPTIONS}).',
        "Write this node's own address.",
    ),
    _rule(
        'self-url-loopback',
        Severity.INFO,
        _self_loopback,
        f'{SELF} is {{value}}.',
        'Right for one node. Where several serve the API, each would look '
        f'for the data of another at itself ({_OPTIONS}).',
        "With several nodes write this node's own address.",
    ),
    _rule(
        'python-interpreter',
        Severity.ERROR,
        _interpreter,
        '[wsgi] python_interpreter is not set.',
        'Image conversion starts sys.executable, which is uwsgi under uWSGI '
        f'({_BUGS}1962581).',
        "Write the path of the virtualenv's bin/python.",
    ),
    _rule(
        'flavor',
        Severity.ERROR,
        _flavor,
        '[paste_deploy] flavor {said}.',
        'Nobody is authenticated then, and the policies of Glance answer 403 '
        f'to everything ({_MANUAL}configuration/sample-configuration.html).',
        'Write flavor = keystone.',
    ),
    _rule(
        'lock-path',
        Severity.WARNING,
        _missing('lock_path', 'oslo_concurrency'),
        '[oslo_concurrency] lock_path is not set.',
        "The workers can't take turns; an image's location gets no hash, and "
        "the image can't be deleted "
        '(https://docs.openstack.org/oslo.concurrency/latest/'
        'configuration/).',
        'Write a directory that only the service user can enter.',
    ),
    _rule(
        'staging-place',
        Severity.WARNING,
        _staging,
        'Uploads for imports have {said}.',
        'They wait there for their import, as large as images are '
        f'({_MANUAL}admin/interoperable-image-import.html).',
        f'Write filesystem_store_datadir in [{STAGING}], on a disk with room '
        'for several images.',
    ),
    _rule(
        'store-directories',
        Severity.ERROR,
        _directories,
        '[{section}] has filesystem_store_datadirs, and '
        'filesystem_store_datadir {said}.',
        'A store has one of them: with both, Glance answers 410 to every '
        f'upload ({_OPTIONS}).',
        'Write filesystem_store_datadir = with nothing behind it.',
    ),
)
