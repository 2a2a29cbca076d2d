"""Every rule fires on what is wrong, and on nothing that is right."""

import pytest
from lint_cases import CASES
from lint_cases import FITS
from lint_cases import GOOD
from lint_cases import Machine

from glance_wsgi import lint
from glance_wsgi.lint.findings import Severity

SECRET = {'glance-api.conf', 'private.key'}


@pytest.fixture
def write(tmp_path):
    """Writes files of GOOD, with what they name; returns their paths."""

    def write(names, edits=(), modes=None):
        (tmp_path / 'keys').mkdir(mode=0o700)
        paths = []
        for name in (*names, 'private.key'):
            text = GOOD.get(name, '')
            if name == names[0]:
                for old, new in edits:
                    assert old in text
                    text = text.replace(old, new)
            path = tmp_path / name
            path.write_text(text.format(tmp=tmp_path))
            path.chmod(0o600 if name in SECRET else 0o644)
            paths.append(path)
        for name, mode in (modes or {}).items():
            (tmp_path / name).chmod(mode)
        return paths[: len(names)]

    return write


@pytest.mark.parametrize('case', CASES, ids=str)
def test_a_rule_fires_on_what_it_is_about(write, case):
    paths = write(case.files, case.edits, case.modes)
    found = lint.lint(paths, Machine(**case.facts))
    assert case.rule in {finding.rule for finding in found}


@pytest.mark.parametrize('case', FITS, ids=str)
def test_a_rule_is_silent_where_something_just_fits(write, case):
    paths = write(case.files, case.edits, case.modes)
    found = lint.lint(paths, Machine(**case.facts))
    assert case.rule not in {finding.rule for finding in found}


@pytest.mark.parametrize('name', GOOD)
def test_nothing_is_found_in_a_file_that_is_right(write, name):
    assert lint.lint(write([name]), Machine()) == []


@pytest.mark.parametrize('other', ['proxy.conf', 'wsgi.conf'])
def test_nothing_is_found_in_a_whole_set_up_that_is_right(write, other):
    names = [*GOOD.keys() - {'proxy.conf', 'wsgi.conf'}, other]
    assert lint.lint(write(names), Machine()) == []


def test_every_rule_has_a_case_and_every_case_a_rule():
    assert {case.rule for case in CASES} == {rule.id for rule in lint.RULES}


def test_no_rule_has_the_name_of_another_one():
    names = [rule.id for rule in lint.RULES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize('rule', lint.RULES, ids=lambda rule: rule.id)
def test_every_rule_says_why_with_a_source(rule):
    assert isinstance(rule.severity, Severity)
    assert rule.what.endswith('.') and rule.action.endswith('.')
    assert '(http' in rule.why or '(glance-wsgi' in rule.why
