"""``drain`` and ``tasks``, on real databases with tasks of the dead."""

import dataclasses
import datetime
import functools
import json
import os

import pytest
from oslo_config import cfg

from glance_wsgi.cmd import main
from glance_wsgi.errors import Exit
from glance_wsgi.tasks import claims
from glance_wsgi.tasks import records
from glance_wsgi.tasks import tokens
from glance_wsgi.tasks.doctor import Doctor
from glance_wsgi.tasks.jobs import Job
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


def test_a_drain_waits_for_nobody_who_is_dead(database, glance_wsgi, capfd):
    """Nobody else is there to take over what it has left."""
    me = Owner.myself(NODE)
    cut_off = claimed(database, dataclasses.replace(me, started=1))
    assert glance_wsgi('drain', '--timeout=0') == Exit.OK
    said = capfd.readouterr()
    assert json.loads(said.out) == []
    assert '1 cut off' in said.err
    running = claimed(database, me)
    database.jobs.written({running: 4 * 2**20})
    assert glance_wsgi('drain', '--timeout=0') == Exit.NOT_DRAINED
    said = capfd.readouterr()
    assert [row['task'] for row in json.loads(said.out)] == [running]
    assert '1 running, 4 MiB written' in said.err
    assert '1 cut off' in said.err
    assert database.status(cut_off) == 'processing'


def test_what_resume_has_done_is_told_in_any_format(glance_wsgi, capfd):
    told = []
    assert glance_wsgi('drain') == Exit.OK
    capfd.readouterr()
    for _ in range(2):
        assert glance_wsgi('resume') == Exit.OK
        told.append(json.loads(capfd.readouterr().out))
    assert [one['result'] for one in told] == [
        'Removed.',
        'It was not taken out.',
    ]
    assert told[0]['file'].endswith('/stop')


def test_a_paste_file_that_can_not_be_read_is_an_error_of_its_own(
    database, glance_wsgi, tmp_path, capfd
):
    (tmp_path / 'glance-api-paste.ini').write_text('password = secret\n')
    for verb in ('drain', 'resume'):
        assert glance_wsgi(verb) == Exit.STOP_FILE_UNKNOWN
        said = capfd.readouterr().err
        assert 'glance-api-paste.ini' in said and 'secret' not in said
    assert not (tmp_path / 'stop').exists()


def test_a_task_is_listed_with_what_is_known_of_it(
    database, glance_wsgi, capfd
):
    running = claimed(database, Owner.myself(NODE))
    waiting = database.task(host='http://node-2')
    database.jobs.written({running: 4096})
    database.execute(
        'UPDATE glance_wsgi_jobs SET created = created - 90 '
        'WHERE task_id = :id',
        id=running,
    )
    assert glance_wsgi('tasks', 'list') == Exit.OK
    listed = json.loads(capfd.readouterr().out)
    for row, least in zip(listed, (90, 0), strict=True):
        assert least <= row.pop('age') < least + 60
    assert listed == [
        {
            'task': running,
            'image': database.image(running),
            'state': 'running',
            'node': NODE,
            'attempts': 1,
            'bytes': 4096,
        },
        {
            'task': waiting,
            'image': database.image(waiting),
            'state': 'pending',
            'node': 'http://node-2',
            'attempts': 0,
            'bytes': 0,
        },
    ]


# --- the doctor ---


ELSEWHERE = Owner('http://node-2', 'there', 1, 100)


def doctor(database, tmp_path, wait=lambda seconds: None, **options):
    """Looks at node 1, with a minute of patience that takes no time."""
    staging = tmp_path / 'staging'
    staging.mkdir(exist_ok=True)
    return Doctor(database.jobs, staging, 60, NODE, wait, **options)


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


