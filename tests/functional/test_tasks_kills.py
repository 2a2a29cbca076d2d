"""Imports whose process is killed, stopped or replaced, in every phase.

Guards against what Glance alone leaves then: a task that is ``processing`` or
``pending`` for ever, its image ``importing`` and locked, half a file in a
store, and a second attempt that deletes the good copy of the first.
"""

import concurrent.futures
import json
import signal
import threading

import beside
import images
import interrupted
import kills
import psutil
import pytest
import toolkit
from images import MIB
from interrupted import SIZE

from glance_wsgi import probe
from glance_wsgi import upstream
from glance_wsgi.errors import Exit

pytestmark = pytest.mark.tasks


@pytest.fixture(scope='module')
def work(workspace):
    """A deployment with two processes that have one slot each."""
    with toolkit.serving(
        workspace / 'tasks', '--workers=2', settings=interrupted.SETTINGS
    ) as deployment:
        yield interrupted.Work(deployment)


@pytest.fixture(scope='module')
def cloud(work):
    with work.deployment.connect() as connection:
        yield connection


@pytest.fixture
def image(image, work):
    """A queued image, and a node that is not taken out when all is over."""
    yield image
    work.stop.unlink(missing_ok=True)


@pytest.fixture(scope='module')
def body():
    return images.random_bytes(SIZE)


@pytest.fixture
def web(body):
    """A web server whose gate is closed."""
    with interrupted.GatedWeb(body[: 8 * MIB]) as server:
        yield server


def download(cloud, image, web) -> None:
    cloud.image.import_image(
        image, method='web-download', uri=web.url, stores=['fast', 'cheap']
    )


def stage(cloud, image, body) -> None:
    images.upload(cloud, image, body, action='stage')


def import_staged(cloud, image) -> None:
    cloud.image.import_image(
        image, method='glance-direct', stores=['fast', 'cheap']
    )


# --- kill -9, in each phase ---


def test_killed_while_it_waits(work, cloud, image, body):
    """Every process that could have known of it is gone."""
    stage(cloud, image, body)
    work.stop.touch()
    import_staged(cloud, image)
    for worker in work.deployment.processes('glance-api worker'):
        interrupted.end(worker)
    assert [status for _, status, _ in work.tasks(image)] == ['pending']
    work.stop.unlink()
    work.assert_whole(cloud, image, body)


def test_killed_while_it_stages(work, cloud, image, web):
    download(cloud, image, web)
    work.writing_to(image, '', 'staging')
    interrupted.end(work.runner(image))
    web.gate.set()
    work.assert_whole(cloud, image, web.body)
    assert len(work.tasks(image)) == 2


def test_killed_while_it_converts(work, cloud, tmp_path, body):
    raw, qcow2 = tmp_path / 'disk.raw', tmp_path / 'disk.qcow2'
    raw.write_bytes(body)
    images.converted(raw, qcow2)
    image = images.create(cloud, disk_format='qcow2')
    stage(cloud, image, qcow2.read_bytes())
    import_staged(cloud, image)
    runner = work.runner(image)
    work.writing_to(image, '.raw', 'staging')
    interrupted.end(runner)
    assert not work.location_stores(image)
    work.assert_whole(cloud, image, body)
    assert cloud.image.get_image(image).disk_format == 'raw'
    assert len(work.tasks(image)) == 2
    cloud.image.delete_image(image)


@pytest.mark.parametrize(
    ('store', 'reached'), [('fast', set()), ('cheap', {'fast'})]
)
def test_killed_while_a_store_is_written(
    work, cloud, image, body, store, reached
):
    stage(cloud, image, body)
    import_staged(cloud, image)
    runner = work.runner(image)
    work.writing_to(image, '', store)
    interrupted.end(runner)
    assert work.location_stores(image) == reached
    work.assert_whole(cloud, image, body)
    assert len(work.tasks(image)) == 2


