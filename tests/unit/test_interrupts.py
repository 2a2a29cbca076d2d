"""Interrupts of something that has to clean up."""

import signal

import pytest

from glance_wsgi.cmd import interrupts

NUMBER = signal.SIGUSR1
TOLD = 'glance-wsgi: Cleaning up.\n'


@pytest.fixture(autouse=True)
def handled():
    """A signal that is an exception, as the interrupts of a verb are."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(NUMBER, interrupt)
    yield interrupt
    signal.signal(NUMBER, before)


def test_the_first_interrupt_ends_the_block_and_none_its_cleaning(capfd):
    cleaned = False
    with (
        pytest.raises(KeyboardInterrupt),
        interrupts.only_the_first([NUMBER]),
    ):
        try:
            signal.raise_signal(NUMBER)
        finally:
            signal.raise_signal(NUMBER)
            cleaned = True
    signal.raise_signal(NUMBER)  # while what is left is told
    assert cleaned
    assert capfd.readouterr().err == 3 * TOLD


def test_cleaning_without_an_interrupt_is_not_ended_by_one_either(
    capfd, handled
):
    with interrupts.only_the_first([NUMBER]) as cleaning:
        cleaning()
        signal.raise_signal(NUMBER)
    assert capfd.readouterr().err == TOLD
    assert signal.getsignal(NUMBER) is handled


def test_a_signal_that_is_ignored_stays_so(capfd):
    signal.signal(NUMBER, signal.SIG_IGN)
    with interrupts.only_the_first([NUMBER]) as cleaning:
        signal.raise_signal(NUMBER)
        cleaning()
        signal.raise_signal(NUMBER)
    assert not capfd.readouterr().err
