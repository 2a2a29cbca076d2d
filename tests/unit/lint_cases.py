"""One set-up that is right, and for each rule a change that makes it wrong.

`GOOD` is a whole deployment in files; no rule finds anything in it. A case is
an edit of one of them (a text and what it becomes), or a fact of the machine.
"""

import dataclasses
import os
import pathlib

from glance_wsgi.lint.context import Context
from glance_wsgi.lint.context import Identity

UWSGI = """
[uwsgi]
module = glance_wsgi.api:application
home = {tmp}/venv
lazy-apps = true
need-app = true
master = true
processes = 2
threads = 16
enable-threads = true
hook-master-start = unix_signal:15 gracefully_kill_them_all
http-socket = {tmp}/glance.sock
listen = 1024
add-header = Connection: close
buffer-size = 65535
socket-timeout = 60
chunked-input-timeout = 60
chunked-input-limit = 67108866
worker-reload-mercy = 3600
log-format = %(addr) "%(method) %(uri) %(proto)" %(status)
"""

PROXY = """
<VirtualHost *:443>
    ServerName image.example.org
    SSLEngine on
    SSLCertificateKeyFile {tmp}/private.key
    LimitRequestBody 0
    Timeout 60
    ProxyTimeout 300
    RequestReadTimeout header=20-40,MinRate=500 body=0
    SetEnv proxy-sendchunked 1
    Proxy100Continue Off
    ProxyPass /image unix:/run/glance.sock|http://glance-api
    LogFormat "%h %t \\"%r\\" %>s %b" images
</VirtualHost>
"""

MOD_WSGI = """
LoadModule wsgi_module {tmp}/mod_wsgi.so
<VirtualHost *:9292>
    LimitRequestBody 0
    WSGIDaemonProcess glance processes=2 threads=16 python-home={tmp}/venv \\
        shutdown-timeout=3600 graceful-timeout=3600 queue-timeout=45
    WSGIProcessGroup glance
    WSGIApplicationGroup %{{GLOBAL}}
    WSGIScriptAlias / {tmp}/glance.wsgi
    WSGIChunkedRequest On
    WSGIPassAuthorization On
    WSGIScriptReloading Off
</VirtualHost>
"""

GLANCE = """
[DEFAULT]
enabled_backends = fast:file
worker_self_reference_url = http://192.0.2.10:9292
public_endpoint = https://image.example.org

[database]
connection = mysql+pymysql://glance:verysecret@db.example.org/glance

[os_glance_staging_store]
filesystem_store_datadir = /srv/glance/staging

[oslo_concurrency]
lock_path = /run/glance/locks

[paste_deploy]
flavor = keystone

[wsgi]
python_interpreter = /opt/venv/bin/python
"""

UNIT = """
[Service]
ExecStart=/opt/venv/bin/uwsgi --ini /etc/glance/uwsgi.ini
User=glance
KillMode=mixed
Restart=on-failure
TimeoutStopSec=1h 5min
"""

KEYSTONE = """
[DEFAULT]
[fernet_tokens]
key_repository = {tmp}/keys
[database]
connection = sqlite:////var/lib/keystone.sqlite
"""

EMPEROR = """
[uwsgi]
emperor = {tmp}
emperor-graceful-shutdown = true
reload-mercy = 3600
"""

APACHE_UNIT = """
[Service]
ExecStart=/usr/sbin/apachectl start
ExecStop=/usr/sbin/apachectl graceful-stop
ExecStop=
ExecStop=-/opt/venv/bin/python -m glance_wsgi.cmd.unit stop
ExecReload=/opt/venv/bin/python -m glance_wsgi.cmd.unit reload
KillMode=mixed
KillSignal=SIGWINCH
TimeoutStopSec=3601
"""

GOOD = {
    'uwsgi.ini': UWSGI,
    'proxy.conf': PROXY,
    'wsgi.conf': MOD_WSGI,
    'glance-api.conf': GLANCE,
    'glance-api.service': UNIT,
    'keystone.conf': KEYSTONE,
    'emperor.ini': EMPEROR,
    'apache2.service': APACHE_UNIT,
}