def test_killed_in_the_second_store_when_one_is_enough(
    work, cloud, image, body
):
    """Its image is active, and says which store it has to be copied to."""
    stage(cloud, image, body)
    interrupted.begin(
        cloud,
        image,
        'glance-direct',
        stores=['fast', 'cheap'],
        all_stores_must_succeed=False,
    )
    runner = work.runner(image)
    work.writing_to(image, '', 'cheap')
    interrupted.end(runner)
    work.assert_whole(cloud, image, body, stores=['fast'])
    record = cloud.image.get(f'/images/{image.id}').json()
    assert record['os_glance_failed_import'] == 'cheap'
    cloud.image.import_image(image, method='copy-image', stores=['cheap'])
    work.assert_whole(cloud, image, body, first=('failure', 'success'))


def test_killed_while_a_download_is_stored(work, cloud, image, body):
    """It starts again, and what the first store has is replaced."""
    with interrupted.GatedWeb(body) as web:
        web.gate.set()
        download(cloud, image, web)
        runner = work.runner(image)
        work.writing_to(image, '', 'cheap')
        interrupted.end(runner)
        assert work.location_stores(image) == {'fast'}
        work.assert_whole(cloud, image, body)


def test_killed_while_an_image_is_copied_keeps_the_good_copy(
    work, cloud, image, body
):
    images.upload(cloud, image, body)
    good = work.data / 'fast' / image.id
    before = good.stat()
    cloud.image.import_image(image, method='copy-image', stores=['cheap'])
    runner = work.runner(image)
    work.writing_to(image, '', 'cheap')
    interrupted.end(runner)
    work.assert_whole(cloud, image, body)
    assert good.stat().st_ino == before.st_ino
    assert good.stat().st_mtime_ns == before.st_mtime_ns


def test_killed_after_the_image_is_active(work, cloud, image, body):
    """All that is missing is the end: no data is read or written again."""
    stage(cloud, image, body[:MIB])
    import_staged(cloud, image)

    def active() -> bool:
        return work.query(
            'SELECT status FROM images WHERE id = ?', image.id
        ) == [('active',)]

    with work.nobody_writes(since=active):
        ((_, status, _),) = work.tasks(image)
        if status != 'processing':
            pytest.skip('the import was too fast: run this again')
        file = work.data / 'cheap' / image.id
        before = file.stat().st_ino
        interrupted.end(work.runner(image))
    work.assert_whole(cloud, image, body[:MIB])
    assert file.stat().st_ino == before


def test_killed_as_often_as_it_may_be_begun(work, cloud, image, web):
    """An image that kills its process does not go on for ever."""
    download(cloud, image, web)
    for number in range(3):
        toolkit.until(
            lambda number=number: len(work.tasks(image)) == number + 1,
            'it goes on as a new task',
        )
        interrupted.end(work.runner(image))
    assert 'begun 3 times' in work.assert_usable(cloud, image)
    web.gate.set()
    download(cloud, image, web)
    work.assert_whole(cloud, image, web.body)


# --- stopped, replaced, ended ---


@pytest.mark.parametrize('verb', ['reload', 'down'])
def test_what_runs_ends_and_what_waits_runs_after(
    work, cloud, image, web, verb
):
    """And nothing is begun on the way down, though slots become free."""
    running = [images.create(cloud) for _ in range(2)]
    for one in running:
        download(cloud, one, web)
        work.runner(one)
    with interrupted.GatedWeb(images.random_bytes(MIB)) as open_web:
        open_web.gate.set()
        download(cloud, image, open_web)
        result = []
        ending = threading.Thread(
            target=lambda: result.append(work.deployment(verb, check=False))
        )
        ending.start()
        if verb == 'down':
            toolkit.until(
                lambda: not work.deployment.status()['serving'],
                'it serves no more',
            )
        assert [status for _, status, _ in work.tasks(image)] == ['pending']
        web.gate.set()
        ending.join()
        assert result[0].returncode == 0, result[0].stderr
        if verb == 'down':
            statuses = [status for _, status, _ in work.tasks(image)]
            assert statuses == ['pending']
            work.deployment.up()
        for one in running:
            work.assert_whole(cloud, one, web.body)
            assert len(work.tasks(one)) == 1
            cloud.image.delete_image(one)
        work.assert_whole(cloud, image, open_web.body)
        assert len(work.tasks(image)) == 1


