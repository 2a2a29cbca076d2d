"""What was cut off is put in order, and nothing of anybody else's is touched.

Glance's own wrapper makes the changes; the image and where it is kept are
stand-ins that a test can change in between.
"""

import dataclasses
import sys
import threading
import types

import pytest
import sqlalchemy

from glance_wsgi.tasks import engine
from glance_wsgi.tasks import glance
from glance_wsgi.tasks import jobs
from glance_wsgi.tasks import records
from glance_wsgi.tasks import recovery
from glance_wsgi.tasks import runs
from glance_wsgi.tasks import service
from glance_wsgi.tasks import trouble
from glance_wsgi.tasks.owners import Owner

IMAGE = '11111111-2222-3333-4444-555555555555'
ME = Owner('node-1', 'here', 1, 100)
JOB = jobs.Job(
    'mine',
    {'needs_token': False, 'disk_format': 'raw', 'container_format': 'bare'},
)


class Images:
    """One image, and the task that it is locked for."""

    def __init__(self, lock='mine', status='importing', locations=()):
        self.image = types.SimpleNamespace(
            image_id=IMAGE,
            status=status,
            locations=[
                {'url': url, 'metadata': {'store': store}}
                for store, url in locations
            ],
            extra_properties={records.LOCK: lock} if lock else {},
            size=None,
            virtual_size=None,
            disk_format='raw',
            container_format='bare',
        )
        self.saved = 0

    def get(self, image_id):
        return self.image

    def save(self, image, before=None):
        self.saved += 1

    def set_property_atomic(self, image, name, value):
        assert name not in image.extra_properties
        image.extra_properties[name] = value


