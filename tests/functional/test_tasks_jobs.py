"""Jobs in real databases: each is taken by one, and none is lost.

Guards against what Glance alone does: with 4 processes and 100 tasks, 92 were
run by several.
"""

import concurrent.futures
import contextlib
import dataclasses
import datetime
import itertools
import os
import threading
import uuid

import pytest
import sqlalchemy
import taskdb
import toolkit
from sqlalchemy import exc

from glance_wsgi.db import own
from glance_wsgi.tasks import claims
from glance_wsgi.tasks import engine
from glance_wsgi.tasks import glance
from glance_wsgi.tasks import records
from glance_wsgi.tasks import watch
from glance_wsgi.tasks.doctor import Doctor
from glance_wsgi.tasks.jobs import Job
from glance_wsgi.tasks.owners import Owner
from glance_wsgi.tasks.runs import Runs
from glance_wsgi.tasks.tables import JOBS

ME = Owner('node-1', 'here', 1, 100)
OTHER = Owner('node-1', 'here', 2, 200)
ELSEWHERE = Owner('node-2', 'there', 1, 100)


class Broken:
    """A connection that is lost at each statement, or before each commit.

    :param event: SQLAlchemy's name for that
    """

    def __init__(self, database, event) -> None:
        self._engine, self._event = database.engine, event

    def __enter__(self) -> 'Broken':
        sqlalchemy.event.listen(self._engine, self._event, self._fail)
        return self

    def __exit__(self, *exception: object) -> None:
        sqlalchemy.event.remove(self._engine, self._event, self._fail)

    def _fail(self, connection, *words) -> None:
        raise exc.OperationalError('lost', {}, OSError(2013, 'lost'))


class BrokenOnce(Broken):
    """The same at one of them only.

    :param number: at which; the first is 0
    :param late: the transaction has been committed all the same
    """

    def __init__(self, database, event, number, late=False) -> None:
        super().__init__(database, event)
        self.left, self._late = number, late

    def _fail(self, connection, *words) -> None:
        self.left -= 1
        if self.left == -1:
            if self._late:
                connection.connection.driver_connection.commit()
            super()._fail(connection)


def go():
    return False


def claimed(database, who=ME, **facts):
    """A job that was begun by somebody; its task's id."""
    task_id = database.task(**facts)
    assert claims.claim(database.jobs, who, go).task_id == task_id
    assert database.jobs.begin(task_id, who)
    return task_id


def test_our_table_is_made_once(database):
    assert own.pending(database.url) == ()
    assert own.sync(database.url) == ()


def test_a_job_is_taken_by_one(database):
    task_id = database.task()
    assert claims.claim(database.jobs, ME, go).task_id == task_id
    assert claims.claim(database.jobs, OTHER, go) is None
    assert not database.jobs.take(task_id, OTHER)
    assert not database.jobs.begin(task_id, OTHER)
    assert database.status(task_id) == 'pending'


def test_a_task_is_begun_once_and_that_is_counted(database):
    task_id = claimed(database)
    assert not database.jobs.begin(task_id, ME)
    assert database.status(task_id) == 'processing'
    assert database.jobs.get(task_id).attempts == 1


def test_a_task_that_has_failed_meanwhile_is_not_begun(database):
    task_id = database.task()
    claims.claim(database.jobs, ME, go)
    database.execute(
        "UPDATE tasks SET status = 'failure' WHERE id = :id", id=task_id
    )
    assert not database.jobs.begin(task_id, ME)
    assert database.jobs.get(task_id).attempts == 0


def test_jobs_are_taken_in_the_order_in_which_they_came(database):
    ids = [database.task() for _ in range(3)]
    for number, task_id in enumerate(reversed(ids)):
        database.execute(
            'UPDATE glance_wsgi_jobs SET created = :at WHERE task_id = :id',
            at=number,
            id=task_id,
        )
    taken = [claims.claim(database.jobs, ME, go).task_id for _ in ids]
    assert taken == ids[::-1]


def test_what_is_staged_on_a_node_is_taken_there_only(database):
    task_id = database.task(host='node-1')
    assert claims.claim(database.jobs, ELSEWHERE, go) is None
    assert claims.claim(database.jobs, OTHER, go).task_id == task_id