def stop_server(deployment, told) -> None:
    """Tell it to end, and wait until it has."""
    if told == 'by down':
        deployment('down')
        return
    (emperor,) = deployment.processes('emperor')
    emperor.terminate()
    toolkit.until(lambda: not deployment.status()['processes'], 'it has ended')


@pytest.mark.parametrize('told', ['by down', 'by SIGTERM'])
def test_a_transfer_that_goes_on_lets_nothing_begin_on_the_way_down(
    work, cloud, image, web, told
):
    """uWSGI tells its Python of the end only when the transfer is over.

    "down" says so besides; systemd, which sends the signal, does not.
    """
    if told == 'by SIGTERM' and toolkit.SERVER != 'uwsgi':
        pytest.skip('This is about uWSGI without anybody in front or behind.')
    running = [images.create(cloud) for _ in range(2)]
    for one in running:
        download(cloud, one, web)
        work.runner(one)
    download(cloud, image, web)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        # Several of its threads have served.
        url = images.url(cloud, '/')
        list(pool.map(lambda _: probe.health(url), range(64)))
    sent = images.create(cloud)
    with (
        concurrent.futures.ThreadPoolExecutor() as pool,
        kills.half_sent(work.deployment, cloud, sent) as (client, rest),
    ):
        stop = pool.submit(stop_server, work.deployment, told)
        toolkit.until(
            lambda: not work.deployment.status()['serving'],
            'it serves no more',
        )
        web.gate.set()
        for one in running:
            work.over(one)
        client.send(rest)
        assert client.head().startswith('HTTP/1.1 204')
        stop.result()
    assert [status for _, status, _ in work.tasks(image)] == ['pending']
    work.deployment.up()
    for one in [*running, image]:
        work.assert_whole(cloud, one, web.body)
        assert len(work.tasks(one)) == 1
    for one in [*running, sent]:
        cloud.image.delete_image(one)


# --- drained ---


def test_a_drained_node_finishes_what_runs_and_begins_nothing(
    work, cloud, image, web
):
    download(cloud, image, web)
    work.runner(image)
    result = work.deployment(
        'drain', '--wait', '--timeout=1', '-f', 'json', check=False
    )
    assert result.returncode == Exit.NOT_DRAINED, result.stderr
    assert work.tasks(image)[0][0] in result.stdout
    later = images.create(cloud)
    download(cloud, later, web)
    web.gate.set()
    assert work.deployment('drain', '--wait', '-f', 'json').stdout == '[]\n'
    work.assert_whole(cloud, image, web.body)
    assert [status for _, status, _ in work.tasks(later)] == ['pending']
    listed = work.listed()
    assert [task['state'] for task in listed] == ['pending']
    assert work.deployment.status()['glance-api health'] == 'drained'
    work.deployment('reload')
    assert [status for _, status, _ in work.tasks(later)] == ['pending']
    work.deployment('resume')
    work.assert_whole(cloud, later, web.body)
    cloud.image.delete_image(later)


def test_what_runs_is_listed_with_how_far_it_is(work, cloud, image, web):
    """``drain`` tells it too while it waits."""
    download(cloud, image, web)
    work.runner(image)
    half = len(web.body) // 2
    toolkit.until(
        lambda: work.listed()[0]['bytes'] == half, 'half of it has come'
    )
    (listed,) = work.listed()
    assert 0 <= listed.pop('age') < 120
    etc = work.deployment.state_dir / 'etc' / 'glance'
    named = f'worker_self_reference_url = {listed.pop("node")}\n'
    assert named in (etc / 'glance-api.conf').read_text()
    ((task, _, _),) = work.tasks(image)
    assert listed == {
        'task': task,
        'image': image.id,
        'state': 'running',
        'attempts': 1,
        'bytes': half,
    }
    result = work.deployment('drain', '--timeout=1', check=False)
    assert f'1 running, {half // MIB} MiB written\n' in result.stderr
    web.gate.set()
    work.assert_whole(cloud, image, web.body)
    assert work.listed() == []


