"""Each directive of httpd/ has its reason, and its page of a manual."""

import dataclasses
import pathlib
import re

import pytest

HTTPD = pathlib.Path(__file__).parents[2] / 'httpd'
APACHE = 'https://httpd.apache.org/docs/2.4/mod'
MOD_WSGI = 'https://modwsgi.readthedocs.io/en/develop/configuration-directives'
UWSGI = 'https://uwsgi-docs.readthedocs.io/en/latest'
GLANCE = 'https://docs.openstack.org/glance/latest'
KEYSTONE = 'https://docs.openstack.org/keystone/latest'
SYSTEMD = 'https://www.freedesktop.org/software/systemd/man'

PAGES = {
    f'{APACHE}/core.html': (
        'AllowEncodedSlashes AllowOverride DefaultRuntimeDir Directory '
        'EnableMMAP EnableSendfile ErrorLog Files IfModule Include KeepAlive '
        'LimitRequestBody LimitRequestFieldSize LimitRequestLine '
        'LocationMatch LogLevel MaxRanges MergeSlashes ServerName ServerRoot '
        'ServerTokens SetOutputFilter Timeout TraceEnable VirtualHost'
    ),
    f'{APACHE}/event.html': 'AsyncRequestWorkerFactor',
    f'{APACHE}/mod_alias.html': 'Redirect RedirectMatch',
    f'{APACHE}/mod_authz_core.html': 'Require',
    f'{APACHE}/mod_headers.html': 'Header RequestHeader',
    f'{APACHE}/mod_log_config.html': 'CustomLog',
    f'{APACHE}/mod_proxy.html': (
        'Proxy100Continue ProxyPass ProxyPreserveHost ProxyRequests'
    ),
    # Its page is mod_env's; that of what is set tells what it is for.
    f'{APACHE}/mod_proxy_http.html': 'SetEnv',
    f'{APACHE}/mod_reqtimeout.html': 'RequestReadTimeout',
    f'{APACHE}/mod_setenvif.html': 'SetEnvIf SetEnvIfExpr',
    f'{APACHE}/mod_so.html': 'LoadModule',
    f'{APACHE}/mod_ssl.html': (
        'SSLCertificateFile SSLCertificateKeyFile SSLCipherSuite '
        'SSLCompression SSLEngine SSLHonorCipherOrder SSLProtocol '
        'SSLSessionCache SSLSessionCacheTimeout SSLSessionTickets'
    ),
    f'{APACHE}/mpm_common.html': (
        'Listen ListenBacklog MaxRequestWorkers MaxSpareThreads '
        'MinSpareThreads PidFile ServerLimit StartServers ThreadLimit '
        'ThreadsPerChild'
    ),
    'https://tn123.org/mod_xsendfile/': 'XSendFilePath',
    # The one option that the list of options has forgotten.
    f'{UWSGI}/Emperor.html': 'emperor-graceful-shutdown',
    f'{SYSTEMD}/systemd.exec.html': (
        'AmbientCapabilities CapabilityBoundingSet Environment Group '
        'LockPersonality NoNewPrivileges PrivateDevices PrivateTmp '
        'ProtectClock ProtectControlGroups ProtectHome ProtectHostname '
        'ProtectKernelLogs ProtectKernelModules ProtectKernelTunables '
        'ProtectProc ProtectSystem ReadWritePaths RemoveIPC '
        'RestrictAddressFamilies RestrictNamespaces RestrictRealtime '
        'RestrictSUIDSGID SystemCallArchitectures SystemCallErrorNumber '
        'SystemCallFilter UMask User'
    ),
    f'{SYSTEMD}/systemd.kill.html': 'KillMode KillSignal',
    f'{SYSTEMD}/systemd.service.html': (
        'ExecReload ExecStart ExecStop PIDFile Restart RestartSec '
        'TimeoutStartSec TimeoutStopSec Type'
    ),
    f'{SYSTEMD}/systemd.unit.html': (
        'After Description Documentation RequiresMountsFor '
        'StartLimitIntervalSec WantedBy Wants'
    ),
    f'{SYSTEMD}/tmpfiles.d.html': 'd',
    f'{GLANCE}/admin/interoperable-image-import.html': (
        'allowed_hosts allowed_ports'
    ),
    # The options of this project are in its own documentation.
    'doc/source/sizing.rst': 'requests_at_once',
    'doc/source/tasks.rst': 'task_attempts task_heartbeat',
    'doc/source/data-path.rst': 'hand_off_downloads upload_pipeline',
}
"""Which page describes which directives."""

UNDIVIDED = (
    'https://tn123.org/mod_xsendfile/',
    f'{UWSGI}/Emperor.html',
    f'{GLANCE}/admin/interoperable-image-import.html',
    'doc/source/sizing.rst',
    'doc/source/tasks.rst',
    'doc/source/data-path.rst',
)
"""Pages without a place for each directive."""

