"""The exception tree and its exit codes."""

import enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glance_wsgi import errors
from glance_wsgi.errors import Exit
from glance_wsgi.errors import GlanceWSGIError

CLASSES = GlanceWSGIError.__subclasses__()

# Codes of what is no error of a deployment, or no error at all.
OWN = {
    Exit.OK,
    Exit.USAGE,
    Exit.CHECK_WARNINGS,
    Exit.CHECK_ERRORS,
    Exit.SMOKE_FAILED,
    Exit.EXPAND_PENDING,
    Exit.MIGRATE_PENDING,
    Exit.CONTRACT_PENDING,
    Exit.UNEXPECTED,
    Exit.INTERRUPTED,
}


def test_no_exit_code_is_used_twice():
    enum.unique(Exit)  # aliases would be an error


def test_pending_phases_have_the_codes_of_glance_manage_db_check():
    assert (
        Exit.EXPAND_PENDING,
        Exit.MIGRATE_PENDING,
        Exit.CONTRACT_PENDING,
    ) == (3, 4, 5)


def test_exit_codes_fit_into_a_byte_and_leave_signals_alone():
    assert all(0 <= code < 128 or code == 130 for code in Exit)


def test_every_error_has_its_own_code_and_every_code_its_error():
    codes = [kind.code for kind in CLASSES]
    assert len(set(codes)) == len(codes)
    assert set(codes) == set(Exit) - OWN


def test_no_error_hides_behind_another_ones_code():
    assert all(not kind.__subclasses__() for kind in CLASSES)


@pytest.mark.parametrize('kind', CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_says_what_it_is_and_what_came_of_it(kind):
    assert kind.__doc__.strip()
    assert kind.outcome.endswith('.')


@given(cause=st.text(), action=st.text(), outcome=st.none() | st.text())
def test_every_error_is_one_line(cause, action, outcome):
    line = GlanceWSGIError(cause, action, outcome).line()
    assert len(line.splitlines()) <= 1


def test_an_error_reads_cause_outcome_action():
    error = errors.PortInUse('It rains.', 'Take an umbrella.')
    assert str(error) == 'It rains. Nothing was changed. Take an umbrella.'


def test_an_error_may_say_its_own_outcome():
    error = errors.PortInUse('It rains.', 'Take an umbrella.', 'You are wet.')
    assert error.line() == 'It rains. You are wet. Take an umbrella.'