def test_what_needs_a_token_is_taken_by_who_has_it(database):
    task_id = database.task(keeper=str(ME))
    assert claims.claim(database.jobs, OTHER, go) is None
    assert claims.claim(database.jobs, ME, go).task_id == task_id


@pytest.mark.parametrize('looks', [0, 1])
def test_a_stopped_node_takes_nothing_and_loses_nothing(database, looks):
    """The file is there at the first look, or only at the second one."""
    task_id = database.task()
    seen = iter([False] * looks + [True] * 2)
    assert claims.claim(database.jobs, ME, lambda: next(seen)) is None
    job = database.jobs.get(task_id)
    assert (job.owner, job.node, job.attempts) == (None, None, 0)
    assert claims.claim(database.jobs, OTHER, go).task_id == task_id


def test_a_sign_of_life_is_for_all_jobs_of_a_process(database):
    owned, kept = claimed(database), database.task(keeper=str(ME))
    foreign = database.task()
    database.execute('UPDATE glance_wsgi_jobs SET beat = 0')
    database.jobs.live(ME)
    database.jobs.written({owned: 7})
    beats = {job.task_id: job.beat > 0 for job in database.jobs.all()}
    assert beats == {owned: True, kept: True, foreign: False}
    assert database.jobs.get(owned).bytes == 7


def test_a_job_that_was_not_begun_waits_again_as_a_new_task(database):
    """Whoever had claimed it may be preparing its image, and has no lock."""
    old = database.task()
    seen = claims.claim(database.jobs, ME, go)
    new = database.jobs.take_over(seen)
    assert new not in (None, old)
    assert database.jobs.get(new).owner is None
    assert not database.jobs.begin(old, ME)
    assert database.lock(old) == new
    assert database.status(new) == 'pending'


def test_a_job_that_nobody_had_claimed_stays_the_same_task(database):
    task_id = database.task(keeper=str(ME))
    seen = database.jobs.get(task_id)
    assert database.jobs.take_over(seen) == task_id
    assert database.lock(task_id) == task_id
    assert database.jobs.get(task_id).keeper is None


def test_a_job_of_mine_is_freed_whatever_my_last_sign_of_life_was(database):
    old = claimed(database)
    database.jobs.free(old, OTHER)
    assert database.jobs.get(old).owner == str(ME)
    database.execute('UPDATE glance_wsgi_jobs SET beat = 7')
    database.jobs.free(old, ME)
    (job,) = database.jobs.all()
    assert (job.owner, database.lock(old)) == (None, job.task_id)
    assert database.status(old) == 'failure'


def test_a_job_that_is_given_back_stays_with_who_has_its_token(database):
    task_id = database.task(keeper=str(ME))
    assert claims.claim(database.jobs, ME, go).task_id == task_id
    database.jobs.free(task_id, ME)
    job = database.jobs.get(task_id)
    assert (job.owner, job.keeper) == (None, str(ME))


def test_a_task_that_is_refused_has_ended_and_locks_nothing(database):
    task_id = database.task(job=False)
    database.jobs.refuse(task_id, database.image(task_id), 'why')
    assert database.status(task_id) == 'failure'
    assert database.lock(task_id) is None


def test_a_job_that_was_begun_goes_on_as_a_new_task(database):
    old = claimed(database, host='node-1')
    new = database.jobs.take_over(database.jobs.get(old))
    assert new not in (None, old)
    assert database.status(old) == 'failure'
    assert database.status(new) == 'pending'
    assert database.lock(old) == new
    assert new in database.jobs.task(old).message
    assert database.jobs.task(new).input == database.jobs.task(old).input
    (job,) = database.jobs.all()
    assert (job.task_id, job.owner, job.attempts) == (new, None, 1)
    assert job.host == 'node-1'


def test_a_sign_of_life_keeps_a_job_from_being_taken_over(database):
    task_id = claimed(database)
    seen = dataclasses.replace(database.jobs.get(task_id), beat=1)
    assert database.jobs.take_over(seen) is None
    assert database.status(task_id) == 'processing'
    assert database.jobs.get(task_id).owner == str(ME)


def test_two_that_take_over_do_it_once(database):
    seen = database.jobs.get(claimed(database))
    assert database.jobs.take_over(seen)
    assert database.jobs.take_over(seen) is None
    assert len(database.jobs.all()) == 1


