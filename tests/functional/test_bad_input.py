"""Bad input gets one clear line, its own exit code, and changes nothing."""

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import sys
import sysconfig

import certificates
import loopback
import psutil
import pytest
import toolkit

from glance_wsgi import preflight
from glance_wsgi.errors import Exit

ROOT = os.geteuid() == 0
SOMEBODY = 'nobody'  # an ordinary user that every system has

needs_root = pytest.mark.skipif(
    not ROOT, reason='another user is involved: run the tests as root'
)


def one_line(result, code: Exit, *saying: str) -> str:
    """Check that the outcome is this error, told in one clear line."""
    lines = result.stderr.splitlines()
    assert (result.returncode, len(lines)) == (code, 1), result
    assert lines[0].startswith('glance-wsgi: ')
    assert 'Traceback' not in result.stdout + result.stderr
    for word in saying:
        assert str(word) in lines[0]
    return lines[0]


def started_for(state_dir: pathlib.Path) -> list[psutil.Process]:
    """Processes that name the state directory in their arguments."""
    return [
        process
        for process in psutil.process_iter(['cmdline'])
        if str(state_dir) in ' '.join(process.info['cmdline'] or ())
    ]


@pytest.fixture
def refused(fresh):
    """Runs ``up`` and checks that it refuses and changes nothing."""

    def up(*words, code, saying=(), deployment=fresh, **options):
        before = toolkit.snapshot(deployment.state_dir)
        result = deployment.up(*words, check=False, **options)
        try:
            line = one_line(result, code, *saying)
            cause, outcome, action = line.partition(' Nothing was changed. ')
            assert cause and outcome and action, line
            assert toolkit.snapshot(deployment.state_dir) == before
            assert not started_for(deployment.state_dir)
        except AssertionError:
            deployment.purge()
            raise

    return up


@pytest.fixture
def folder(workspace):
    """An empty directory that everybody may enter."""
    path = workspace / 'folder'
    path.mkdir(mode=0o755)
    yield path
    path.chmod(0o755)
    shutil.rmtree(path)


@contextlib.contextmanager
def mounted(path: pathlib.Path, options: str):
    """An empty file system in memory at `path`."""
    done = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', path],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f'mount is not allowed here ({done.stderr.strip()})')
    try:
        yield
    finally:
        subprocess.run(['umount', path], check=True)


# --- addresses ---


@pytest.mark.parametrize('option', ['--listen', '--keystone-listen'])
def test_a_port_in_use_is_named_with_its_option(refused, fresh, option):
    port = fresh.port if option == '--listen' else fresh.keystone_port
    with socket.create_server(('127.0.0.1', port)):
        refused(
            code=Exit.PORT_IN_USE, saying=[f'127.0.0.1:{port}', f' {option}.']
        )


def test_a_port_is_in_use_when_everybody_is_listened_to(refused, fresh):
    with socket.create_server(('0.0.0.0', fresh.port)):
        refused(code=Exit.PORT_IN_USE, saying=[fresh.port])


def test_glance_and_keystone_cannot_share_a_port(refused, fresh):
    refused(
        f'--keystone-listen=127.0.0.1:{fresh.port}',
        code=Exit.PORT_IN_USE,
        saying=[fresh.port, '--keystone-listen'],
    )


@pytest.mark.parametrize(
    'text',
    [
        '',
        '9292',
        '127.0.0.1:http',
        '127.0.0.1:0',
        '127.0.0.1:65536',
        '127.0.0.1:9292:1',
        '::1:9292',
        '[::1:9292',
        'http://127.0.0.1:9292',
        'no-such-host.invalid:9292',
        f'{"x" * 64}.example:9292',
    ],
)
def test_listen_has_to_be_an_address(refused, text):
    refused(f'--listen={text}', code=Exit.BAD_ADDRESS, saying=['--listen'])


@pytest.mark.parametrize('host', ['http://x y', 'x:1', '-x', 'a b', 'x/y'])
def test_a_public_host_is_a_host_alone(refused, host):
    refused(
        f'--public-host={host}',
        code=Exit.BAD_ADDRESS,
        saying=[host, '--public-host'],
    )


