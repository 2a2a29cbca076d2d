"""What tools/test.sh tells at its end of the tests that failed."""

import pathlib
import subprocess
import sys

import pytest

TOOL = pathlib.Path(__file__).parents[2] / 'tools' / 'failures.py'

TESTS = """
import pytest

def test_good():
    pass

def test_bad():
    assert 'what it is' == 'what it should be'

@pytest.fixture
def broken():
    raise OSError('no such thing')

def test_without_its_fixture(broken):
    pass
"""


@pytest.fixture
def reports(tmp_path):
    """A directory with pytest's own report of some tests."""
    (tmp_path / 'test_some.py').write_text(TESTS)
    reports = tmp_path / 'reports'
    subprocess.run(
        [
            sys.executable,
            '-m',
            'pytest',
            '-q',
            f'--junitxml={reports}/some.xml',
            '.',
        ],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    return reports


def told(directory) -> str:
    return subprocess.run(
        [sys.executable, TOOL, directory],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_each_test_that_failed_is_told_with_what_it_said(reports):
    output = told(reports)
    assert '=== some: test_some.test_bad' in output
    assert "assert 'what it is' == 'what it should be'" in output
    assert '=== some: test_some.test_without_its_fixture' in output
    assert 'no such thing' in output
    assert 'test_good' not in output


def test_nothing_is_told_without_reports(tmp_path):
    assert told(tmp_path / 'missing') == ''