def test_a_task_that_had_ended_is_left_to_who_lets_go_of_its_image(database):
    task_id = claimed(database)
    database.execute(
        "UPDATE tasks SET status = 'success' WHERE id = :id", id=task_id
    )
    seen = database.jobs.get(task_id)
    assert database.jobs.take_over(seen) == task_id
    assert database.status(task_id) == 'success'
    assert claims.claim(database.jobs, OTHER, go).task_id == task_id
    assert database.jobs.end(task_id, OTHER, 'failure', 'too late')
    assert database.status(task_id) == 'success'
    assert database.lock(task_id) is None
    assert database.jobs.all() == []


def test_a_task_whose_lock_was_broken_is_not_run_again(database):
    task_id = claimed(database)
    database.execute(
        "UPDATE image_properties SET value = 'second' WHERE value = :id",
        id=task_id,
    )
    assert database.jobs.take_over(database.jobs.get(task_id)) is None
    assert database.status(task_id) == 'failure'
    assert database.lock(task_id) == 'second'
    assert database.jobs.all() == []


def test_an_end_unlocks_the_image_and_forgets_the_job(database):
    task_id = claimed(database)
    assert database.jobs.end(task_id, ME, 'failure', 'why')
    assert database.status(task_id) == 'failure'
    assert database.jobs.task(task_id).message == 'why'
    assert database.lock(task_id) is None
    assert database.jobs.all() == []


def test_who_was_taken_over_ends_nothing(database):
    old = claimed(database)
    new = database.jobs.take_over(database.jobs.get(old))
    assert not database.jobs.end(old, ME, 'success', '')
    assert not database.jobs.remove(old, ME)
    assert database.lock(old) == new
    assert database.status(new) == 'pending'


@pytest.mark.parametrize('event', ['before_cursor_execute', 'commit'])
def test_a_database_error_in_a_step_of_a_claim_changes_nothing(
    database, event
):
    """Whether at the statement or at its commit: it can be done again."""
    task_id = database.task()
    jobs = database.jobs
    with Broken(database, event), pytest.raises(exc.OperationalError):
        jobs.take(task_id, ME)
    assert jobs.get(task_id).owner is None
    assert jobs.take(task_id, ME)
    with Broken(database, event), pytest.raises(exc.OperationalError):
        jobs.begin(task_id, ME)
    assert database.status(task_id) == 'pending'
    assert jobs.get(task_id).attempts == 0
    assert jobs.begin(task_id, ME)
    seen = jobs.get(task_id)
    with Broken(database, event), pytest.raises(exc.OperationalError):
        jobs.take_over(seen)
    assert database.status(task_id) == 'processing'
    assert database.lock(task_id) == task_id
    new = jobs.take_over(seen)
    assert jobs.take(new, ME) and jobs.begin(new, ME)
    with Broken(database, event), pytest.raises(exc.OperationalError):
        jobs.end(new, ME, 'failure', 'why')
    assert database.status(new) == 'processing'
    assert database.lock(new) == new
    assert jobs.end(new, ME, 'failure', 'why')
    assert jobs.all() == []


class Ready:
    """What runs are given that prepares images and makes executors."""

    def prepare(self, job, task, has_token):
        return True

    def executor(self, job):
        return None


@pytest.mark.parametrize(
    ('event', 'late'),
    [('before_cursor_execute', False), ('commit', False), ('commit', True)],
)
def test_a_database_error_anywhere_only_delays_a_job(
    database, event, late, monkeypatch, request
):
    """Once at each step, from the look for jobs to the end: it runs once."""
    ran = []

    def run(task_id, executor, begin):
        if begin():
            ran.append(task_id)
            other.execute(
                "UPDATE tasks SET status = 'success' WHERE id = :id",
                id=task_id,
            )

    monkeypatch.setattr(glance, 'run', run)
    monkeypatch.setattr(engine, 'RETRY', 0)
    # What happens by its connections does not count.
    other = taskdb.TaskDatabase(database.url)
    request.addfinalizer(other.dispose)
    for number in itertools.count():
        first = database.task()
        made = engine.Engine(
            database.jobs,
            Runs(database.jobs, Ready(), Ready(), ME),
            ME,
            go,
            concurrent.futures.ThreadPoolExecutor(1),
            slots=1,
            heartbeat=0.1,
        )
        with BrokenOnce(database, event, number, late) as once:
            made._puller.start()
            toolkit.until(lambda: not other.jobs.all(), 'it has ended')
            made.close()
            made.join()
        (task_id,) = ran
        assert other.status(task_id) == 'success'
        if task_id != first:
            assert other.status(first) == 'failure'
        assert other.lock(task_id) is None
        ran.clear()
        if once.left >= 0:
            break
    assert number > 5, number