@pytest.mark.parametrize('kind', ['directory', 'binary'])
def test_own_settings_have_to_be_text(breakable, kind):
    file = breakable.state_dir / 'etc' / 'glance-api.local.conf'
    file.unlink()
    if kind == 'directory':
        file.mkdir()
    else:
        file.write_bytes(b'\xff\xfe')
    try:
        result = breakable.up(check=False)
        one_line(result, Exit.BAD_OPTION, file)
        assert breakable('status', check=False).returncode == Exit.BAD_OPTION
    finally:
        file.rmdir() if kind == 'directory' else file.unlink()
        breakable.write_own_settings(toolkit.LOCAL_SETTINGS)


@pytest.mark.parametrize('seconds', ['-1', 'nan', 'inf', 'soon'])
def test_a_timeout_is_a_number_of_seconds(breakable, seconds):
    result = breakable('down', f'--timeout={seconds}', check=False)
    assert result.returncode == Exit.USAGE
    assert breakable.status()['serving']


@pytest.mark.parametrize('host', ['0.0.0.0', '[::]'])
def test_listening_everywhere_needs_a_public_host(refused, fresh, host):
    refused(
        f'--listen={host}:{fresh.port}',
        code=Exit.BAD_ADDRESS,
        saying=['--public-host'],
    )


def test_an_address_of_another_machine_cannot_be_listened_on(refused):
    refused(
        '--listen=192.0.2.1:9292',
        code=Exit.PORT_NOT_ALLOWED,
        saying=['192.0.2.1:9292', '--listen'],
    )


@pytest.mark.parametrize(
    'user', [None, pytest.param(SOMEBODY, marks=needs_root)]
)
def test_a_port_for_root_alone_cannot_be_listened_on(refused, folder, user):
    path = pathlib.Path('/proc/sys/net/ipv4/ip_unprivileged_port_start')
    if int(path.read_text()) <= 700:
        pytest.skip(f'every port is for everybody here: see {path}')
    if user:
        shutil.chown(folder, user)
    refused(
        '--listen=127.0.0.1:700',
        code=Exit.PORT_NOT_ALLOWED,
        saying=['127.0.0.1:700', '1024', '--listen'],
        deployment=toolkit.Deployed(folder / 'state', user),
    )


# --- the state directory ---


def test_a_state_directory_cannot_be_below_a_file(refused, folder):
    file = folder / 'file'
    file.write_text('mine')
    refused(
        code=Exit.STATE_NOT_WRITABLE,
        saying=[file, 'not a directory'],
        deployment=toolkit.Deployed(file / 'state'),
    )
    assert file.read_text() == 'mine'


def test_a_state_directory_cannot_be_a_file(refused, folder):
    file = folder / 'file'
    file.write_text('mine')
    refused(
        code=Exit.STATE_NOT_WRITABLE,
        saying=[file, 'not a directory'],
        deployment=toolkit.Deployed(file),
    )


@needs_root
def test_a_state_directory_cannot_be_on_a_read_only_disk(refused, folder):
    with mounted(folder, 'ro'):
        refused(
            code=Exit.STATE_NOT_WRITABLE,
            saying=[folder / 'state', '--state-dir'],
            deployment=toolkit.Deployed(folder / 'state'),
        )


@pytest.mark.parametrize('mode', [0o755, 0o700, 0o711])
@needs_root
def test_an_ordinary_user_needs_a_directory_of_their_own(
    refused, folder, mode
):
    folder.chmod(mode)
    refused(
        code=Exit.STATE_NOT_WRITABLE,
        saying=[folder / 'state', '--state-dir'],
        deployment=toolkit.Deployed(folder / 'state', SOMEBODY),
    )


@needs_root
def test_the_service_user_has_to_reach_the_state_directory(refused, folder):
    folder.chmod(0o700)
    refused(
        code=Exit.STATE_NOT_REACHABLE,
        saying=[f'may not enter {folder}.', '--state-dir'],
        deployment=toolkit.Deployed(folder / 'home' / 'state'),
    )


@needs_root
def test_a_small_disk_is_refused(refused, folder):
    with mounted(folder, 'size=64m,mode=0755'):
        refused(
            code=Exit.DISK_FULL,
            saying=['64 MiB', f'{preflight.FREE_SPACE >> 20} MiB', folder],
            deployment=toolkit.Deployed(folder / 'state'),
        )


