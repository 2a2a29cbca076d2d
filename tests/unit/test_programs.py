"""Running other programs, and finding out what they complained of."""

import os
import pathlib
import stat
import sys

import pytest
import requests

from glance_wsgi import errors
from glance_wsgi import programs
from glance_wsgi import state
from glance_wsgi.programs import ServiceUser

ME = ServiceUser('me', state.Owner.myself())

TRACEBACK = """\
2026-11-23 18:41:02.532 18301 CRITICAL keystone [-] Unhandled error: \
sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) no such table: x
2026-11-23 18:41:02.532 18301 ERROR keystone Traceback (most recent call last):
2026-11-23 18:41:02.532 18301 ERROR keystone   File "a.py", line 3, in main
2026-11-23 18:41:02.532 18301 ERROR keystone     raise sa.exc.OperationalError
2026-11-23 18:41:02.532 18301 ERROR keystone \
sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) no such table: x
2026-11-23 18:41:02.532 18301 ERROR keystone [SQL: SELECT 1]
"""

UWSGI = """\
*** Operational MODE: preforking+threaded ***
Traceback (most recent call last):
  File "/venv/lib/glance_wsgi/api.py", line 5, in <module>
    application = app.build()
  File "/venv/lib/oslo_config/cfg.py", line 2890, in _do_get
glance_store.exceptions.BadStoreConfiguration: Store file could not be set up
oslo_config.cfg.ConfigFileValueError: Value for option threads is not valid.
unable to load app 0 (mountpoint='') (callable not found or import error)
*** no app loaded. GAME OVER ***
"""

# Two workers: the second is not as far as the first, which has failed.
WORKERS = """\
2026-11-26 10:47:08.983 95 ERROR stevedore.extension [-] Could not load \
'cinder': No module named 'os_brick': ModuleNotFoundError: No module named \
'os_brick'
2026-11-26 10:47:09.401 95 CRITICAL glance [None req-1 - -] Unhandled error: \
RuntimeError: Unable to load glance-api-nonsense.
2026-11-26 10:47:09.401 95 ERROR glance RuntimeError: Unable to load \
glance-api-nonsense.
failed loading app in worker 1
SIGINT/SIGTERM received...killing workers...
2026-11-26 10:47:09.997 96 CRITICAL glance [None req-2 - -] Unhandled error: \
KeyboardInterrupt
2026-11-26 10:47:09.998 96 ERROR stevedore.extension [-] Could not load \
'cinder': No module named 'os_brick': ModuleNotFoundError: No module named \
'os_brick'
"""

# The same with mod_wsgi, which tells the exception itself.
DAEMONS = """\
[wsgi:error] [pid 95] mod_wsgi (pid=95): Failed to exec Python script file.
[wsgi:error] [pid 95] RuntimeError: Unable to load glance-api-nonsense.
[wsgi:error] [pid 96] 2026-11-26 10:47:09.048 96 ERROR stevedore.extension \
[-] Could not load 'cinder': ModuleNotFoundError: No module named 'os_brick'
"""

USAGE = """\
usage: glance-manage [-h] [--config-dir DIR] {db} ...
glance-manage: error: argument category: invalid choice: 'dbb'
"""

ENDS = """\
ERROR: could not open the file: Permission denied.

"""


@pytest.mark.parametrize(
    ('output', 'said'),
    [
        ('', ''),
        ('\n \n', ''),
        (
            TRACEBACK,
            'sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) '
            'no such table: x',
        ),
        (
            UWSGI,
            'oslo_config.cfg.ConfigFileValueError: Value for option threads '
            'is not valid',
        ),
        (WORKERS, 'RuntimeError: Unable to load glance-api-nonsense'),
        (DAEMONS, 'RuntimeError: Unable to load glance-api-nonsense'),
        (
            USAGE,
            "glance-manage: error: argument category: invalid choice: 'dbb'",
        ),
        (ENDS, 'ERROR: could not open the file: Permission denied'),
        ("KeyError: 'x'", "KeyError: 'x'"),
        ('FutureWarning: old\nValueError: no', 'ValueError: no'),
    ],
    ids=[
        'nothing',
        'blanks',
        'log',
        'uwsgi',
        'workers',
        'daemons',
        'usage',
        'text',
        'bare',
        'last',
    ],
)
def test_a_complaint_is_the_last_exception_or_else_the_last_line(output, said):
    assert programs.complaint(output) == said


def run(tmp_path, code, env=None):
    place = state.StateDir(tmp_path)
    place.log.mkdir(exist_ok=True)
    programs.run([sys.executable, '-c', code], ME, place, env)
    return place.log / 'deploy.log'