def test_the_lock_of_an_import_that_is_just_accepted_is_left_alone(
    database, tmp_path
):
    """Glance locks the image, and writes the task after that."""
    task_id = database.task(job=False)
    image = database.image(task_id)
    database.execute('DELETE FROM task_info')
    database.execute('DELETE FROM tasks')
    assert [one.kind for one in doctor(database, tmp_path).look()] == ['lock']
    database.execute(
        'UPDATE image_properties SET updated_at = :now', now=records.now()
    )
    assert doctor(database, tmp_path).look() == []
    lock = 'SELECT value FROM image_properties WHERE image_id = :id'
    assert database.scalar(lock, id=image) == task_id


@pytest.mark.parametrize('comes', ['task', 'job'])
def test_a_lock_whose_task_has_come_meanwhile_is_left_alone(
    database, tmp_path, comes
):
    task_id = database.task('failure', job=False)
    (found,) = doctor(database, tmp_path).look()
    if comes == 'task':
        database.execute("UPDATE tasks SET status = 'pending'")
    else:
        database.jobs.add(Job(task_id, {}))
    assert found.fix() is None
    assert database.lock(task_id) == task_id


def test_a_failed_import_that_stores_have_is_put_back_by_an_engine(
    database, tmp_path
):
    """Without its lock it would be queued, and its stores would be full."""
    task_id = database.task('failure', job=False)
    database.locate(database.image(task_id), 'file:///fast/image')
    (found,) = doctor(database, tmp_path).look()
    assert 'engines' in found.repair
    assert found.fix() == 'The engines have it.'
    assert found.fix() is None
    (job,) = database.jobs.all()
    assert (job.task_id, job.host, job.attempts) == (task_id, None, 1)
    assert database.lock(task_id) == task_id
    assert doctor(database, tmp_path).look() == []


@pytest.mark.parametrize('step', ['get', 'take_over'])
def test_a_task_that_an_engine_takes_at_once_is_repaired(
    database, tmp_path, monkeypatch, step
):
    """From the moment in which it has a job it is any engine's to take."""
    task_id = database.task('processing', job=False)
    long_ago = records.now() - datetime.timedelta(hours=3)
    database.execute('UPDATE tasks SET updated_at = :at', at=long_ago)
    (found,) = doctor(database, tmp_path).look()
    late = getattr(database.jobs, step)

    def taken(*words):
        assert database.jobs.take(task_id, ELSEWHERE)
        return late(*words)

    monkeypatch.setattr(database.jobs, step, taken)
    assert found.fix() == 'The engines have it.'
    (job,) = database.jobs.all()
    assert (job.task_id, job.owner) == (task_id, str(ELSEWHERE))


def test_an_import_that_stores_have_and_whose_task_is_gone_is_only_told(
    database, glance_wsgi, capfd
):
    task_id = database.task('failure', job=False)
    image = database.image(task_id)
    database.locate(image, 'file:///fast/image')
    database.execute('DELETE FROM task_info')
    database.execute('DELETE FROM tasks')
    assert glance_wsgi('tasks', 'doctor', '--fix') == Exit.TASKS_ORPHANED
    said = capfd.readouterr()
    (found,) = json.loads(said.out)
    assert 'Delete the image' in found['repair']
    assert found['result'] == ''
    assert '1 that it can not repair' in said.err
    status = 'SELECT status FROM images WHERE id = :id'
    assert database.scalar(status, id=image) == 'importing'


def test_a_task_of_the_old_api_ends_and_says_why(database, glance_wsgi, capfd):
    task_id = database.task('processing', job=False)
    long_ago = records.now() - datetime.timedelta(hours=2)
    database.execute(
        "UPDATE tasks SET type = 'import', image_id = NULL, updated_at = :at",
        at=long_ago,
    )
    database.execute("UPDATE task_info SET input = '{}'")
    database.execute('DELETE FROM image_properties')
    assert glance_wsgi('tasks', 'doctor', '--fix') == Exit.OK
    (found,) = json.loads(capfd.readouterr().out)
    assert 'It has ended' in found['result']
    assert 'old API' in found['result']
    assert database.status(task_id) == 'failure'
    assert database.jobs.all() == []