def task(method='web-download', status='pending'):
    given = {
        'image_id': IMAGE,
        'import_req': {'method': {'name': method}},
        'backend': ['fast'],
    }
    return records.Task('mine', 'api_image_import', status, IMAGE, given, '')


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The directory of the store "fast"; staging is beside it."""
    place, staging = tmp_path / 'fast', tmp_path / 'staging'
    place.mkdir(), staging.mkdir()
    monkeypatch.setattr(
        recovery, '_paths', lambda name, image: [place / image]
    )
    monkeypatch.setattr(recovery, '_is_file_store', lambda name: True)
    monkeypatch.setattr(recovery, '_staging', lambda: staging)
    return place


def found(images, **facts):
    return recovery.Interrupted(images, images.get(IMAGE), task(**facts))


def test_what_no_location_names_is_removed(store):
    (store / IMAGE).write_bytes(b'half')
    found(Images()).clear_stores()
    assert not (store / IMAGE).exists()


@pytest.mark.parametrize(
    ('place', 'kept'), [('a file/image', False), ('round/image', True)]
)
def test_a_location_that_can_not_be_looked_at_stops_nothing(
    store, tmp_path, place, kept
):
    """What it may name stays; and nobody is told that the image is lost."""
    (tmp_path / 'a file').touch()
    (tmp_path / 'round').symlink_to('round')
    images = Images(locations=[('cheap', f'file://{tmp_path}/{place}')])
    interrupted = found(images)
    interrupted.clear_stores()
    (store / IMAGE).write_bytes(b'half')
    interrupted.clear_stores()
    assert (store / IMAGE).exists() == kept


def test_what_is_written_by_who_has_taken_over_stays(store):
    images = Images()
    interrupted = found(images)
    (store / IMAGE).write_bytes(b'of the successor')
    # After this process has looked at the lock for the last time.
    assert interrupted.holds_lock()
    images.image = types.SimpleNamespace(
        **{**vars(images.image), 'extra_properties': {records.LOCK: 'other'}}
    )
    with pytest.raises(recovery.TakenOver):
        interrupted.clear_stores()
    assert (store / IMAGE).read_bytes() == b'of the successor'


def test_a_file_that_was_replaced_since_it_was_seen_stays(store):
    file = store / IMAGE
    file.write_bytes(b'half')
    interrupted = found(Images())
    seen = interrupted._mine([file])
    other = store / 'other'
    other.write_bytes(b'of the successor')
    other.rename(file)
    recovery._unlink(seen)
    assert file.read_bytes() == b'of the successor'


def test_a_copy_that_is_named_by_another_path_stays(store, tmp_path):
    """The directory of a store was moved; a link is where it was."""
    (store / IMAGE).write_bytes(b'the only copy')
    (tmp_path / 'old').symlink_to(store)
    images = Images(
        status='active', locations=[('slow', f'file://{tmp_path}/old/{IMAGE}')]
    )
    found(images, method='copy-image').clear_stores()
    assert (store / IMAGE).read_bytes() == b'the only copy'


@pytest.mark.parametrize('status', ['active', 'deactivated'])
def test_a_complete_image_keeps_its_copies(store, status):
    """An administrator may deactivate one before its task has ended."""
    (store / IMAGE).write_bytes(b'whole')
    images = Images(
        status=status, locations=[('fast', f'file://{store}/{IMAGE}')]
    )
    ended = []
    database = types.SimpleNamespace(end=lambda *words: ended.append(words))
    gateway = types.SimpleNamespace(admin_repo=lambda: images)
    made = recovery.Recovery(database, gateway, ME, attempts=3)
    begun = jobs.Job('mine', JOB.context, attempts=1)
    assert not made.prepare(begun, task(), has_token=False)
    assert ended == [('mine', ME, 'success', '')]
    assert images.image.locations and images.image.status == status
    assert (store / IMAGE).read_bytes() == b'whole'


def test_what_is_staged_where_a_store_has_it_is_no_residue(store, monkeypatch):
    monkeypatch.setattr(recovery, '_staging', lambda: store)
    (store / IMAGE).write_bytes(b'whole')
    (store / f'{IMAGE}.raw').write_bytes(b'half')
    images = Images(
        status='active', locations=[('fast', f'file://{store}/{IMAGE}')]
    )
    found(images).finish()
    assert [file.name for file in store.iterdir()] == [IMAGE]


def given_up(images, put_back=None):
    """What a task has ended with whose image was to be put back."""
    ended = []
    database = types.SimpleNamespace(end=lambda *words: ended.append(words))
    gateway = types.SimpleNamespace(admin_repo=lambda: images)
    made = recovery.Recovery(database, gateway, ME, attempts=3)
    with pytest.MonkeyPatch.context() as patch:
        if put_back:
            patch.setattr(recovery.Interrupted, 'put_back', put_back)
        made.give_up(JOB, task(), 'The reason.')
    ((_, _, status, why),) = ended
    assert status == 'failure'
    return why


def test_an_image_that_was_left_importing_can_be_imported_again(store):
    """Glance has failed its task and removed its lock, and nothing else."""
    images = Images(lock=None)
    assert given_up(images) == 'The reason.'
    assert images.image.status == 'queued'


def test_an_image_that_another_task_works_on_is_left_alone(store):
    images = Images(lock='other')
    assert given_up(images) == 'The reason.'
    assert (images.image.status, images.saved) == ('importing', 0)


def test_a_store_that_fails_again_does_not_keep_its_task_from_ending(store):
    def stale(self, job):
        raise OSError('Stale file handle')

    why = given_up(Images(), stale)
    assert why.startswith('The reason.')
    assert 'Stale file handle' in why


def test_an_image_that_cannot_be_read_does_not_keep_its_task_from_ending():
    class Unreadable(Images):
        def get(self, image_id):
            raise ValueError('no key for it')

    why = given_up(Unreadable())
    assert why.startswith('The reason.')
    assert 'no key for it' in why


def test_what_a_location_was_said_to_hold_goes_with_it(monkeypatch):
    """Otherwise the next location would have a digest that is not its own."""
    images = Images(status='queued', locations=[('web', 'http://x/')])
    images.image.os_hash_algo = 'sha512'
    images.image.os_hash_value = images.image.checksum = 'as the user said'
    images.image.size = 8

    def delete(context, image_id, location_id, status):
        assert (image_id, location_id) == (IMAGE, 7)
        images.image.locations = []

    images.image.locations[0]['id'] = 7
    monkeypatch.setattr(
        'glance.db.get_api',
        lambda: types.SimpleNamespace(image_location_delete=delete),
    )
    adding = dataclasses.replace(
        task(), type='location_import', input={'loc_url': 'http://x/'}
    )
    recovery.Interrupted(images, images.image, adding).put_back(JOB)
    assert images.image.os_hash_value is None
    assert images.image.checksum is None
    assert images.image.size is None
    assert images.image.os_hash_algo is None
    assert images.image.status == 'queued'


def test_a_database_that_is_away_is_waited_for(store):
    def away(self, job):
        raise sqlalchemy.exc.OperationalError('', {}, OSError(2013, 'lost'))

    with pytest.raises(sqlalchemy.exc.OperationalError):
        given_up(Images(), away)


def test_data_that_the_database_does_not_take_is_no_outage():
    said = sqlalchemy.exc.DataError('', {}, OSError(1406, 'too long'))
    assert not trouble.is_of_database(said)
    lost = sqlalchemy.exc.OperationalError('', {}, OSError(2013, 'lost'))
    assert trouble.is_of_database(lost)
    assert not trouble.is_of_database(OSError('disk'))


def test_an_executor_can_be_used_again_when_nothing_was_begun():
    class Repository:
        saved, away = 0, True

        def get(self, task_id):
            if self.away:
                self.away = False
                raise OSError('the database is away')
            return types.SimpleNamespace(
                task_id=task_id,
                type='import',
                run=lambda executor: executor.begin(self),
            )

        def save(self, task):
            self.saved += 1

    class Executor:
        task_repo, image_repo = Repository(), None

        def begin(self, task):
            self.task_repo.save(types.SimpleNamespace(task_id='mine'))
            self.task_repo.save(types.SimpleNamespace(task_id='mine'))

    executor = Executor()
    with pytest.raises(OSError, match='away'):
        glance.run('mine', executor, lambda: False)
    glance.run('mine', executor, lambda: True)
    assert executor.task_repo.saved == 1


class Accepting:
    """Jobs; something happens before one of them is there."""

    def __init__(self, meanwhile):
        self.there, self._meanwhile = [], meanwhile

    def add(self, job):
        self._meanwhile()
        self.there.append(job)

    def all(self):
        return self.there


def test_a_token_is_kept_while_its_job_is_being_accepted():
    made = engine.Engine(
        Accepting(lambda: made._forget_what_is_gone()),
        *(None, ME, lambda: False, None),
        slots=1,
        heartbeat=10,
    )
    made.submit(JOB, 'live')
    assert made._live == {'mine': 'live'}
    made._forget_what_is_gone()
    assert made._live == {'mine': 'live'}
    made.jobs.there.clear()
    made._forget_what_is_gone()
    assert made._live == {}


def test_signs_of_life_do_not_wait_for_a_disk_that_hangs():
    hangs, enough, beats = threading.Event(), threading.Event(), []

    def live(me):
        beats.append(me)
        if len(beats) > 3:
            enough.set()

    made = engine.Engine(
        types.SimpleNamespace(
            live=live,
            written=lambda sizes: None,
            all=lambda *where: [],
            candidates=lambda me: [],
        ),
        *(None, ME, lambda: True, None),
        slots=1,
        heartbeat=0.01,
        written=lambda task_id: hangs.wait(60) and 0,
    )
    made._held['mine'] = JOB
    made.start()
    try:
        assert enough.wait(60)
    finally:
        hangs.set()
        made.close()
        made._held.clear()
        made.join()


def test_a_task_that_cannot_be_accepted_ends_and_lets_go_of_its_image(
    monkeypatch,
):
    refused = []
    failing = types.SimpleNamespace(
        me=ME,
        submit=lambda job, live: 1 / 0,
        jobs=types.SimpleNamespace(
            refuse=lambda *words: refused.append(words)
        ),
    )
    monkeypatch.setattr(glance, 'job', lambda *words: JOB)

    class Task:
        task_id, task_input = 'mine', {'image_id': IMAGE}

        def run(self, executor):
            raise AssertionError('not accepted')

    with pytest.raises(ZeroDivisionError):
        service.Pool(failing).spawn(Task().run, None)
    assert refused == [('mine', IMAGE, service.NOT_ACCEPTED)]


def test_a_database_that_is_away_is_expected_to_have_a_table(tmp_path):
    away = sqlalchemy.create_engine(
        f'sqlite:////{tmp_path}/none/glance.sqlite'
    )
    assert service._has_tables(away)
    empty = sqlalchemy.create_engine(f'sqlite:////{tmp_path}/glance.sqlite')
    assert not service._has_tables(empty)


@pytest.mark.parametrize('embedded', [True, False])
def test_a_package_of_the_name_is_not_the_server(monkeypatch, embedded):
    module = types.ModuleType('mod_wsgi')
    if embedded:
        module.process_group = 'glance-api'
    monkeypatch.setitem(sys.modules, 'mod_wsgi', module)
    assert service._serves() == embedded


def test_what_has_ended_is_let_go_of_by_whoever_takes_it():
    """Its process was killed before it could."""
    ended, seen = [], task(status='failure')
    owned = jobs.Job('mine', JOB.context, owner=str(ME))
    made = runs.Runs(
        types.SimpleNamespace(
            task=lambda task_id: seen,
            get=lambda task_id: owned,
            end=lambda *words: ended.append(words),
        ),
        None,
        types.SimpleNamespace(
            give_up=lambda *words: ended.append(('image', *words))
        ),
        ME,
    )
    assert made.run(owned, None) is None
    made.settle(owned, None)
    assert [words[0] for words in ended] == ['image', 'mine']
