"""What the smoke tests are made of; they run in tests/functional."""

import csv
import datetime
import http.server
import importlib
import importlib.metadata
import inspect
import pathlib
import pkgutil
import runpy
import socket
import sys
import threading
from xml.etree import ElementTree

import pytest
import yaml
from openstack.config import loader
from testtools import content
from testtools import content_type

from glance_wsgi import errors
from glance_wsgi import smoke
from glance_wsgi.cmd import main
from glance_wsgi.smoke import base
from glance_wsgi.smoke import cloud
from glance_wsgi.smoke import runner

TEST_CLASS = 'glance_wsgi.smoke.test_x.TestX'
TOP = pathlib.Path(__file__).parents[2]
FAULTS = runpy.run_path(
    str(TOP / 'tests' / 'functional' / 'glance_wsgi_faults.py')
)
BROKEN = [*FAULTS['FAULTS'], *FAULTS['POLICIES']]

BEGAN = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


def classes():
    """All classes of smoke tests."""
    for found in pkgutil.iter_modules(smoke.__path__):
        if found.name.startswith('test_'):
            module = importlib.import_module(f'glance_wsgi.smoke.{found.name}')
            for _, kind in inspect.getmembers(module, inspect.isclass):
                if issubclass(kind, base.SmokeTest) and kind is not (
                    base.SmokeTest
                ):
                    yield kind


TESTS = [
    (kind, name)
    for kind in classes()
    for name in vars(kind)
    if name.startswith('test_')
]


def test_tempest_finds_the_plugin():
    (found,) = importlib.metadata.entry_points(
        group='tempest.test_plugins', name='glance_wsgi'
    )
    directory, top = found.load()().load_tests()
    assert directory.startswith(top)


def test_every_smoke_test_has_an_id_of_its_own_and_is_called_smoke():
    assert len(TESTS) > 40
    seen = set()
    for kind, name in TESTS:
        attributes = getattr(kind, name).__testtools_attrs
        assert 'smoke' in attributes, name
        (number,) = (a for a in attributes if a.startswith('id-'))
        assert number not in seen, name
        seen.add(number)


def event(number, status, **details):
    """What becomes of a test, as testtools hands it over."""
    return {
        'id': number,
        'status': status,
        'timestamps': [BEGAN, BEGAN + datetime.timedelta(seconds=1.5)],
        'details': {
            name: content.Content(
                content_type.UTF8_TEXT, lambda text=text: [text.encode()]
            )
            for name, text in details.items()
        },
    }


def result(status, **details):
    """The result of a test that has ended like that."""
    number = f'{TEST_CLASS}.test_y[id-1,smoke]'
    return runner._result(event(number, status, **details))


TRACE = """Traceback (most recent call last):
  File "test_x.py", line 1, in test_y
    self.assertEqual(1, 2)
testtools.matchers._impl.MismatchError: !=:
reference = 1
actual    = 2
"""


def test_every_smoke_test_has_a_fault_that_makes_it_fail():
    names = [name for _, name in TESTS]
    known = [*BROKEN, *FAULTS['ELSEWHERE']]
    assert sorted(known) == sorted(names)


def test_the_documentation_has_each_fault_and_the_test_that_catches_it():
    with (TOP / 'doc' / 'source' / 'smoke-faults.csv').open() as file:
        told = [row['What says so'] for row in csv.DictReader(file)]
    assert told == [
        name.removeprefix('test_').replace('_', ' ') for name in BROKEN
    ]


def test_a_result_has_a_short_name_and_its_seconds():
    found = result('success')
    assert (found.test, found.outcome, found.seconds) == (
        'test_x.TestX.test_y',
        runner.PASSED,
        1.5,
    )


def test_the_reason_of_a_failure_is_what_follows_the_code():
    assert result('fail', traceback=TRACE).reason == (
        'testtools.matchers._impl.MismatchError: !=: reference = 1 actual = 2'
    )


def test_the_reason_of_a_skip_is_told():
    found = result('skip', reason='one store only')
    assert (found.outcome, found.reason) == (runner.SKIPPED, 'one store only')