def test_all_output_is_kept_in_the_log_behind_the_command(tmp_path):
    for number in (1, 2):
        log = run(
            tmp_path,
            f'import os; os.write(1, b"{number}\\n"); os.write(2, b"x\\n")',
        )
    assert [line[:1] for line in log.read_text().splitlines()] == [
        '$',
        '1',
        'x',
        '$',
        '2',
        'x',
    ]
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_program_that_fails_is_an_error_with_its_last_words(tmp_path):
    with pytest.raises(errors.StepFailed, match='ValueError: no, thanks') as e:
        run(tmp_path, 'raise ValueError("no, thanks")')
    assert str(tmp_path / 'log' / 'deploy.log') in e.value.action


def test_a_program_that_fails_silently_is_an_error_with_its_code(tmp_path):
    with pytest.raises(errors.StepFailed, match='exit code 7'):
        run(tmp_path, 'raise SystemExit(7)')


def test_output_that_is_no_text_is_kept_as_well_as_it_can_be(tmp_path):
    log = run(tmp_path, r'import os; os.write(1, b"a\xffb")')
    assert 'a�b' in log.read_text()


def test_files_that_a_program_makes_are_its_users_alone(tmp_path):
    run(tmp_path, f'open({str(tmp_path / "made")!r}, "w")')
    assert stat.S_IMODE((tmp_path / 'made').stat().st_mode) == 0o600


def test_a_program_waits_for_no_input(tmp_path):
    log = run(tmp_path, 'import sys; print(len(sys.stdin.read()))')
    assert log.read_text().endswith('\n0\n')


def test_a_log_that_is_a_link_is_not_followed(tmp_path):
    """The service user owns the directory and may lay links there."""
    victim = tmp_path / 'victim'
    victim.write_text('precious')
    (tmp_path / 'log').mkdir()
    (tmp_path / 'log' / 'deploy.log').symlink_to(victim)
    with pytest.raises(OSError):
        run(tmp_path, 'print(1)')
    assert victim.read_text() == 'precious'


def test_a_program_gets_none_of_the_callers_credentials(monkeypatch):
    monkeypatch.setenv('OS_PASSWORD', 'secret')
    monkeypatch.setenv('PYTHONPATH', '/elsewhere')
    monkeypatch.setenv('SSL_CERT_FILE', '/ca.pem')
    passed = programs.environment(pathlib.Path('/run'), {'OS_CONFIG': 'x'})
    assert 'OS_PASSWORD' not in passed
    assert 'PYTHONPATH' not in passed
    assert passed['SSL_CERT_FILE'] == '/ca.pem'
    assert passed['OS_CONFIG'] == 'x'
    assert set(passed) <= {*programs.INHERITED, 'HOME', 'PATH', 'OS_CONFIG'}


def test_the_programs_of_this_virtualenv_come_first():
    first = programs.environment(pathlib.Path('/run'))['PATH'].split(':')[0]
    assert pathlib.Path(first) == pathlib.Path(sys.executable).parent
    assert programs.program('python').parent == pathlib.Path(first)


@pytest.mark.skipif(os.geteuid() == 0, reason='root serves as another user')
def test_an_ordinary_user_serves_as_itself():
    user = ServiceUser.find()
    assert user.owner == state.Owner.myself()
    assert user.make() is user
    assert user.popen_arguments() == {}


@pytest.mark.skipif(os.geteuid() != 0, reason='only root changes the user')
def test_what_root_runs_for_the_service_has_none_of_roots_rights(tmp_path):
    tmp_path.chmod(0o777)
    nobody = ServiceUser('nobody', state.Owner(65534, 65534))
    place = state.StateDir(tmp_path)
    place.log.mkdir()
    code = 'import os; print(os.getresuid(), os.getresgid(), os.getgroups())'
    programs.run(['/usr/bin/python3', '-c', code], nobody, place)
    ids = '(65534, 65534, 65534)'
    said = (place.log / 'deploy.log').read_text()
    assert f'\n{ids} {ids} []\n' in said


def test_own_hosts_are_never_asked_through_a_proxy(monkeypatch):
    monkeypatch.delenv('NO_PROXY', raising=False)
    monkeypatch.setenv('no_proxy', 'example.org')
    monkeypatch.setenv('HTTP_PROXY', 'http://127.0.0.1:9')
    programs.bypass_proxies(['192.0.2.1'])
    programs.bypass_proxies(['192.0.2.1'])
    for environment in (
        os.environ,
        programs.environment(pathlib.Path('/run')),
    ):
        assert environment['NO_PROXY'] == 'example.org,localhost,192.0.2.1'
        assert environment['no_proxy'] == environment['NO_PROXY']
    assert requests.utils.should_bypass_proxies('http://192.0.2.1/', None)
    assert not requests.utils.should_bypass_proxies('http://192.0.2.2/', None)


def test_nothing_is_told_of_a_log_that_is_a_link(tmp_path):
    """What root reads there, it shows to the person."""
    victim = tmp_path / 'victim'
    victim.write_text('secret')
    (tmp_path / 'api.log').symlink_to(victim)
    assert programs.read_from(tmp_path / 'api.log', 0) == ''
    assert programs.read_from(victim, 2) == 'cret'