OTHER = 4242  # a user id that is not the one of who runs the tests
MEMBER = Identity('glance', OTHER, frozenset({os.getegid()}))


class Machine(Context):
    """A machine whose facts are given; files are those of the test."""

    def __init__(self, **facts):
        super().__init__()
        self.runner = 0
        self.facts = {
            'memory': 16 * 2**30,
            'somaxconn': 4096,
            'free': 2**40,
            'in_memory': False,
            'fleeting': False,
            'identity': Identity('glance', OTHER, frozenset({OTHER})),
            'obstacle': None,
            'group': OTHER,
            'addresses': {'127.0.0.1': False, '192.0.2.10': False},
            'resolve': {'192.0.2.10'},
            'max_connections': 500,
            'distribution': ('uWSGI', '2.0.31'),
            'uwsgi_on_path': '2.0.31',
            'mod_wsgi': '6.0.5',
            'rotations': [],
            'owner': None,
            'mode': None,
            **facts,
        }
        self.service = self.facts['identity']

    def _fact(self, name):
        fact = self.facts[name]
        if isinstance(fact, Exception):
            raise fact
        return fact

    def stat(self, path):
        """A file of the test with a given owner; any other one is "/"."""
        facts = os.stat(path if os.path.exists(path) else '/')
        owner = self._fact('owner') or facts.st_uid
        mode = self._fact('mode') or facts.st_mode
        return os.stat_result((mode, *facts[1:4], owner, *facts[5:]))

    def memory(self):
        return self._fact('memory')

    def somaxconn(self):
        return self._fact('somaxconn')

    def free(self, path):
        return self._fact('free')

    def fleeting(self, path):
        return self._fact('fleeting')

    def in_memory(self, path):
        return self._fact('in_memory')

    def identity(self, name):
        return self._fact('identity')

    def group(self, name):
        return self._fact('group')

    def obstacle(self, path, who, wanted):
        return self._fact('obstacle')

    def addresses(self):
        return self._fact('addresses')

    def resolve(self, host):
        return self._fact('resolve')

    def max_connections(self, url):
        return self._fact('max_connections')

    def distribution(self, home, *names):
        return self._fact('distribution')

    def uwsgi_on_path(self):
        return self._fact('uwsgi_on_path')

    def mod_wsgi(self, module):
        return self._fact('mod_wsgi')

    def apache_pidfile(self):
        return '/run/apache2/apache2.pid'

    def rotations(self):
        return self._fact('rotations')


@dataclasses.dataclass(frozen=True)
class Case:
    """What makes a rule fire.

    :param files: those of GOOD that it is tried with, all others left out
    :param edits: in the first one: a text, and what it becomes
    :param modes: rights of files, by name
    """

    rule: str
    files: tuple[str, ...]
    edits: tuple[tuple[str, str], ...] = ()
    facts: dict = dataclasses.field(default_factory=dict)
    modes: dict = dataclasses.field(default_factory=dict)

    def __str__(self):
        return f'{self.rule}: {self.edits or self.facts or self.modes}'


def uwsgi(rule, *edits, **facts):
    return Case(rule, ('uwsgi.ini',), edits, facts)


def proxy(rule, *edits, **facts):
    return Case(rule, ('proxy.conf',), edits, facts)


def wsgi(rule, *edits, **facts):
    return Case(rule, ('wsgi.conf',), edits, facts)


def glance(rule, *edits, **facts):
    return Case(rule, ('glance-api.conf', 'uwsgi.ini'), edits, facts)


def several(*more):
    """One more store, with directories and `more`."""
    store = '[several]', 'filesystem_store_datadirs = /two:9', *more
    return '[database]', '\n'.join((*store, '[database]'))


def unit(rule, *edits, **facts):
    return Case(rule, ('glance-api.service', 'uwsgi.ini'), edits, facts)