@pytest.fixture
def collected():
    """Two tests of a class are listed, and one of them has passed."""
    made = runner._Collected(lambda result: None)
    for name in ('a', 'b'):
        made.note(
            {'id': f'{TEST_CLASS}.test_{name}[id-1]', 'status': 'exists'}
        )
    made.note(event(f'{TEST_CLASS}.test_a[id-1]', 'success'))
    return made


def failures(collected):
    return [
        (item.test.rpartition('.')[2], item.reason)
        for item in collected.results
        if item.outcome == runner.FAILED
    ]


def test_a_test_that_was_not_run_makes_the_run_fail(collected):
    collected.end(0, 'It rains.')
    assert failures(collected) == [
        ('test_every_test_is_run', '1 of 2 tests were not run: It rains.')
    ]


def test_a_test_that_did_not_end_makes_the_run_fail(collected):
    collected.note(event(f'{TEST_CLASS}.test_b[id-1]', 'inprogress'))
    collected.end(1, 'It rains.')
    assert failures(collected) == [('test_b', 'It did not come to its end.')]


def test_an_exit_code_makes_the_run_fail_when_nothing_else_does(collected):
    collected.note(event(f'{TEST_CLASS}.test_b[id-1]', 'success'))
    collected.end(1, '')
    assert failures(collected) == [
        ('test_every_test_is_run', 'stestr has ended with 1')
    ]


def test_a_class_that_is_skipped_has_run_its_tests(collected):
    collected.note(event(f'setUpClass ({TEST_CLASS})', 'skip'))
    collected.end(0, '')
    assert not failures(collected)


def test_junit_has_every_result():
    suite = ElementTree.fromstring(
        runner.junit(
            [
                result('success'),
                result('skip', reason='no'),
                result('fail', traceback=TRACE + '\x1b[0m'),
            ]
        )
    )
    counts = {key: suite.attrib[key] for key in ('tests', 'failures')}
    assert counts == {'tests': '3', 'failures': '1'}
    assert suite.attrib['skipped'] == '1'
    failure = suite.find('testcase/failure')
    assert 'actual    = 2' in failure.text


def test_without_tempest_the_verb_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'glance_wsgi.smoke.runner', None)
    monkeypatch.delattr(smoke, 'runner')
    assert main.main(['smoke']) == errors.Exit.SMOKE_NOT_RUN
    assert 'glance-wsgi[smoke]' in capsys.readouterr().err


AUTH = {
    'auth_url': 'http://127.0.0.1:9/v3',
    'username': 'a',
    'password': 'b',
    'project_name': 'c',
    'user_domain_name': 'Default',
    'project_domain_name': 'Default',
}


@pytest.fixture
def clouds(tmp_path, monkeypatch):
    """Writes clouds.yaml, which is then the one that is read."""
    file = tmp_path / 'clouds.yaml'
    monkeypatch.setenv('OS_CLIENT_CONFIG_FILE', str(file))

    def write(**entries):
        file.write_text(yaml.safe_dump({'clouds': entries}))
        return file

    write.file = file
    return write


@pytest.fixture
def refused(capsys):
    """The one line by which ``smoke`` refuses what it is given."""

    def run(*words, code):
        found = main.main(['smoke', *words])
        line = capsys.readouterr().err
        assert (found, len(line.splitlines())) == (code, 1), line
        return line

    return run


@pytest.mark.parametrize(
    ('entry', 'word'),
    [
        ({'auth': {**AUTH, 'password': ''}}, 'password'),
        (
            {'auth_type': 'none', 'auth': {'endpoint': 'http://127.0.0.1'}},
            'password',
        ),
        ({'auth': {**AUTH, 'auth_url': ''}}, 'auth_url'),
        ({'auth': AUTH, 'auth_type': 'by_magic'}, 'by_magic'),
        ({'auth': AUTH, 'cacert': '/no/such/file'}, '/no/such/file'),
        ({'auth': 'me'}, 'mapping'),
        ('me', 'mapping'),
    ],
)
def test_an_entry_that_is_of_no_use_is_refused(clouds, refused, entry, word):
    clouds(one=entry)
    line = refused('--os-cloud=one', code=errors.Exit.CLOUD_UNKNOWN)
    assert '"one"' in line
    assert word in line


