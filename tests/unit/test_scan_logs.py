"""What a gate publishes: scanned for faults, and without secrets."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest

TOOLS = pathlib.Path(__file__).parents[2] / 'tools'


def load(name):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(name, TOOLS / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


scan_logs = load('scan_logs')
collect_logs = load('collect_logs')

FERNET = 'gAAAAABm' + 'Zx-_9' * 20
JWT = 'eyJ' + 'hbGciOiJF' * 5 + '.' + 'c3ViamVjd' * 5 + '.' + 'sig' * 20

PLAIN = """\
Traceback (most recent call last):
  File "/usr/lib/python3/glance/api.py", line 3, in show
    raise exception.NotFound()
glance.common.exception.NotFound: No image found
"""
PREFIX = '2026-08-01 10:00:00.000 12 ERROR glance.api [req-1 - -] '
LOGGED = ''.join(f'{PREFIX}{line}\n' for line in PLAIN.splitlines())


@pytest.fixture
def scanned(tmp_path, capsys):
    """Scans a text in a file; the exit code and what was printed."""

    def scan(text, *words):
        file = tmp_path / 'logs' / 'one.log'
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        code = scan_logs.main([str(tmp_path / 'logs'), *words])
        said = capsys.readouterr()
        return code, said.out + said.err, file.read_bytes()

    return scan


@pytest.mark.parametrize('text', [PLAIN, LOGGED])
def test_a_traceback_is_found_with_its_exception(scanned, text):
    code, said, _ = scanned(f'starting\n{text}going on\n')
    assert code == 1
    assert (
        'one.log:2: traceback: '
        'glance.common.exception.NotFound: No image found\n'
    ) in said
    assert '1 found.' in said


def test_a_traceback_without_an_end_is_found_too(scanned):
    code, said, _ = scanned(PLAIN.rpartition('glance.common')[0])
    assert (code, 'traceback: (cut off)' in said) == (1, True)


@pytest.mark.parametrize(
    'line',
    [
        'kernel: uwsgi[812]: segfault at 0 ip 00007f error 4 in libc.so',
        '!!! uWSGI process 12 got Segmentation Fault !!!',
        'child pid 12 exit signal Segmentation fault (11)',
        'worker 2 died, killed by signal 11 :( trying respawn ...',
        'glance-wsgi.service: Main process exited, status=11/SEGV',
    ],
)
def test_a_fault_of_memory_is_found(scanned, line):
    code, said, _ = scanned(f'one\n{line}\n')
    assert (code, 'one.log:2: fault: ' in said) == (1, True)


@pytest.mark.parametrize(
    ('line', 'token'),
    [
        (f'got {FERNET} from the client', FERNET),
        (f'Authorization: Bearer {JWT}', JWT),
        (f'"X-Auth-Token: {"0a1b" * 8}"', '0a1b' * 8),
        (f"'x-subject-token': '{'0a1b' * 8}'", '0a1b' * 8),
    ],
)
def test_a_token_is_found_and_never_printed(scanned, line, token):
    code, said, kept = scanned(f'{line}\n')
    assert (code, 'one.log:1: token: ' in said) == (1, True)
    assert token not in said
    assert token.encode() in kept


def test_a_token_is_masked_where_that_is_asked_for(scanned):
    noise = b'\xff\xfe before '
    code, _, kept = scanned(noise + FERNET.encode() + b' after\n', '--mask')
    assert code == 1
    assert kept == noise + b'*** after\n'
    assert scanned(kept)[0] == 0


@pytest.mark.parametrize(
    'line',
    [
        'worker 1 died, killed by signal 9',
        'X-Auth-Token: {SHA256}' + 'ab' * 32,
        'X-Auth-Token: ***',
        'image gAAAAA is a name',
        'GET /v2/images 200 signal 110',
        'retrace back',
    ],
)
def test_what_is_in_every_log_is_not_found(scanned, line):
    assert scanned(f'{line}\n')[0] == 0


def test_an_expected_exception_is_none(scanned, tmp_path):
    allowed = tmp_path / 'allowed'
    allowed.write_text('# why\n\nglance\\.common\\.exception\\.NotFound: No\n')
    assert scanned(LOGGED, f'--allow={allowed}')[0] == 0
    allowed.write_text('exception\\.NotFound\n')
    assert scanned(LOGGED, f'--allow={allowed}')[0] == 1


def test_what_can_not_be_scanned_is_an_error(tmp_path, capsys):
    assert scan_logs.main([str(tmp_path / 'missing')]) == 2
    assert 'missing' in capsys.readouterr().err
    (tmp_path / 'allowed').write_text('(\n')
    allow = f'--allow={tmp_path / "allowed"}'
    assert scan_logs.main([str(tmp_path), allow]) == 2
    assert 'allowed' in capsys.readouterr().err


def test_the_scripts_run_on_their_own():
    for name in ('scan_logs', 'collect_logs'):
        # Zuul's nodes have nothing but their own Python.
        said = subprocess.run(
            ['/usr/bin/python3', '-I', TOOLS / f'{name}.py', '--help'],
            capture_output=True,
            text=True,
        )
        assert f'tools/{name}.py DIRECTORY' in said.stdout + said.stderr


@pytest.mark.parametrize(
    ('before', 'after'),
    [
        ('admin_password = s3cret', 'admin_password = ***'),
        ('password=s3cret with blanks', 'password=***'),
        ('  "s3_store_secret_key": "abc"', '  "s3_store_secret_key": ***'),
        (
            'connection = mysql+pymysql://root:s3:cret@127.0.0.1/glance',
            'connection = mysql+pymysql://root:***@127.0.0.1/glance',
        ),
        ('transport_url = rabbit://u:p@h', 'transport_url = rabbit://u:***@h'),
        ('url = http://u:p@ss@h/p@th', 'url = http://u:***@h/p@th'),
        ('#password = s3cret', '#password = ***'),
        ('# admin_token: s3cret', '# admin_token: ***'),
        ('key = s3cret', 'key = ***'),
        ('  SetEnv OS_PASSWORD s3cret', '  SetEnv OS_PASSWORD ***'),
        (
            '-----BEGIN RSA PRIVATE KEY-----\nabc\n'
            '-----END RSA PRIVATE KEY-----',
            '***',
        ),
    ],
)
def test_no_secret_of_a_configuration_is_collected(before, after):
    assert collect_logs.without_secrets(f'a = b\n{before}\n') == (
        f'a = b\n{after}\n'
    )


@pytest.mark.parametrize(
    'line',
    [
        'www_authenticate_uri = http://127.0.0.1/identity',
        'worker_self_reference_url = http://127.0.0.1:9292',
        'username = glance',
        'password =',
        'password =\nnext = one',
        'monkey = one',
        'SetEnv OS_GLANCE_CONFIG_DIR /etc/glance',
        'SSLCertificateKeyFile "/etc/ssl/one.key"',
    ],
)
def test_what_is_no_secret_stays(line):
    assert collect_logs.without_secrets(f'{line}\n') == f'{line}\n'


def test_nothing_to_collect_is_no_error(tmp_path):
    target = tmp_path / 'logs' / 'target'
    assert collect_logs.collect(target, tmp_path / 'root') == 0
    assert target.is_dir()


def test_what_is_there_is_collected_under_its_own_path(tmp_path):
    root, target = tmp_path / 'root', tmp_path / 'target'
    conf = root / 'etc' / 'glance' / 'glance-api.conf'
    vassal = root / 'etc' / 'glance-wsgi' / 'vassals' / 'glance-api.ini'
    log = root / 'var' / 'log' / 'glance-wsgi' / 'glance-api.log'
    key = root / 'etc' / 'glance' / 'one.key'
    for file in (conf, vassal, log, key):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('password = s3cret\n')
    assert collect_logs.collect(target, root) == 3
    found = {
        str(file.relative_to(target)): file.read_text()
        for file in target.rglob('*')
        if file.is_file()
    }
    assert found == {
        'etc/glance/glance-api.conf': 'password = ***\n',
        'etc/glance-wsgi/vassals/glance-api.ini': 'password = ***\n',
        'var/log/glance-wsgi/glance-api.log': 'password = s3cret\n',
    }