def apache_unit(rule, *edits):
    return Case(rule, ('apache2.service', 'wsgi.conf'), edits)


WAITS = 'ExecStop=-/opt/venv/bin/python -m glance_wsgi.cmd.unit stop\n'
PLAIN = (WAITS, ''), ('ExecStop=\n', '')

# What Debian's rule says, and what people write.
BY_SYSTEMD = 'invoke-rc.d apache2 reload 2>&1 | logger -t apache2.logrotate'
BY_ITSELF = '/usr/sbin/apachectl graceful'


def rotated(line, *files, edits=()):
    rule = pathlib.Path('/etc/logrotate.d/apache2')
    facts = {'rotations': [(rule, 17, line)]}
    return Case('wsgi-log-rotation', ('wsgi.conf', *files), edits, facts)


POOL = ('[database]', '[database]\nmax_pool_size = 12\nmax_overflow = 0')

MOVING = {'127.0.0.1': False, '192.0.2.10': True}
PASS = 'ProxyPass /image unix:/run/glance.sock|http://glance-api'

CASES = [
    # --- uWSGI ---
    uwsgi('chunked-input-limit', ('chunked-input-limit = 67108866\n', '')),
    uwsgi('chunked-input-limit', ('= 67108866', '= 1048578')),
    uwsgi('socket-timeout', ('socket-timeout = 60\n', '')),
    uwsgi('socket-timeout', ('socket-timeout = 60', 'socket-timeout = 29')),
    uwsgi(
        'chunked-input-timeout', ('input-timeout = 60', 'input-timeout = 4')
    ),
    uwsgi('harakiri', ('[uwsgi]', '[uwsgi]\nharakiri = 120')),
    uwsgi('need-app', ('need-app = true\n', '')),
    uwsgi('need-app', ('need-app = true', 'need-app = false')),
    uwsgi('exit-on-reload', ('[uwsgi]', '[uwsgi]\nexit-on-reload = true')),
    uwsgi('die-on-term', ('hook-master-start = ', 'die-on-term = 1\nname = ')),
    uwsgi('router-options', ('[uwsgi]', '[uwsgi]\nhttp-timeout = 60')),
    uwsgi('connection-close', ('add-header = Connection: close\n', '')),
    uwsgi('buffer-size', ('buffer-size = 65535\n', '')),
    uwsgi('buffer-size', ('buffer-size = 65535', 'buffer-size = 16383')),
    uwsgi('lazy-apps', ('lazy-apps = true\n', '')),
    uwsgi('stats-socket', ('[uwsgi]', '[uwsgi]\nstats = 127.0.0.1:1717')),
    uwsgi('single-thread', ('threads = 16\n', '')),
    uwsgi('python-threads', ('threads = 16\nenable-threads = true\n', '')),
    uwsgi('master', ('master = true\n', '')),
    uwsgi('reload-mercy', ('worker-reload-mercy = 3600\n', '')),
    uwsgi('uwsgi-protocol', ('http-socket =', 'socket =')),
    uwsgi('uwsgi-protocol', ('[uwsgi]', '[uwsgi]\nsocket = :3031')),
    uwsgi(
        'removed-script-uwsgi',
        ('module = glance_wsgi.api:application', 'file = /b/glance-wsgi-api'),
    ),
    uwsgi(
        'logged-token-uwsgi', ('%(addr)', '%(addr) %(var.HTTP_X_AUTH_TOKEN)')
    ),
    uwsgi('include-uwsgi', ('[uwsgi]', '[uwsgi]\nini = none.ini')),
    # --- Apache ---
    proxy('limit-request-body', ('LimitRequestBody 0', '')),
    wsgi('limit-request-body', ('LimitRequestBody 0', '')),
    proxy(
        'limit-request-body',
        ('LimitRequestBody 0', 'LimitRequestBody 1073741824'),
    ),
    proxy('request-read-timeout', (' body=0', '')),
    proxy(
        'request-read-timeout',
        ('RequestReadTimeout header=20-40,MinRate=500 body=0', ''),
    ),
    proxy('proxy-slash', ('ProxyPass /image ', 'ProxyPass /image/ ')),
    proxy('proxy-slash', (PASS, 'ProxyPass / http://127.0.0.1:9292')),
    proxy(
        'proxy-slash',
        (PASS, '<Location /image/>\nProxyPass http://glance\n</Location>'),
    ),
    proxy('proxy-uwsgi', ('|http://', '|uwsgi://')),
    proxy('proxy-sendcl', ('proxy-sendchunked 1', 'proxy-sendcl 1')),
    proxy('proxy-sendchunked', ('SetEnv proxy-sendchunked 1', '')),
    proxy('proxy-100-continue', ('Proxy100Continue Off', '')),
    proxy('logged-token-apache', ('%h', '%h %{{X-Auth-Token}}i')),
    proxy('include-apache', ('SSLEngine on', 'Include none/*.conf')),
    # --- mod_wsgi ---
    wsgi('wsgi-chunked-request', ('WSGIChunkedRequest On', '')),
    wsgi('wsgi-pass-authorization', ('WSGIPassAuthorization On', '')),
    wsgi('wsgi-application-group', ('WSGIApplicationGroup %{{GLOBAL}}', '')),
    wsgi('wsgi-embedded', ('WSGIProcessGroup glance', '')),
    wsgi('wsgi-single-thread', ('threads=16', 'threads=1')),
    wsgi('wsgi-shutdown-timeout', ('shutdown-timeout=3600', '')),
    wsgi('wsgi-graceful-timeout', ('graceful-timeout=3600', '')),
    wsgi(
        'wsgi-ends-processes', ('threads=16', 'threads=16 request-timeout=60')
    ),
    wsgi('removed-script-apache', ('/glance.wsgi', '/glance-wsgi-api')),
    wsgi('mod-wsgi-truncates', ('queue-timeout=45', ''), mod_wsgi='6.0.4'),
    wsgi(
        'mod-wsgi-truncates',
        ('queue-timeout=45', ''),
        ('LoadModule wsgi_module {tmp}/mod_wsgi.so', ''),
        distribution=('mod_wsgi', '6.0.0'),
    ),
    wsgi(
        'mod-wsgi-truncates',
        ('queue-timeout=45', 'queue-timeout=0'),
        ('LoadModule wsgi_module {tmp}/mod_wsgi.so', ''),
        distribution=None,
        mod_wsgi='6.0.2',
    ),
    # --- Glance ---
    glance('self-url-wildcard', ('192.0.2.10', '0.0.0.0')),
    glance('self-url-wildcard', ('192.0.2.10', '[::]')),
    glance('self-url-public', ('192.0.2.10', 'image.example.org')),
    glance('self-url-shared', addresses=MOVING),
    glance('self-url-shared', resolve={'192.0.2.99'}),
    glance('self-url-loopback', ('192.0.2.10', '127.0.0.1')),
    glance('self-url-missing', ('worker_self_reference_url', 'other')),
    glance('python-interpreter', ('python_interpreter', 'other')),
    glance('flavor', ('flavor = keystone', '')),
    glance('flavor', ('flavor = keystone', 'flavor = caching')),
    glance('lock-path', ('lock_path', 'other')),
    glance('staging-place', ('filesystem_store_datadir', 'other')),
    glance('staging-place', fleeting=True),
    glance('store-directories', several()),
    glance('store-directories', several('filesystem_store_datadir = /one')),
    # --- systemd ---
    unit('unit-kill-mode', ('KillMode=mixed\n', '')),
    Case(
        'unit-kill-signal',
        ('uwsgi.ini', 'glance-api.service'),
        (('hook-master-start', 'name'),),
    ),
    unit('unit-restart', ('Restart=on-failure\n', '')),
    unit('unit-root', ('User=glance\n', '')),
    unit(
        'removed-server',
        ('ExecStart=/opt/venv/bin/uwsgi', 'ExecStart=/usr/bin/glance-api'),
    ),
    # --- the ladder ---
    Case(
        'ladder-client-server',
        ('proxy.conf', 'uwsgi.ini'),
        (('Timeout 60', 'Timeout 61'),),
    ),
    Case(
        'ladder-proxy-server',
        ('proxy.conf', 'uwsgi.ini'),
        (('ProxyTimeout 300', 'ProxyTimeout 59'),),
    ),
    Case(
        'ladder-proxy-server',
        ('proxy.conf', 'uwsgi.ini'),
        (('http://glance-api', 'http://glance-api timeout=30'),),
    ),
    uwsgi(
        'ladder-server-mercy', ('socket-timeout = 60', 'socket-timeout = 3601')
    ),
    unit('ladder-mercy-stop', ('TimeoutStopSec=1h 5min\n', '')),
    unit('ladder-mercy-stop', ('1h 5min', '1h')),
    Case(
        'ladder-mercy-stop',
        ('apache2.service', 'wsgi.conf'),
        (('3601', '3600'),),
    ),
    Case(
        'ladder-mercy-stop',
        ('apache2.service', 'proxy.conf', 'uwsgi.ini'),
        (('3601', '3600'),),
    ),
    wsgi('ladder-client-server', ('queue-', 'socket-timeout=59 queue-')),
    wsgi('ladder-daemon-mercy', ('queue-', 'socket-timeout=3601 queue-')),
    # --- what ends Apache ---
    apache_unit('unit-apache-stop', *PLAIN),
    apache_unit('unit-apache-stop', *PLAIN, ('KillSignal=SIGWINCH\n', '')),
    apache_unit('unit-apache-stop', (WAITS, ''), ('=SIGWINCH', '=SIGTERM')),
    apache_unit('unit-apache-daemons', (WAITS, '')),
    apache_unit('unit-apache-daemons', ('ExecReload', 'Other')),
    rotated(BY_SYSTEMD),
    rotated(BY_ITSELF),
    rotated(BY_ITSELF, 'apache2.service'),
    Case(
        'ladder-emperor',
        ('emperor.ini', 'uwsgi.ini'),
        (('reload-mercy = 3600', ''),),
    ),
    # --- rights ---
    Case(
        'secret-readable',
        ('glance-api.conf', 'uwsgi.ini'),
        modes={'glance-api.conf': 0o644},
    ),
    Case('key-readable', ('proxy.conf',), modes={'private.key': 0o644}),
    Case('key-readable', ('keystone.conf',), modes={'keys': 0o755}),
    Case('config-writable', ('uwsgi.ini',), modes={'uwsgi.ini': 0o666}),
    Case('config-writable', ('wsgi.conf',), modes={'wsgi.conf': 0o646}),
    unit('config-writable', owner=OTHER),
    Case(
        'config-writable',
        ('uwsgi.ini',),
        facts={'identity': MEMBER},
        modes={'uwsgi.ini': 0o664},
    ),
    glance('glance-conf-writable', owner=OTHER),
    unit('user-missing', identity=None),
    uwsgi('python-readable', obstacle='/root'),
    wsgi('python-readable', obstacle='/root'),
    glance('staging-writable', obstacle='/var/lib/glance'),
    # --- who sends image data ---
    uwsgi(
        'image-data-by-glance',
        ('http-socket = {tmp}/glance.sock', 'http-socket = :9292'),
    ),
    proxy(
        'image-data-by-glance',
        ('    SSLEngine on', '    RequestHeader unset Handoff early'),
    ),
    proxy(
        'image-data-rights',
        (
            '    SSLEngine on',
            '    RequestHeader set Handoff "www-data /srv/images"',
        ),
        obstacle='/srv',
    ),
    # --- the machine ---
    uwsgi('listen-queue', somaxconn=1023),
    uwsgi('uwsgi-version', distribution=('uWSGI', '2.0.29')),
    uwsgi(
        'uwsgi-version',
        ('home = {tmp}/venv', ''),
        uwsgi_on_path='2.0.21-debian',
    ),
    uwsgi('pyuwsgi', distribution=('pyuwsgi', '2.0.30')),
    uwsgi('ram-budget', memory=299 * 2**20),
    wsgi('ram-budget', memory=299 * 2**20),
    uwsgi('ram-chunks', memory=2 * 2**30),
    glance('db-connections', max_connections=63),
    glance('db-connections', POOL, max_connections=23),
    glance(
        'db-connections',
        ('[database]', '[database]\nmax_overflow = -1'),
        max_connections=63,
    ),
    glance('db-not-asked', max_connections=ValueError('silent')),
    glance('staging-disk', free=5 * 2**30 - 1),
    glance('staging-memory', in_memory=True),
]