def test_a_job_that_nothing_can_go_on_with_is_repaired_when_it_has_ended(
    database, tmp_path
):
    me = dataclasses.replace(Owner.myself(NODE), started=1)
    task_id = claimed(database, me)
    database.execute('DELETE FROM image_properties')
    (found,) = doctor(database, tmp_path).look()
    assert found.fix().startswith('It has ended: ')
    assert found.fix() is None
    assert database.status(task_id) == 'failure'


TOKEN_STORES = {
    'swift': 'swift_store_multi_tenant = true',
    'cinder': '',
    'file': '',
}


@pytest.mark.parametrize('kind', TOKEN_STORES)
def test_an_import_that_needs_a_token_says_so_to_the_engines(
    database, glance_wsgi, tmp_path, kind
):
    with open(tmp_path / 'glance-api.conf', 'a') as file:
        file.write(
            f'[DEFAULT]\nenabled_backends = fast:{kind}\n'
            f'[fast]\n{TOKEN_STORES[kind]}\n'
        )
    database.task(job=False)
    long_ago = records.now() - datetime.timedelta(hours=3)
    database.execute('UPDATE tasks SET updated_at = :at', at=long_ago)
    assert glance_wsgi('tasks', 'doctor', '--fix') == Exit.OK
    (job,) = database.jobs.all()
    assert job.context['needs_token'] == (kind != 'file')


def test_a_signed_image_needs_a_token(database, tmp_path):
    task_id = database.task(job=False)
    put(database, database.image(task_id), 'img_signature', 'x')
    long_ago = records.now() - datetime.timedelta(hours=3)
    database.execute('UPDATE tasks SET updated_at = :at', at=long_ago)
    needed = functools.partial(tokens.needed, cfg.ConfigOpts())
    made = doctor(database, tmp_path, needs_token=needed)
    (found,) = made.look()
    assert found.fix()
    (job,) = database.jobs.all()
    assert job.context['needs_token'] is True


# --- what is staged ---


def staged(database, tmp_path, status='active'):
    """An old file in staging, of an image that no task works on."""
    task_id = database.task('success', job=False)
    database.execute('DELETE FROM image_properties')
    database.execute('UPDATE images SET status = :status', status=status)
    place = tmp_path / 'staging'
    place.mkdir()
    file = place / database.image(task_id)
    file.touch()
    os.utime(file, (0, 0))
    return file


def test_a_staging_area_that_is_a_store_is_not_swept(database, tmp_path):
    """By whatever path: all files in there look as if nobody needed them."""
    file = staged(database, tmp_path)
    (tmp_path / 'store').symlink_to(file.parent)
    (tmp_path / 'round').symlink_to('round')
    for store in ('store', 'round'):
        stores = [tmp_path / 'none', tmp_path / store]
        assert doctor(database, tmp_path, stores=stores).look() == []
    (found,) = doctor(database, tmp_path, stores=stores[:1]).look()
    assert found.kind == 'staging'


def test_the_doctor_knows_the_stores_of_its_node(
    database, glance_wsgi, tmp_path
):
    file = staged(database, tmp_path)
    with open(tmp_path / 'glance-api.conf', 'a') as conf:
        conf.write(
            f'[glance_store]\nfilesystem_store_datadirs = {file.parent}:10\n'
        )
    assert glance_wsgi('tasks', 'doctor', '--fix') == Exit.OK
    assert file.exists()


@pytest.mark.parametrize(
    ('url', 'kept'),
    [
        ('file://{}', True),
        ('an encrypted one', True),
        ('http://elsewhere/{}', False),
        ('file:///elsewhere', False),
        ('file:///elsewhere/{}', False),
        ('file://{}/no/directory', False),
        ('file://{.parent}/round/store', True),
    ],
)
def test_a_file_that_a_location_names_is_the_image(
    database, tmp_path, url, kept
):
    """So is one that a location may name: nobody can go round to see."""
    file = staged(database, tmp_path)
    (file.parent / 'round').symlink_to('round')
    database.locate(file.name, url.format(file))
    assert [one.fix() for one in doctor(database, tmp_path).look()] == (
        [] if kept else ['It was removed.']
    )
    assert file.exists() == kept


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
