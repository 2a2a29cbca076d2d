"""``drain`` and ``tasks``, on real databases with tasks of the dead."""

import pytest

from glance_wsgi.cmd import main
from glance_wsgi.errors import Exit
from glance_wsgi.tasks import claims
from glance_wsgi.tasks.owners import Owner

NODE = 'http://node-1'


@pytest.fixture
def glance_wsgi(database, tmp_path):
    """Runs a verb on a node, in this process; its exit code."""
    config = database.write_config(tmp_path)

    def run(*words):
        return main.main([*words, f'--config-file={config}', '-f', 'json'])

    return run


def claimed(database, who):
    """A job that was begun by somebody; its task's id."""
    task_id = database.task()
    assert claims.claim(database.jobs, who, lambda: False).task_id == task_id
    assert database.jobs.begin(task_id, who)
    return task_id


@pytest.mark.parametrize('words', [[], ['--wait']])
def test_a_drain_with_a_timeout_waits(database, glance_wsgi, capfd, words):
    claimed(database, Owner.myself(NODE))
    assert glance_wsgi('drain', '--timeout=0', *words) == Exit.NOT_DRAINED
    assert '1 running' in capfd.readouterr().err
    assert glance_wsgi('drain') == Exit.OK