SWAPPED = ('uwsgi.ini', 'glance-api.service')

# What is just right, or right for another reason; the rule must be silent.
FITS = [
    uwsgi(
        'image-data-by-glance',
        (
            'http-socket = {tmp}/glance.sock',
            'http-socket = :9292\noffload-threads = 1',
        ),
    ),
    proxy(
        'image-data-by-glance',
        (
            '    SSLEngine on',
            '    RequestHeader unset Handoff early\n'
            '    RequestHeader set Handoff "same-user /srv/images"',
        ),
    ),
    proxy(
        'image-data-rights',
        (
            '    SSLEngine on',
            '    RequestHeader set Handoff "same-user /srv/images"',
        ),
        obstacle='/srv',
    ),
    uwsgi('chunked-input-limit', ('= 67108866', '= 1048579')),
    uwsgi('socket-timeout', ('socket-timeout = 60', 'socket-timeout = 30')),
    uwsgi('chunked-input-timeout', ('chunked-input-timeout = 60\n', '')),
    uwsgi('buffer-size', ('buffer-size = 65535', 'buffer-size = 16384')),
    uwsgi('reload-mercy', ('mercy = 3600', 'mercy = 600')),
    uwsgi('lazy-apps', ('lazy-apps = true', 'lazy = true')),
    uwsgi('single-thread', ('threads = 16', 'gevent = 100')),
    uwsgi('single-thread', ('threads = 16', 'threads = 2')),
    uwsgi('python-threads', ('threads = 16\n', '')),
    uwsgi('python-threads', ('enable-threads = true\n', '')),
    uwsgi('harakiri', ('[uwsgi]', '[uwsgi]\nharakiri = 0')),
    uwsgi('die-on-term', ('[uwsgi]', '[uwsgi]\ndie-on-term = true')),
    uwsgi('router-options', ('http-socket =', 'http-timeout = 9\nhttp =')),
    uwsgi('connection-close', ('Connection: close', 'connection:Close')),
    uwsgi('uwsgi-protocol', ('http-socket =', 'protocol = http\nsocket =')),
    proxy('request-read-timeout', ('<Virt', 'LoadModule x_module x\n<Virt')),
    proxy('proxy-slash', ('http://glance-api', 'http://glance-api/v')),
    proxy('proxy-slash', (PASS, 'ProxyPass /image !')),
    proxy('proxy-slash', (PASS, 'ProxyPass / http://127.0.0.1:9292/')),
    wsgi(
        'wsgi-embedded',
        ('WSGIProcessGroup glance\n', ''),
        ('glance.wsgi', 'glance.wsgi process-group=glance'),
    ),
    wsgi('wsgi-shutdown-timeout', ('down-timeout=3600', 'down-timeout=600')),
    wsgi('mod-wsgi-truncates', mod_wsgi='6.0.4'),
    wsgi('mod-wsgi-truncates', ('queue-timeout=45', ''), mod_wsgi='6.0.5'),
    wsgi('mod-wsgi-truncates', ('queue-timeout=45', ''), mod_wsgi='5.0.2'),
    wsgi('mod-wsgi-truncates', ('queue-timeout=45', ''), mod_wsgi=None),
    wsgi(
        'mod-wsgi-truncates',
        ('queue-timeout=45', ''),
        ('Reloading Off', 'Reloading On'),
        mod_wsgi='6.0.4',
    ),
    glance('self-url-shared', ('192.0.2.10', '0.0.0.0'), resolve={'0.0.0.0'}),
    glance('self-url-shared', resolve=set()),
    glance('self-url-shared', resolve={'127.0.1.1'}),
    Case(
        'python-interpreter',
        ('glance-api.conf', 'wsgi.conf'),
        (('python_interpreter', 'other'),),
    ),
    glance('flavor', ('flavor = keystone', 'flavor = keystone+caching')),
    glance(
        'staging-place',
        ('[database]', 'node_staging_uri = file:///srv/staging\n[database]'),
        ('filesystem_store_datadir', 'other'),
    ),
    glance('store-directories', several('filesystem_store_datadir =')),
    unit('unit-kill-mode', ('KillMode=mixed', 'KillMode=process')),
    Case('unit-kill-signal', SWAPPED, (('hook-master-start', 'die-on-term'),)),
    unit('unit-restart', ('on-failure', 'always')),
    unit('unit-root', ('User=glance', 'DynamicUser=yes')),
    unit('unit-root', ('User=glance', 'User=1000')),
    Case(
        'ladder-proxy-server',
        ('proxy.conf', 'uwsgi.ini'),
        (('ProxyTimeout 300', 'ProxyTimeout 60'),),
    ),
    uwsgi('ladder-server-mercy', ('timeout = 60', 'timeout = 3600')),
    Case(
        'ladder-server-mercy',
        ('emperor.ini',),
        (('[uwsgi]', '[uwsgi]\nsocket-timeout = 99'),),
    ),
    unit('ladder-mercy-stop', ('1h 5min', '3601')),
    wsgi('ladder-client-server', ('queue-', 'socket-timeout=60 queue-')),
    wsgi('ladder-daemon-mercy', ('queue-', 'socket-timeout=3600 queue-')),
    Case(
        'ladder-mercy-stop',
        ('apache2.service', 'uwsgi.ini'),
        (('3601', '90'),),
    ),
    apache_unit('unit-apache-stop', (WAITS, '')),
    Case(
        'unit-apache-daemons',
        ('apache2.service', 'proxy.conf'),
        ((WAITS, ''), ('ExecReload', 'Other')),
    ),
    rotated(BY_SYSTEMD, 'apache2.service'),
    rotated(
        BY_ITSELF,
        edits=(('LoadModule', 'PidFile /srv/apache.pid\nLoadModule'),),
    ),
    Case(
        'wsgi-log-rotation',
        ('proxy.conf',),
        facts={'rotations': [(pathlib.Path('/etc'), 1, BY_ITSELF)]},
    ),
    unit('ladder-mercy-stop', ('TimeoutStopSec=1h 5min', 'TimeoutSec=2h')),
    unit('ladder-mercy-stop', ('1h 5min', 'infinity')),
    unit('ladder-mercy-stop', ('1h 5min', '0')),
    Case(
        'secret-readable', ('keystone.conf',), modes={'keystone.conf': 0o644}
    ),
    Case('key-readable', ('proxy.conf',), modes={'private.key': 0o640}),
    Case('config-writable', ('uwsgi.ini',), modes={'uwsgi.ini': 0o664}),
    uwsgi('config-writable', identity=MEMBER),
    uwsgi('listen-queue', somaxconn=1024),
    uwsgi('listen-queue', somaxconn=None),
    uwsgi('uwsgi-version', distribution=('uwsgi', '2.0.30')),
    uwsgi('uwsgi-version', distribution=None),
    uwsgi('ram-budget', memory=300 * 2**20),
    glance('db-connections', max_connections=64),
    glance('db-connections', POOL, max_connections=24),
    glance('db-connections', max_connections=None),
    glance(
        'db-connections',
        ('[wsgi]', '[wsgi]\ntask_pool_threads = 4'),
        max_connections=40,
    ),
    glance('staging-disk', free=5 * 2**30),
    glance('staging-disk', free=None),
]