def test_a_claim_that_was_cut_off_is_found_and_given_back(database):
    """It is ours in the database, and its process does not know."""
    task_id = database.task()
    assert database.jobs.take(task_id, ME)
    made = engine.Engine(
        database.jobs, None, ME, go, None, slots=1, heartbeat=10
    )
    made._give_back_unknown()
    assert database.jobs.get(task_id).owner is None
    assert claims.claim(database.jobs, OTHER, go).task_id == task_id


class Full:
    """A pool that takes nothing."""

    def submit(self, *words):
        raise RuntimeError("can't start new thread")


def test_a_job_that_no_thread_takes_is_given_back_and_not_waited_for(database):
    task_id = database.task()
    made = engine.Engine(
        database.jobs, None, ME, go, Full(), slots=1, heartbeat=10
    )
    with pytest.raises(RuntimeError):
        made._fill()
    assert made.running() == []
    made._give_back_unknown()
    assert claims.claim(database.jobs, OTHER, go).task_id == task_id
    made.close()
    made.join()


def test_the_end_waits_for_a_claim_that_is_being_made(database, monkeypatch):
    """Nobody would run what it takes, and nobody knows yet that it does."""
    claiming, go_on = threading.Event(), threading.Event()

    def slowly(*words):
        claiming.set()
        assert go_on.wait(60)

    monkeypatch.setattr(claims, 'claim', slowly)
    made = engine.Engine(
        database.jobs, None, ME, go, None, slots=1, heartbeat=10
    )
    made.start()
    assert claiming.wait(60)
    made.close()
    end = threading.Thread(target=made.join)
    end.start()
    end.join(0.3)
    assert end.is_alive()
    go_on.set()
    end.join(60)
    assert not end.is_alive()


class GivenBack:
    """Runs the same job twice; the first is given back, and ends last."""

    def __init__(self, jobs) -> None:
        self.jobs, self.executors = jobs, []
        self.second, self.end = threading.Event(), threading.Event()

    def run(self, job, live):
        self.executors.append(live)
        if len(self.executors) == 2:
            self.second.set()
            assert self.end.wait(60)

    def settle(self, job, problem):
        if len(self.executors) == 1:
            self.jobs.give_back(job.task_id, ME)
            self.engine.wake()
            assert self.second.wait(60)
        else:
            self.jobs.end(job.task_id, ME, 'success', '')


def test_a_job_that_is_given_back_runs_again_with_all_that_it_had(database):
    """Its first run is not quite over then, and takes nothing from it."""
    runs = GivenBack(database.jobs)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        made = runs.engine = engine.Engine(
            database.jobs, runs, ME, go, pool, slots=2, heartbeat=0.1
        )
        over = threading.Event()

        @contextlib.contextmanager
        def told():
            yield
            over.set()

        made.around = told
        made.start()
        task_id = database.task(job=False)
        made.submit(Job(task_id, {}, keeper=str(ME)), 'its executor')
        assert runs.second.wait(60) and over.wait(60)
        assert runs.executors == ['its executor'] * 2
        assert made.running() == [task_id]
        made._give_back_unknown()
        assert database.jobs.get(task_id).owner == str(ME)
        runs.end.set()
        made.close()
        made.join()
    assert database.jobs.get(task_id) is None
    assert made._live == {}


# --- who is dead ---


def watching(database, patience=6.0):
    return watch.Watch(database.jobs, OTHER, patience)


def test_a_process_that_can_be_seen_to_be_gone_is_dead_at_once(database):
    me = Owner.myself('node-1')
    gone = dataclasses.replace(me, started=me.started - 1)
    task_id = claimed(database, gone)
    assert watching(database).look()
    assert database.status(task_id) == 'failure'


def test_one_elsewhere_is_dead_when_it_has_been_silent(database, monkeypatch):
    task_id = claimed(database, ELSEWHERE)
    clock = [1000.0]
    monkeypatch.setattr(watch.time, 'monotonic', lambda: clock[0])
    watcher = watching(database)
    assert not watcher.look()
    clock[0] += 5.9
    assert not watcher.look()
    clock[0] += 0.2
    assert watcher.look()
    assert database.status(task_id) == 'failure'