@pytest.mark.parametrize(
    ('text', 'word'),
    [
        (None, 'No such file'),
        ('clouds: [one', 'expected'),
        ('\x80', 'read'),
        ('', '"one"'),
        ('[one]', '"one"'),
        ('clouds: [one]', '"one"'),
        ('clouds: {two: {}}', '"one"'),
    ],
)
def test_a_file_that_is_no_clouds_yaml_is_named(clouds, refused, text, word):
    if text is not None:
        clouds.file.write_text(text, 'latin-1')
    line = refused('--os-cloud=one', code=errors.Exit.CLOUD_UNKNOWN)
    assert str(clouds.file) in line
    assert word in line


def test_where_there_is_no_clouds_yaml_at_all_is_said(monkeypatch, refused):
    monkeypatch.delenv('OS_CLIENT_CONFIG_FILE', raising=False)
    monkeypatch.setattr(loader, 'CONFIG_FILES', ['/no/such/clouds.yaml'])
    line = refused('--os-cloud=one', code=errors.Exit.CLOUD_UNKNOWN)
    assert 'no clouds.yaml' in line


def test_somebody_elses_cloud_with_our_name_is_not_replaced(clouds, refused):
    entry = {'auth': AUTH}
    clouds(**{'glance-wsgi': entry, 'glance-wsgi-member': entry})
    line = refused('--os-cloud=glance-wsgi', code=errors.Exit.CLOUD_UNKNOWN)
    assert '"glance-wsgi-admin"' in line


def test_a_pattern_that_is_no_regular_expression_is_refused(refused):
    assert '"("' in refused('(', code=errors.Exit.BAD_OPTION)


@pytest.mark.parametrize('uri', ['nonsense', 'ftp://127.0.0.1/file', ''])
def test_what_web_download_can_not_fetch_is_refused(refused, uri):
    words = f'--web-download-uri={uri}'
    assert f'"{uri}"' in refused(words, code=errors.Exit.BAD_OPTION)


@pytest.mark.parametrize('url', ['nonsense', 'ftp://127.0.0.1', ''])
def test_an_endpoint_that_is_no_url_is_refused(refused, url):
    words = f'--endpoint={url}'
    assert f'"{url}"' in refused(words, code=errors.Exit.BAD_OPTION)


@pytest.mark.timeout(60)
@pytest.mark.parametrize('scheme', ['http', 'https'])
def test_a_keystone_that_stays_silent_is_not_waited_for(
    clouds, monkeypatch, scheme
):
    monkeypatch.setattr(cloud, 'TIMEOUT', 0.5)
    with socket.create_server(('127.0.0.1', 0)) as silent:
        url = f'{scheme}://127.0.0.1:{silent.getsockname()[1]}'
        one = cloud.Cloud(
            'one', clouds(one={'auth': {**AUTH, 'auth_url': url}})
        )
        for ask in (one.check_keystone, one.log_in):
            with pytest.raises(errors.KeystoneUnreachable, match='timed out'):
                ask()


def test_the_patience_that_clouds_yaml_asks_for_is_taken(clouds):
    file = clouds(one={'auth': AUTH, 'api_timeout': 90})
    assert cloud.Cloud('one', file).session.timeout == 90


def test_a_server_without_tls_is_not_told_to_have_a_bad_certificate(clouds):
    server = http.server.HTTPServer(
        ('127.0.0.1', 0), http.server.BaseHTTPRequestHandler
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f'https://127.0.0.1:{server.server_port}'
    one = cloud.Cloud('one', clouds(one={'auth': {**AUTH, 'auth_url': url}}))
    try:
        with pytest.raises(errors.KeystoneUnreachable, match=url):
            one.check_keystone()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_authority_is_found_from_any_directory(clouds, monkeypatch):
    monkeypatch.chdir(clouds.file.parent)
    clouds.file.with_name('ca.pem').touch()
    one = cloud.Cloud('one', clouds(one={'auth': AUTH, 'cacert': 'ca.pem'}))
    assert one.verify == str(clouds.file.with_name('ca.pem'))
