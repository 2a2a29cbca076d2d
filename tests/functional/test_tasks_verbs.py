"""``drain`` and ``tasks``, on real databases with tasks of the dead."""

import datetime
import json

import pytest

from glance_wsgi.cmd import main
from glance_wsgi.errors import Exit
from glance_wsgi.tasks import claims
from glance_wsgi.tasks import records
from glance_wsgi.tasks.doctor import Doctor
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


# --- the doctor ---


ELSEWHERE = Owner('http://node-2', 'there', 1, 100)


def doctor(database, tmp_path, wait=lambda seconds: None):
    """Looks at node 1, with a minute of patience that takes no time."""
    staging = tmp_path / 'staging'
    staging.mkdir(exist_ok=True)
    return Doctor(database.jobs, staging, 60, NODE, wait)


def test_who_looks_silent_and_gives_a_sign_is_left_alone(database, tmp_path):
    """Its clock may be late, or the database was away for a minute."""
    task_id = claimed(database, ELSEWHERE)
    database.execute('UPDATE glance_wsgi_jobs SET beat = 1')
    waited = []

    def sign(seconds):
        waited.append(seconds)
        database.jobs.live(ELSEWHERE)

    assert doctor(database, tmp_path, sign).look() == []
    assert waited == [60]
    assert database.status(task_id) == 'processing'


def test_who_is_silent_for_as_long_as_it_takes_is_taken_over(
    database, tmp_path
):
    task_id = claimed(database, ELSEWHERE)
    database.execute('UPDATE glance_wsgi_jobs SET beat = 1')
    (found,) = doctor(database, tmp_path).look()
    assert 'goes on as task' in found.fix()
    assert database.status(task_id) == 'failure'
    assert found.fix() is None


def test_a_lock_that_another_task_has_now_is_left_alone(database, tmp_path):
    task_id = database.task('failure', job=False)
    image = database.image(task_id)
    (found,) = doctor(database, tmp_path).look()
    database.execute(
        "UPDATE image_properties SET value = 'other' WHERE value = :id",
        id=task_id,
    )
    assert found.fix() is None
    status = 'SELECT status FROM images WHERE id = :id'
    assert database.scalar(status, id=image) == 'importing'
    assert database.lock(task_id) == 'other'


def put(database, image, name, value):
    database.execute(
        'INSERT INTO image_properties (image_id, name, value, created_at, '
        'deleted) VALUES (:id, :name, :value, :now, 0)',
        id=image,
        name=name,
        value=value,
        now=records.now(),
    )


def test_an_unlocked_image_is_imported_to_no_store(database, tmp_path):
    image = database.image(database.task('failure', job=False))
    put(database, image, records.IMPORTING, 'fast,cheap')
    (found,) = doctor(database, tmp_path).look()
    assert 'queued' in found.fix()
    left = 'SELECT value FROM image_properties WHERE name = :name'
    assert database.scalar(left, name=records.IMPORTING) == ''


@pytest.mark.parametrize('staged', [True, False])
def test_what_is_staged_somewhere_goes_on_there(database, tmp_path, staged):
    task_id = database.task(job=False)
    image = database.image(task_id)
    request = {'import_req': {'method': {'name': 'glance-direct'}}}
    given = json.dumps({**request, 'image_id': image})
    database.execute('UPDATE task_info SET input = :given', given=given)
    put(database, image, records.STAGE_HOST, 'http://node-2')
    made = doctor(database, tmp_path)
    if staged:
        (tmp_path / 'staging' / image).touch()
    long_ago = records.now() - datetime.timedelta(hours=3)
    database.execute('UPDATE tasks SET updated_at = :at', at=long_ago)
    (found,) = made.look()
    assert found.fix() and found.fix() is None
    (job,) = database.jobs.all()
    assert job.host == (NODE if staged else 'http://node-2')


def test_what_was_repaired_is_told(database, glance_wsgi, capfd):
    database.task('failure', job=False)
    assert glance_wsgi('tasks', 'doctor') == Exit.TASKS_ORPHANED
    (found,) = json.loads(capfd.readouterr().out)
    assert found['result'] == ''
    assert glance_wsgi('tasks', 'doctor', '--fix') == Exit.OK
    (found,) = json.loads(capfd.readouterr().out)
    assert found['result'] == 'The lock was removed, the image is queued.'