SECTIONS = {
    f'{APACHE}/mod_proxy_http.html#env',
    f'{SYSTEMD}/systemd.exec.html#Sandboxing',
    f'{SYSTEMD}/systemd.unit.html#StartLimitIntervalSec=interval',
}
"""Places that have another name than a directive."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """How files of one kind are written."""

    comment: str
    directive: str
    anchor: str
    """What a page calls the place where it describes a directive."""

    page: str = ''
    """The page of directives that `PAGES` does not have."""


KINDS = {
    'conf': Kind('#', r'<?([A-Za-z]\w*)', '{lower}'),
    'ini': Kind(';', r'([\w-]+) =', '{name}', f'{UWSGI}/Options.html'),
    'service': Kind('#', r'(\w+)=', '{name}='),
    'tmpfiles': Kind('#', r'([a-z]) ', '{name}'),
}
KINDS['apache'] = KINDS['service']  # an addition to a unit
for name, manual in (
    ('glance-api.conf.j2', f'{GLANCE}/configuration/glance_api.html'),
    ('keystone.conf.j2', f'{KEYSTONE}/configuration/config-options.html'),
):
    KINDS[name] = Kind('#', r'(\w+) =', '{name}', manual)

OTHERS = {
    'application.wsgi.j2',  # a program
    'glance-api-paste.ini.j2',  # which code is called, by names of its own
    'tempest.conf.j2',  # what others have set
}
LINK = r'(?:https://|doc/source/)[^\s)]+'
NAMES = sorted({file.name for file in HTTPD.glob('*.j2')} - OTHERS)


@dataclasses.dataclass
class Block:
    """Directives that follow each other, and the comment above them."""

    comment: list[str] = dataclasses.field(default_factory=list)
    directives: list[str] = dataclasses.field(default_factory=list)

    @property
    def links(self) -> list[str]:
        return re.findall(LINK, ' '.join(self.comment))

    @property
    def reason(self) -> str:
        said = [line for line in self.comment if '---' not in line]
        return re.sub(LINK, '', ' '.join(said))


def blocks(text: str, kind: Kind) -> list[Block]:
    """The directives of a template; who follows which comment."""
    found = [Block()]
    for raw in text.replace('\\\n', ' ').splitlines():
        line = raw.strip()
        if line.startswith(kind.comment):
            if found[-1].directives:
                found.append(Block())
            found[-1].comment.append(line.strip(kind.comment).strip())
        elif re.match(r'{% (if|for|endfor)\b', line) or line.startswith('</'):
            pass  # what is said above holds for what is inside
        elif match := re.match(kind.directive, line):
            found[-1].directives.append(match[1])
        else:
            found.append(Block())
    return [block for block in found if block.directives]


def page(directive: str, kind: Kind) -> str:
    for address, described in PAGES.items():
        if directive in described.split():
            return address
    if directive.startswith('WSGI'):
        return f'{MOD_WSGI}/{directive}.html'
    assert kind.page, f'which page describes {directive}?'
    return kind.page


def accepted(block: Block, directive: str, kind: Kind) -> set[str]:
    """The links that tell where a directive of a block is described."""
    address = page(directive, kind)
    if address in UNDIVIDED or address.startswith(MOD_WSGI):
        return {address}
    anchors = [
        kind.anchor.format(name=name, lower=name.lower())
        for name in block.directives
        if page(name, kind) == address
    ]
    return {f'{address}#{anchor}' for anchor in anchors} | {
        section for section in SECTIONS if section.startswith(address)
    }


def wanting(text: str, kind: Kind) -> list[str]:
    """The directives without a reason or a link of their own or the block."""
    return [
        directive
        for block in blocks(text, kind)
        for directive in block.directives
        if len(block.reason.split()) < 3
        or not accepted(block, directive, kind)
        # OpenStack's pages call an option GROUP.OPTION.
        & {re.sub(r'#\w+\.', '#', link) for link in block.links}
    ]


def kind_of(name: str) -> Kind:
    return KINDS.get(name) or KINDS[name.split('.')[-2]]


@pytest.mark.parametrize('name', NAMES)
def test_every_directive_has_a_reason_and_a_page_of_a_manual(name):
    text = (HTTPD / name).read_text()
    assert blocks(text, kind_of(name))
    assert wanting(text, kind_of(name)) == []


@pytest.mark.parametrize('name', NAMES)
def test_the_links_of_a_block_are_missed_when_they_are_taken_away(name):
    text, kind = (HTTPD / name).read_text(), kind_of(name)
    for block in blocks(text, kind):
        without = text
        for link in block.links:
            without = without.replace(link, '')
        assert wanting(without, kind)


def test_a_line_between_a_comment_and_a_directive_parts_them():
    comment = f'# Whom to ask.\n# {APACHE}/core.html#servername\n'
    apart = ('\n', '{% else %}\n', "{% include 'x' %}\n", '{% endif %}\n')
    assert wanting(f'{comment}ServerName x\n', KINDS['conf']) == []
    for line in apart:
        text = f'{comment}{line}ServerName x\n'
        assert wanting(text, KINDS['conf']) == ['ServerName']


@pytest.mark.parametrize(
    'comment',
    [
        f'# {APACHE}/core.html#servername\n',
        '# The name of it all.\n',
        f'# The name of it all. {APACHE}/core.html\n',
        f'# The name of it all. {APACHE}/core.html#timeout\n',
        f'# The name of it all. {APACHE}/mod_so.html#servername\n',
        f'# --- the names ---\n# {APACHE}/core.html#servername\n',
    ],
)
def test_neither_half_a_comment_nor_one_for_another_directive_is_enough(
    comment,
):
    assert wanting(f'{comment}ServerName x\n', KINDS['conf'])
