"""What the smoke tests are made of; they run in tests/functional."""

import csv
import datetime
import importlib
import importlib.metadata
import inspect
import pathlib
import pkgutil
import runpy
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


def result(status, **details):
    """A test's result as testtools hands it over."""
    return runner._result(
        {
            'id': 'glance_wsgi.smoke.test_x.TestX.test_y[id-1,smoke]',
            'status': status,
            'timestamps': [BEGAN, BEGAN + datetime.timedelta(seconds=1.5)],
            'details': {
                name: content.Content(
                    content_type.UTF8_TEXT, lambda text=text: [text.encode()]
                )
                for name, text in details.items()
            },
        }
    )


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