def test_a_sign_of_life_starts_the_silence_again(database, monkeypatch):
    task_id = claimed(database, ELSEWHERE)
    clock = [1000.0]
    monkeypatch.setattr(watch.time, 'monotonic', lambda: clock[0])
    watcher = watching(database)
    watcher.look()
    database.execute('UPDATE glance_wsgi_jobs SET beat = beat + 1')
    clock[0] += 7
    assert not watcher.look()
    assert database.status(task_id) == 'processing'


def test_nobody_is_dead_because_the_database_was_away(database, monkeypatch):
    """Silence counts from the first look after it, for who sees it first."""
    claimed(database, ELSEWHERE)
    clock = [1000.0]
    monkeypatch.setattr(watch.time, 'monotonic', lambda: clock[0])
    watcher = watching(database)
    clock[0] += 3600
    assert not watcher.look()


def test_the_token_of_a_process_that_is_gone_is_waited_for_no_more(database):
    me = Owner.myself('node-1')
    gone = dataclasses.replace(me, started=me.started - 1)
    task_id = database.task(keeper=str(gone))
    assert claims.claim(database.jobs, OTHER, go) is None
    assert watching(database).look()
    assert claims.claim(database.jobs, OTHER, go).task_id == task_id


# --- what a person repairs ---


@pytest.fixture
def doctor(database, tmp_path):
    """Looks, and repairs; the kinds of what was found."""
    staging = tmp_path / 'staging'
    staging.mkdir()

    def look(fix=True):
        found = Doctor(database.jobs, staging, patience=60).look()
        for one in found:
            if fix and one.fix is not None:
                one.fix()
        return [(one.kind, one.id) for one in found]

    look.staging = staging
    return look


def old(database, task_id, hours):
    database.execute(
        'UPDATE tasks SET updated_at = :at WHERE id = :id',
        at=records.now() - datetime.timedelta(hours=hours),
        id=task_id,
    )


def test_nothing_is_found_where_all_is_well(database, doctor):
    claimed(database, Owner.myself('node-1'))
    database.task()
    assert doctor() == []


def test_a_dead_owners_job_goes_on(database, doctor):
    me = Owner.myself('node-1')
    task_id = claimed(database, dataclasses.replace(me, started=1))
    assert doctor(fix=False) == [('task', task_id)]
    assert database.status(task_id) == 'processing'
    assert doctor() == [('task', task_id)]
    assert database.status(task_id) == 'failure'
    assert doctor() == []


@pytest.mark.parametrize(
    ('status', 'hours'), [('pending', 3), ('processing', 2)]
)
def test_a_task_without_a_job_gets_one_when_its_time_is_over(
    database, doctor, status, hours
):
    task_id = database.task(status, job=False)
    old(database, task_id, 0.5)
    assert doctor() == [('task', task_id)]
    assert database.jobs.all() == []
    old(database, task_id, hours)
    doctor()
    (job,) = database.jobs.all()
    assert database.status(job.task_id) == 'pending'
    assert job.attempts == (status == 'processing')
    assert job.context['project_id'] == 'me'


def test_a_lock_of_a_task_that_has_ended_is_removed(database, doctor):
    task_id = database.task('failure', job=False)
    image = database.image(task_id)
    assert doctor() == [('lock', image)]
    assert database.lock(task_id) is None
    assert (
        database.scalar('SELECT status FROM images WHERE id = :id', id=image)
        == 'queued'
    )
    assert doctor() == []


def test_staged_files_that_nobody_needs_are_removed(database, doctor):
    needed = database.image(database.task())
    others = [str(uuid.uuid4()) for _ in range(2)]
    for name in (needed, others[0], f'{others[1]}.raw', 'readme'):
        file = doctor.staging / name
        file.write_text(name)
        os.utime(file, (0, 0))
    young = doctor.staging / str(uuid.uuid4())
    young.touch()
    assert len(doctor()) == 2
    left = {file.name for file in doctor.staging.iterdir()}
    assert left == {needed, 'readme', young.name}


def test_no_token_has_a_column():
    assert not [column for column in JOBS.c if 'token' in column.name]