def test_a_directory_with_something_else_in_it_is_left_alone(refused, fresh):
    fresh.state_dir.mkdir()
    (fresh.state_dir / 'thesis.txt').write_text('3 years')
    refused(code=Exit.STATE_FOREIGN, saying=['thesis.txt', '--state-dir'])


@pytest.mark.parametrize(
    ('marker', 'word'),
    [
        ({'format': 1, 'complete': False, 'glance': '31.1.0'}, '31.1.0'),
        ({'format': 1, 'complete': False, 'glance': 'new'}, 'new'),
        ({'format': 99, 'glance_wsgi': '7.0.0'}, '7.0.0'),
        ({'complete': True}, 'deployment.json'),
        ([], 'deployment.json'),
    ],
)
def test_the_state_of_another_version_is_left_alone(
    refused, fresh, marker, word
):
    fresh.state_dir.mkdir()
    (fresh.state_dir / 'deployment.json').write_text(json.dumps(marker))
    refused(code=Exit.STATE_FOREIGN, saying=[fresh.state_dir, word])


@pytest.mark.parametrize('content', [b'', b'{"format": 1', b'\xff\xfe\x00'])
def test_a_damaged_marker_is_left_alone(refused, fresh, content):
    fresh.state_dir.mkdir()
    (fresh.state_dir / 'deployment.json').write_bytes(content)
    refused(code=Exit.STATE_FOREIGN, saying=['deployment.json'])


