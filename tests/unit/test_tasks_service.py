"""A process that is told to end begins nothing: who handles the signal."""

import os
import signal

import pytest

from glance_wsgi.tasks import service


@pytest.fixture
def handled():
    """The signals that a handler of this process has got."""
    got = []
    before = signal.signal(
        signal.SIGUSR1, lambda number, _: got.append(number)
    )
    yield got
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_is_heard_before_who_handles_it(handled):
    order = []
    service.hear(
        signal.SIGUSR1, lambda number: order.append((number, *handled))
    )
    os.kill(os.getpid(), signal.SIGUSR1)
    assert order == [(signal.SIGUSR1,)]
    assert handled == [signal.SIGUSR1]


def test_a_signal_that_nobody_handles_is_left_alone():
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        service.hear(signal.SIGUSR2, print)
        assert signal.getsignal(signal.SIGUSR2) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR2, before)
