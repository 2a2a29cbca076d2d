"""What is made of the results of the published suites (tests/tempest)."""

import pathlib
import sys

import pytest

TOP = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(TOP / 'tests' / 'tempest'))

import verdict  # noqa: E402
from verdict import Result  # noqa: E402
from verdict import Skip  # noqa: E402

KNOWN = [Skip('a.A.test_nova', 'no nova', 'Nova is needed.')]
GOOD = [
    *(Result(f'a.A.test_{number}', 'success') for number in range(250)),
    Result('a.A.test_nova', 'skip', 'skipped: no nova here'),
]


def test_nothing_is_wrong_with_what_should_be():
    assert verdict.complaints(GOOD, KNOWN) == []
    assert verdict.counts(GOOD) == {'passed': 250, 'skipped': 1, 'failed': 0}


@pytest.mark.parametrize('status', ['fail', 'inprogress', 'uxsuccess', ''])
def test_whatever_is_neither_passed_nor_skipped_is_a_failure(status):
    bad = Result('a.A.test_bad', status, 'Traceback')
    (complaint,) = verdict.complaints([*GOOD, bad], KNOWN)
    assert 'a.A.test_bad' in complaint
    assert 'Traceback' in complaint
    assert verdict.counts([bad])['failed'] == 1


def test_a_skip_that_is_not_known_is_wrong():
    skipped = Result('a.A.test_new', 'skip', 'not configured')
    (complaint,) = verdict.complaints([*GOOD, skipped], KNOWN)
    assert 'not configured' in complaint


def test_a_known_test_that_is_skipped_for_another_reason_is_wrong():
    other = Result('a.A.test_nova', 'skip', 'no keystone')
    (complaint,) = verdict.complaints([*GOOD[:-1], other], KNOWN)
    assert 'no keystone' in complaint


def test_a_known_skip_that_is_none_any_more_is_wrong():
    (complaint,) = verdict.complaints(GOOD[:-1], KNOWN)
    assert 'was not skipped' in complaint


def test_too_few_that_pass_are_wrong():
    (complaint,) = verdict.complaints(GOOD[1:], KNOWN)
    assert '249' in complaint


def test_no_results_at_all_are_wrong():
    assert verdict.complaints([], [])


def test_the_second_pass_makes_up_for_skips_of_tests_and_of_classes():
    first = [
        Result('a.A.test_off', 'skip', 'it is on'),
        Result('setUpClass (a.B)', 'skip', 'it is on'),
        Result('setUpClass (a.Bigger)', 'skip', 'no nova'),
        Result('a.A.test_one', 'success'),
    ]
    second = [
        Result('a.A.test_off', 'success'),
        Result('a.B.test_x', 'success'),
        Result('a.B.test_y', 'fail'),
    ]
    found = verdict.combined(first, second)
    assert [one.test for one in found if one.status == 'skip'] == [
        'setUpClass (a.Bigger)'
    ]
    assert verdict.counts(found) == {'passed': 3, 'skipped': 1, 'failed': 1}


def test_a_failure_of_the_first_pass_is_never_made_up_for():
    failed = Result('a.A.test_off', 'fail')
    found = verdict.combined([failed], [Result('a.A.test_off', 'success')])
    assert failed in found


def test_a_test_that_both_passes_have_counts_once():
    both = Result('a.A.test_both', 'success')
    found = verdict.combined([both], [both])
    assert verdict.counts(found)['passed'] == 1
    (complaint,) = verdict.complaints([*GOOD[1:], GOOD[2]], KNOWN)
    assert '249' in complaint


def test_tags_are_no_part_of_a_name():
    assert verdict.named('a.A.test_x[id-1,smoke]') == 'a.A.test_x'
    assert verdict.named('a.A.test_x') == 'a.A.test_x'


def test_every_skip_of_the_list_has_a_reason():
    skips = verdict.known_skips()
    assert skips
    assert len({skip.test for skip in skips}) == len(skips)
    for skip in skips:
        assert skip.said
        assert skip.why.endswith('.')


def test_the_documentation_shows_the_list_itself():
    page = (TOP / 'doc' / 'source' / 'gate.rst').read_text()
    assert ':file: ../../tests/tempest/skips.csv' in page
    assert str(verdict.ENOUGH) in page
