"""The stop file against claims: whoever waits for a drained node may stop it.

And claims against each other, in real databases, by real processes.
"""

import collections
import itertools

import claimers
import pytest
import toolkit

from glance_wsgi.cmd import main

pytestmark = pytest.mark.tasks

ROUNDS = 200


@pytest.fixture
def config(database, tmp_path):
    """A Glance node whose stop file is named by oslo.config."""
    file = tmp_path / 'glance-api.conf'
    url = database.url.render_as_string(hide_password=False)
    file.write_text(
        '[DEFAULT]\nworker_self_reference_url = node-1\n'
        f'[database]\nconnection = {url.replace("$", "$$")}\n'
        '[healthcheck]\nbackends = disable_by_file\n'
        f'disable_by_file_path = {tmp_path}/stop\n'
    )
    return file


def drain(config) -> None:
    """``glance-wsgi drain --wait``, in this process: it is quick."""
    words = ['drain', '--wait', '--timeout=60', f'--config-file={config}']
    assert main.main([*words, '-f', 'json']) == 0


def test_after_a_drain_nothing_begins_and_nothing_is_lost(
    database, config, tmp_path, capfd
):
    """Touched at every step of a claim, by one of four that claim."""
    url = database.url.render_as_string(hide_password=False)
    accepted, late = [], []
    with claimers.Claimers(url, tmp_path / 'stop', tmp_path / 'log') as four:
        steps = itertools.islice(itertools.cycle(claimers.STEPS), ROUNDS)
        for step in steps:
            four.stop.unlink(missing_ok=True)
            four.touch_at(step)
            accepted += [database.task() for _ in range(3)]
            toolkit.until(four.stop.exists, f'somebody was {step}')
            drain(config)
            before = four.begun()
            four.two_passes()
            late += four.begun()[len(before) :]
        assert late == []
        four.stop.unlink()
        toolkit.until(
            lambda: len(four.begun()) >= len(accepted), 'all have been begun'
        )
        toolkit.until(lambda: not database.jobs.all(), 'all have ended')
        times = collections.Counter(four.begun())
    assert times == collections.Counter(accepted)
    assert {database.status(task_id) for task_id in accepted} == {'success'}


def test_four_processes_run_each_of_500_tasks_once(database, tmp_path):
    url = database.url.render_as_string(hide_password=False)
    accepted = [database.task() for _ in range(500)]
    with claimers.Claimers(url, tmp_path / 'stop', tmp_path / 'log') as four:
        toolkit.until(
            lambda: not database.jobs.all(), 'all have ended', within=300
        )
        times = collections.Counter(four.begun())
    assert times == collections.Counter(accepted)
    assert {database.status(task_id) for task_id in accepted} == {'success'}