def test_an_image_that_is_deleted_while_it_waits(work, cloud, image, web):
    work.stop.touch()
    download(cloud, image, web)
    cloud.image.delete_image(image)
    work.stop.unlink()
    work.over(image)
    ((_, status, message),) = work.tasks(image)
    assert status == 'failure'
    assert 'deleted' in message


def test_a_token_that_is_gone(work, cloud, image):
    """What needs it says so, and the image can be imported in another way."""
    body = images.random_bytes(MIB)
    source = images.create(cloud)
    images.upload(cloud, source, body)
    work.stop.touch()
    interrupted.download_from_glance(cloud, image, source)
    for worker in work.deployment.processes('glance-api worker'):
        interrupted.end(worker)
    work.stop.unlink()
    assert 'token' in work.assert_usable(cloud, image)
    cloud.image.delete_image(source)


def test_no_token_is_in_the_database(work, cloud, image, web):
    work.stop.touch()
    download(cloud, image, web)
    ((context,),) = work.query('SELECT context FROM glance_wsgi_jobs')
    assert 'token' in context  # needs_token
    assert cloud.auth_token not in context
    whole = b''.join(
        file.read_bytes() for file in work.data.glob('glance.sqlite*')
    )
    assert cloud.auth_token.encode() not in whole


# --- broken locks, and what only a person repairs ---


def test_another_import_that_breaks_the_lock_has_the_image(
    work, cloud, image, body
):
    """Glance lets it, after two hours without a word of one that waits."""
    stage(cloud, image, body)
    work.stop.touch()
    import_staged(cloud, image)
    ((first, _, _),) = work.tasks(image)
    work.age(first, minutes=121)
    import_staged(cloud, image)
    assert [status for _, status, _ in work.tasks(image)] == [
        'failure',
        'pending',
    ]
    work.stop.unlink()
    work.assert_whole(cloud, image, body)
    assert len(work.tasks(image)) == 2


def doctor(work, *words) -> tuple[int, list[dict]]:
    """The exit code, and the findings."""
    place = f'--state-dir={work.deployment.state_dir}'
    result = toolkit.glance_wsgi(
        'tasks', 'doctor', place, '-f', 'json', *words, check=False
    )
    return result.returncode, json.loads(result.stdout)


def test_an_import_that_has_failed_without_a_word_is_put_back(
    work, cloud, image, body
):
    """Its first store has the image, and would not take it once more."""
    stage(cloud, image, body)
    import_staged(cloud, image)
    runner = work.runner(image)
    work.writing_to(image, '', 'cheap')
    work.stop.touch()
    interrupted.end(runner)
    toolkit.until(lambda: len(work.tasks(image)) == 2, 'it is taken over')
    task, _, _ = work.tasks(image)[-1]
    # As another Glance leaves it that is killed now.
    work.execute('DELETE FROM glance_wsgi_jobs')
    work.execute("UPDATE tasks SET status = 'failure' WHERE id = ?", task)
    work.execute('UPDATE task_info SET message = ?', 'It has failed.')
    work.execute(
        "UPDATE image_properties SET updated_at = datetime('now', ?) "
        'WHERE value = ?',
        *('-2 minutes', task),
    )
    assert work.location_stores(image) == {'fast'}
    code, (repaired,) = doctor(work, '--fix')
    assert (code, repaired['id']) == (Exit.OK, image.id)
    work.stop.unlink()
    work.assert_usable(cloud, image)
    assert doctor(work) == (Exit.OK, [])
    stage(cloud, image, body)
    import_staged(cloud, image)
    work.assert_whole(cloud, image, body)