@pytest.mark.parametrize('verb', ['up', 'down'])
def test_only_one_command_works_on_a_deployment(fresh, verb):
    fresh.state_dir.mkdir()
    marker = {'format': 1, 'complete': False, 'glance': '33.0.0'}
    (fresh.state_dir / 'deployment.json').write_text(json.dumps(marker))
    (fresh.state_dir / 'etc').mkdir()
    (fresh.state_dir / 'etc' / 'glance-wsgi.conf').touch()
    before = toolkit.snapshot(fresh.state_dir)
    with (fresh.state_dir / '.lock').open('w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        run = fresh.up if verb == 'up' else fresh
        words = () if verb == 'up' else (verb,)
        result = run(*words, check=False)
    one_line(result, Exit.STATE_BUSY, fresh.state_dir)
    (fresh.state_dir / '.lock').unlink()
    assert toolkit.snapshot(fresh.state_dir) == before


@pytest.mark.parametrize('verb', ['down', 'status'])
def test_without_a_deployment_there_is_nothing_to_look_at(fresh, verb):
    result = fresh(verb, check=False)
    one_line(result, Exit.STATE_MISSING, fresh.state_dir, 'glance-wsgi up')
    assert not fresh.state_dir.exists()


# --- Python, Glance ---


def make_python(path: pathlib.Path, leave_out: str = '\0') -> pathlib.Path:
    """A virtualenv with what the running one has; its ``glance-wsgi``.

    :param leave_out: packages that begin with this are not in it
    """
    subprocess.run(
        [sys.executable, '-m', 'venv', '--without-pip', path], check=True
    )
    packages = sysconfig.get_path(
        'purelib', vars={'base': str(path), 'platbase': str(path)}
    )
    for place in pathlib.Path(sysconfig.get_path('purelib')).iterdir():
        ours = place.name.startswith(('glance_wsgi', '__editable__'))
        if ours or not place.name.startswith(leave_out):
            os.symlink(place, pathlib.Path(packages, place.name))
    os.symlink(toolkit.BIN / 'uwsgi', path / 'bin' / 'uwsgi')
    os.symlink(pathlib.Path(sys.prefix, 'share'), path / 'share')
    program = path / 'bin' / 'glance-wsgi'
    program.write_text(
        f'#!{path}/bin/python\nimport sys\n'
        'from glance_wsgi.cmd.main import main\nsys.exit(main())\n'
    )
    program.chmod(0o755)
    return program


@needs_root
def test_the_service_user_has_to_read_the_python(refused, folder):
    program = make_python(folder / 'venv')
    folder.chmod(0o700)
    refused(
        code=Exit.PYTHON_NOT_READABLE,
        saying=[folder / 'venv', 'Permission denied', '-m venv'],
        program=program,
    )


def test_glance_has_to_be_installed(refused, folder):
    program = make_python(folder / 'venv', leave_out='glance')
    refused(
        code=Exit.GLANCE_UNSUPPORTED,
        saying=['not installed', 'constraints'],
        program=program,
    )


@pytest.mark.parametrize('version', ['29.0.0', '34.0.0.0rc1'])
def test_glance_has_to_be_of_a_known_series(refused, folder, version):
    package = folder / f'glance-{version}.dist-info'
    package.mkdir()
    (package / 'METADATA').write_text(
        f'Metadata-Version: 2.1\nName: glance\nVersion: {version}\n'
    )
    refused(
        code=Exit.GLANCE_UNSUPPORTED,
        saying=[f'Glance {version}', 'Glance 30 to 33'],
        env={'PYTHONPATH': str(folder)},
    )


def test_a_missing_uwsgi_is_named(refused, folder):
    program = make_python(folder / 'venv')
    (folder / 'venv' / 'bin' / 'uwsgi').unlink()
    refused(
        code=Exit.SERVER_MISSING,
        saying=[folder / 'venv' / 'bin' / 'uwsgi', 'PyPI'],
        program=program,
    )


# --- the database ---


def test_a_database_that_does_not_answer_is_named(refused):
    port = toolkit.free_port()
    refused(
        f'--database=mysql+pymysql://glance:hidden@127.0.0.1:{port}/glance',
        code=Exit.DATABASE_UNREACHABLE,
        saying=[f'glance:***@127.0.0.1:{port}/glance', 'refused'],
    )


def test_the_database_has_to_know_the_password(refused, mariadb):
    with mariadb.database() as (name, _):
        refused(
            f'--database={mariadb.url(name, "guess", name)}',
            code=Exit.DATABASE_REFUSED,
            saying=[f'{name}:***@', 'password wrong'],
        )


def test_the_database_has_to_exist(refused, mariadb):
    with mariadb.database() as (name, _):
        mariadb.execute(f"GRANT ALL ON `nothing%`.* TO '{name}'@'localhost'")
        mariadb.execute(
            f"SET PASSWORD FOR '{name}'@'localhost' = PASSWORD('known')"
        )
        refused(
            f'--database={mariadb.url(name, "known", "nothing_here")}',
            code=Exit.DATABASE_REFUSED,
            saying=['nothing_here', 'no such database'],
        )


def test_the_database_user_has_to_be_allowed_in(refused, mariadb):
    with mariadb.database() as (name, url):
        refused(
            f'--database={url.replace(f"/{name}?", "/mysql?")}',
            code=Exit.DATABASE_REFUSED,
            saying=['may not use this database'],
        )


@pytest.mark.parametrize(
    ('url', 'saying'),
    [
        ('postgresql://glance:hidden@127.0.0.1/glance', 'postgresql'),
        ('mysql://glance:hidden@127.0.0.1/glance', '"mysql"'),
        ('mysql+pymysql://glance:hidden@127.0.0.1', 'names no database'),
        ('mysql+pymysql://glance:hidden@127.0.0.1:x/glance', 'database'),
        ('mysql+pymysql://glance:hidden@[::1/glance', 'database'),
        ('mysql+pymysql://glance:hidden@h/glance?nosuch=1', 'nosuch'),
        ('hidden', 'not a database URL'),
        ('sqlite://', 'absolute path'),
        ('sqlite:///glance.sqlite', 'absolute path'),
        ('sqlite:////proc/none/glance.sqlite', '/proc/none'),
    ],
)
def test_a_database_url_has_to_be_of_a_known_kind(refused, url, saying):
    refused(
        f'--database={url}', code=Exit.DATABASE_UNSUPPORTED, saying=[saying]
    )


@pytest.mark.parametrize('url', ['mysql+pymysql://g:hidden@h:x/g', 'hidden'])
def test_a_bad_database_url_does_not_show_its_password(fresh, url):
    result = fresh.up(f'--database={url}', check=False)
    assert result.returncode == Exit.DATABASE_UNSUPPORTED
    assert 'hidden' not in result.stderr + result.stdout


def test_an_sqlite_file_has_to_be_a_database(refused, folder):
    file = folder / 'notes.txt'
    file.write_text('not a database\n' * 100)
    refused(
        f'--database=sqlite:///{file}',
        code=Exit.DATABASE_REFUSED,
        saying=[file, 'not a database'],
    )
    assert file.read_text() == 'not a database\n' * 100


def test_an_sqlite_file_cannot_be_a_directory(refused, folder):
    refused(
        f'--database=sqlite:///{folder}',
        code=Exit.DATABASE_REFUSED,
        saying=[folder],
    )


def test_a_database_of_a_newer_glance_is_left_alone(refused, folder):
    file = folder / 'glance.sqlite'
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute('CREATE TABLE alembic_version (version_num TEXT)')
        connection.execute(
            "INSERT INTO alembic_version VALUES ('2099_1_contract01')"
        )
        connection.commit()
    before = toolkit.snapshot(folder)
    refused(
        f'--database=sqlite:///{file}',
        code=Exit.DATABASE_NEWER,
        saying=['2099_1_contract01'],
    )
    assert toolkit.snapshot(folder) == before


# --- other options ---


def test_an_unknown_server_is_named_with_the_known_ones(refused):
    refused(
        '--server=nginx', code=Exit.SERVER_UNKNOWN, saying=['nginx', 'uwsgi']
    )


@pytest.mark.parametrize(
    ('stores', 'saying'),
    [
        ('fast:rbd', '"rbd"'),
        ('fast:file,slow:', '"slow"'),
        ('os_glance_staging_store:file', 'os_glance_'),
        ('fast store:file', 'fast store'),
        ('fast:file,tasks:file', 'tasks'),
        ('web:http,fast:file', '"file"'),
        ('', '"file"'),
    ],
)
def test_stores_have_to_be_of_known_kinds(refused, stores, saying):
    refused(f'--stores={stores}', code=Exit.STORE_UNKNOWN, saying=[saying])


@pytest.mark.parametrize(
    'word', ['--stores=one:file,web:http', '--keystone=http://127.0.0.1:1/v3']
)
def test_a_gate_refuses_what_tempest_cannot_pass_with(refused, word):
    option, _, value = word.partition('=')
    refused(
        '--profile=gate',
        word,
        code=Exit.GATE_UNSUITABLE,
        saying=[option, 'file' if 'file' in value else value],
    )


@pytest.mark.parametrize(
    'word',
    [
        '--workers=0',
        '--threads=many',
        '--chunk-limit=1',
        '--stores=fast',
        '--profile=test',
    ],
)
def test_a_value_out_of_range_is_named_with_its_option(refused, word):
    refused(word, code=Exit.BAD_OPTION, saying=word.split('='))


class NotKeystone(loopback.Handler):
    """Answers everything with a page that the path names."""

    def do_GET(self) -> None:
        body = self.path.strip('/').removesuffix('/v3').encode() or b'Hello'
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def not_keystone():
    """The URL of a web server that is no Keystone."""
    with loopback.Server(NotKeystone) as server:
        yield server.url


@pytest.mark.parametrize('page', ['hello', '[]', '{"version":{"id":"v2.0"}}'])
def test_a_keystone_has_to_be_one(refused, not_keystone, page):
    refused(
        f'--keystone={not_keystone}/{page}',
        code=Exit.KEYSTONE_UNREACHABLE,
        saying=[not_keystone, '--keystone'],
    )


def test_a_keystone_has_to_answer(refused):
    url = f'http://127.0.0.1:{toolkit.free_port()}/v3'
    refused(
        f'--keystone={url}',
        code=Exit.KEYSTONE_UNREACHABLE,
        saying=[url, '--keystone'],
    )


@pytest.mark.parametrize(
    'text',
    [
        'none',
        '127.0.0.1:5000',
        'ftp://127.0.0.1/v3',
        'http://',
        'http://[::1',
        'http://127.0.0.1:x/v3',
    ],
)
def test_keystone_has_to_be_a_url(refused, text):
    refused(f'--keystone={text}', code=Exit.BAD_OPTION, saying=['--keystone'])


@pytest.mark.parametrize(
    ('content', 'saying'),
    [
        ('[server]\nthreads = many\n', 'threads'),
        ('[server\nthreads = 1\n', 'server'),
        ('threads\n', 'threads'),
        ('[server]\nthreads = $nosuch\n', 'nosuch'),
        ('[deployment]\nlisten = nowhere\n', 'nowhere'),
    ],
)
def test_a_bad_value_in_a_config_file_is_named(fresh, folder, content, saying):
    file = folder / 'options.conf'
    file.write_text(content)
    # Not by way of fresh.up, whose --listen wins over the file.
    result = fresh(
        'up',
        f'--keystone-listen=127.0.0.1:{fresh.keystone_port}',
        f'--config-file={file}',
        check=False,
    )
    code = Exit.BAD_ADDRESS if 'nowhere' in content else Exit.BAD_OPTION
    one_line(result, code, saying)
    assert not fresh.state_dir.exists()


def test_a_config_file_has_to_exist(refused, folder):
    refused(
        f'--config-file={folder}/none.conf',
        code=Exit.BAD_OPTION,
        saying=[f'{folder}/none.conf'],
    )


def test_a_config_file_cannot_be_a_directory(refused, folder):
    refused(f'--config-file={folder}', code=Exit.BAD_OPTION, saying=[folder])


@needs_root
def test_a_config_file_has_to_be_readable(refused, folder):
    file = folder / 'options.conf'
    file.touch(mode=0o600)
    shutil.chown(folder, SOMEBODY)
    refused(
        f'--config-file={file}',
        code=Exit.BAD_OPTION,
        saying=[file],
        deployment=toolkit.Deployed(folder / 'state', SOMEBODY),
    )


@pytest.mark.parametrize(
    'words', [['upp'], ['up', '--lissten=1'], ['up', 'more'], ['--no']]
)
def test_an_unknown_word_ends_with_the_code_for_usage(words):
    result = toolkit.glance_wsgi(*words, check=False)
    assert result.returncode == Exit.USAGE
    assert words[-1] in result.stdout + result.stderr
    assert 'Traceback' not in result.stdout + result.stderr


# --- an application that can't start ---


def test_what_cannot_be_loaded_is_refused_while_the_old_one_serves(breakable):
    breakable.up()
    broken = toolkit.LOCAL_SETTINGS + '[paste_deploy]\nflavor = nonsense\n'
    breakable.write_own_settings(broken)
    conf = breakable.state_dir / 'etc' / 'glance' / 'glance-api.conf'
    before = toolkit.snapshot(conf)
    try:
        result = breakable.up(check=False)
        one_line(result, Exit.SERVER_REFUSES, 'glance-api', 'nonsense')
        assert toolkit.snapshot(conf) == before
        assert breakable.status()['serving']
    finally:
        breakable.write_own_settings(toolkit.LOCAL_SETTINGS)


def test_an_application_that_cannot_start_says_why(breakable):
    breakable('down')
    broken = toolkit.LOCAL_SETTINGS + '[paste_deploy]\nflavor = nonsense\n'
    breakable.write_own_settings(broken)
    try:
        # Not "does not answer after 60 s": the log is read while it waits.
        result = breakable.up(check=False)
        one_line(result, Exit.NOT_READY, 'glance-api', 'nonsense', 'log')
        again = breakable.up(check=False)
        one_line(again, Exit.NOT_READY, 'glance-api', 'nonsense')
    finally:
        breakable.write_own_settings(toolkit.LOCAL_SETTINGS)
    breakable.up()
    assert breakable.status()['serving']


@pytest.mark.parametrize('flaw', ['a key of another', 'no key any more'])
def test_a_reload_refuses_a_bad_certificate(fresh, workspace, flaw):
    pair = certificates.make(workspace, 'good')
    other = certificates.make(workspace, 'other')
    fresh.up(
        f'--tls-certificate={pair.certificate}',
        f'--tls-key={pair.key}',
        f'--tls-ca={pair.certificate}',
    )
    running = set(fresh.processes(''))
    if flaw == 'no key any more':
        pair.key.unlink()
    else:
        other.key.replace(pair.key)
    result = fresh('reload', check=False)
    one_line(result, Exit.BAD_CERTIFICATE)
    assert fresh.status()['serving']
    assert set(fresh.processes('')) == running
