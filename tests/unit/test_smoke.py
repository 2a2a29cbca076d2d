"""What the smoke tests are made of; they run in tests/functional."""

import datetime
import importlib
import importlib.metadata
import inspect
import pkgutil
import sys
from xml.etree import ElementTree

import pytest
from testtools import content
from testtools import content_type

from glance_wsgi import errors
from glance_wsgi import smoke
from glance_wsgi.cmd import main
from glance_wsgi.smoke import base
from glance_wsgi.smoke import cloud
from glance_wsgi.smoke import runner

TEST_CLASS = 'glance_wsgi.smoke.test_x.TestX'
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


@pytest.mark.parametrize(
    ('changes', 'word'),
    [
        ({'password': ''}, 'password'),
        ({'auth_type': 'none'}, 'password'),
    ],
)
def test_a_cloud_without_a_password_is_refused(tmp_path, changes, word):
    auth = {'auth_url': 'http://127.0.0.1/v3', 'username': 'a', **changes}
    kind = auth.pop('auth_type', 'password')
    if kind == 'none':
        auth = {'endpoint': 'http://127.0.0.1'}
    file = tmp_path / 'clouds.yaml'
    file.write_text(f'clouds: {{a: {{auth_type: {kind}, auth: {auth}}}}}')
    with pytest.raises(errors.CloudUnknown, match=word):
        cloud.Cloud('a', [file])
