"""The stop file against claims: whoever waits for a drained node may stop it.

And claims against each other, in real databases, by real processes.
"""

import collections
import itertools

import claimers
import pytest
import toolkit

from glance_wsgi.cmd import db
from glance_wsgi.cmd import drain
from glance_wsgi.cmd import main

pytestmark = pytest.mark.tasks

ROUNDS = 200


@pytest.fixture
def config(database, tmp_path):
    """A Glance node on this database."""
    return database.write_config(tmp_path)


@pytest.fixture
def drained(config, monkeypatch):
    """``glance-wsgi drain --wait``, in this process: it is quick."""
    monkeypatch.setattr(drain, 'INTERVAL', 0.01)

    def run(seen_waiting) -> None:
        """Return when it does; it tells of what it waits for."""
        monkeypatch.setattr(db, 'say', lambda line: seen_waiting())
        words = ['drain', '--wait', '--timeout=60', f'--config-file={config}']
        assert main.main([*words, '-f', 'json']) == 0

    return run


def test_after_a_drain_nothing_begins_and_nothing_is_lost(
    database, config, drained, tmp_path, capfd
):
    """Whatever step of a claim those who claim have come to before it.

    Who owns no job then goes on when the drain has returned, and finds one.
    Who owns one goes on when the drain was seen to wait.
    """
    accepted = []
    with claimers.Claimers(config, tmp_path / 'log') as four:
        gate = four.gate
        steps = itertools.islice(itertools.cycle(claimers.STEPS), ROUNDS)
        for step in steps:
            (tmp_path / 'stop').unlink(missing_ok=True)
            gate.close(step)
            accepted += [database.task() for _ in range(3)]
            gate.wait_for_somebody()
            owns = step in claimers.OWNING
            drained(gate.open if owns else lambda: None)
            before = four.begun()
            assert gate.is_open() == owns, f'it has not waited: {step}'
            accepted.append(database.task())
            gate.open()
            four.let_all_look()
            assert four.begun() == before, f'begun after a drain: {step}'
        (tmp_path / 'stop').unlink()
        toolkit.until(
            lambda: len(four.begun()) >= len(accepted), 'all have been begun'
        )
        toolkit.until(lambda: not database.jobs.all(), 'all have ended')
        times = collections.Counter(four.begun())
    assert times == collections.Counter(accepted)
    assert {database.status(task_id) for task_id in accepted} == {'success'}


def test_four_processes_run_each_of_500_tasks_once(database, config, tmp_path):
    accepted = [database.task() for _ in range(500)]
    with claimers.Claimers(config, tmp_path / 'log') as four:
        toolkit.until(
            lambda: not database.jobs.all(), 'all have ended', within=300
        )
        times = collections.Counter(four.begun())
    assert times == collections.Counter(accepted)
    assert {database.status(task_id) for task_id in accepted} == {'success'}