def test_the_doctor_repairs_what_a_glance_without_this_engine_has_left(
    work, cloud, image, web
):
    """Its process was killed; nobody else knows of the task."""
    for table in ('glance_wsgi_jobs', 'glance_wsgi_alembic_version'):
        work.execute(f'DROP TABLE {table}')
    work.deployment('reload')
    download(cloud, image, web)
    work.writing_to(image, '', 'staging')
    for worker in work.deployment.processes('glance-api worker'):
        interrupted.end(worker)
    web.gate.set()
    work.deployment.up()
    # Who was started again before there was a table has no engine.
    work.deployment('reload')
    ((task, status, _),) = work.tasks(image)
    assert status == 'processing'

    def found() -> list[str]:
        code, findings = doctor(work)
        assert code == (Exit.TASKS_ORPHANED if findings else Exit.OK)
        return [finding['repair'] for finding in findings]

    work.age(task, minutes=2)
    (early,) = found()
    assert early.startswith('None yet')
    work.age(task, minutes=61)
    assert found() == ['It is given to the engines.']
    code, (repaired,) = doctor(work, '--fix')
    assert (code, repaired['id']) == (Exit.OK, task)
    work.assert_whole(cloud, image, web.body)
    assert found() == []


# --- another server ---


@pytest.fixture
def gunicorn(request, work, workspace):
    """The same Glance as another node under gunicorn: process and API.

    Its parameter, if it is given one, is how many seconds its worker may go
    on when it is told to end.
    """
    mercy = getattr(request, 'param', 60)
    port = toolkit.free_port()
    place = workspace / f'gunicorn-{port}'
    place.mkdir()
    paste = upstream.shipped('glance-api-paste.ini')
    beside.configure(work.deployment, place, port, paste)
    command = beside.gunicorn(mercy)
    with beside.started(
        work.deployment, command, port, place, place / 'log', patience=90
    ) as started:
        yield started


def begin_there(work, another, image, web):
    """Have the other node run an import: the first one is drained."""
    work.stop.touch()
    download(another, image, web)
    return work.runner(image)


def test_under_gunicorn_what_runs_ends_and_what_waits_runs_elsewhere(
    work, cloud, image, web, gunicorn
):
    """Python closes its pools of threads before anything that waits for them,
    so by itself Glance loses every import that runs."""
    process, another = gunicorn
    runner = begin_there(work, another, image, web)
    assert runner.ppid() == process.pid
    later = images.create(another)
    download(another, later, web)
    process.terminate()
    toolkit.until(
        lambda: probe.health(images.url(another, '')).startswith('no '),
        'it serves no more',
    )
    web.gate.set()
    process.wait(60)
    work.assert_whole(cloud, image, web.body)
    assert len(work.tasks(image)) == 1
    assert [status for _, status, _ in work.tasks(later)] == ['pending']
    work.stop.unlink()
    work.assert_whole(cloud, later, web.body)
    assert len(work.tasks(later)) == 1
    cloud.image.delete_image(later)


def test_under_gunicorn_a_reload_waits_for_what_runs(
    work, cloud, image, web, gunicorn
):
    process, another = gunicorn
    runner = begin_there(work, another, image, web)
    reload_gunicorn(process, runner)
    web.gate.set()
    work.assert_whole(cloud, image, web.body)
    assert len(work.tasks(image)) == 1
    toolkit.until(lambda: not toolkit.alive(runner), 'its worker has ended')


@pytest.mark.parametrize('gunicorn', [1], indirect=True)
def test_under_gunicorn_what_is_killed_goes_on_in_the_next_worker(
    work, cloud, image, web, gunicorn
):
    """And so does what was waiting, as the same task."""
    process, another = gunicorn
    runner = begin_there(work, another, image, web)
    later = images.create(another)
    download(another, later, web)
    reload_gunicorn(process, runner)
    toolkit.until(lambda: not toolkit.alive(runner), 'its mercy is over')
    web.gate.set()
    # gunicorn tells nobody that it serves: the first request does.
    another.image.get_image(image)
    work.assert_whole(cloud, image, web.body)
    assert len(work.tasks(image)) == 2
    work.assert_whole(cloud, later, web.body)
    assert len(work.tasks(later)) == 1
    cloud.image.delete_image(later)


def reload_gunicorn(process, worker) -> None:
    """By SIGHUP, until it has another worker."""
    process.send_signal(signal.SIGHUP)
    master = psutil.Process(process.pid)
    toolkit.until(
        lambda: {child.pid for child in master.children()} - {worker.pid},
        'it has another worker',
    )
