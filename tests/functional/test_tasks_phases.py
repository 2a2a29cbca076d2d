"""Imports whose process is stopped, told to end, or ended, in every phase.

Guards against a process that wakes up after another one has gone on with its
import, and does damage; and against servers that end what still runs.
"""

import concurrent.futures
import contextlib
import os
import signal

import images
import interrupted
import phases
import psutil
import pytest
import toolkit

pytestmark = pytest.mark.tasks

in_each_phase = pytest.mark.parametrize('phase', phases.PHASES)


@pytest.fixture(scope='module')
def body():
    return images.random_bytes(interrupted.SIZE)


@pytest.fixture
def held(cloud, work, phase, tmp_path, body):
    """An import that is stopped in a phase."""
    with phases.held(work, cloud, phase, tmp_path, body) as held:
        yield held


@pytest.fixture
def cloud(work):
    with work.deployment.connect() as connection:
        yield connection


@contextlib.contextmanager
def deployed(place, *options, heartbeat=1, database=None):
    """Two processes that have one slot each.

    :param database: the URL of another one than SQLite
    """
    settings = interrupted.SETTINGS.replace(
        'task_heartbeat = 1', f'task_heartbeat = {heartbeat}'
    )
    with toolkit.serving(
        place, '--workers=2', *options, settings=settings
    ) as deployment:
        if database is None:
            yield interrupted.Work(deployment)
        else:
            yield interrupted.MariaWork(deployment, database)


class TestSilence:
    """Six seconds without a word, and a process is taken for dead."""

    @pytest.fixture(scope='class')
    def work(self, workspace):
        with deployed(workspace / 'silence') as work:
            yield work

    @in_each_phase
    def test_who_wakes_up_when_another_has_gone_on_does_no_damage(
        self, work, cloud, held
    ):
        (first, _, _), *_ = work.tasks(held.image)
        held.release()
        # By the database: daemon processes of mod_wsgi take turns to accept,
        # and the one that is stopped may have the turn.
        work.over(held.image)
        held.runner.send_signal(signal.SIGCONT)
        work.wait_for_slots(cloud, 2)
        assert toolkit.alive(held.runner)
        # It may have been stopped with "success" on its tongue, which is true.
        work.assert_whole(
            cloud, held.image, held.body, first=('failure', 'success')
        )
        assert work.tasks(held.image)[0][0] == first

    def test_what_waits_is_run_by_another_process(self, work, cloud, body):
        """The one that is stopped has accepted it, and no more."""
        with interrupted.GatedWeb(body[: images.MIB]) as web:
            web.gate.set()
            work.stop.touch()
            image = interrupted.download(cloud, web)
            stopped = work.deployment.processes('glance-api worker')[0]
            end_without(stopped, work, image)
        work.wait_for_slots(cloud, 2)
        work.assert_whole(cloud, image, web.body, stores=['fast'])
        assert len(work.tasks(image)) == 1
        cloud.image.delete_image(image)

    def test_what_waits_for_the_token_of_a_process_fails_without_it(
        self, work, cloud, body
    ):
        """Whoever has the token wakes up, and begins it no more."""
        source, image = images.create(cloud), images.create(cloud)
        images.upload(cloud, source, body[: images.MIB])
        work.stop.touch()
        interrupted.download_from_glance(cloud, image, source)
        ((keeper,),) = work.query('SELECT keeper FROM glance_wsgi_jobs')
        end_without(psutil.Process(int(keeper.split(':')[0])), work, image)
        work.wait_for_slots(cloud, 2)
        assert 'token' in work.assert_usable(cloud, image)
        for one in (source, image):
            cloud.image.delete_image(one)


def end_without(process, work, image) -> None:
    """Let an image's task begin, and end, while a process is stopped."""
    process.suspend()
    try:
        work.stop.unlink()
        work.over(image)
    finally:
        process.resume()


class TestPatience:
    """Nobody is taken for dead as long as a reload needs to begin."""

    @pytest.fixture(scope='class')
    def work(self, workspace):
        with deployed(workspace / 'patience', heartbeat=8) as work:
            yield work

    @in_each_phase
    def test_a_reload_waits_for_what_runs(self, work, cloud, held):
        go_on_while(work, held, 'reload')
        work.assert_whole(cloud, held.image, held.body)
        assert len(work.tasks(held.image)) == 1

    @in_each_phase
    def test_a_stop_waits_for_what_runs(self, work, cloud, held):
        go_on_while(work, held, 'down')
        statuses = [status for _, status, _ in work.tasks(held.image)]
        assert statuses == ['success']
        work.deployment.up()
        work.assert_whole(cloud, held.image, held.body)

    def test_another_copy_that_breaks_the_lock_leaves_the_good_copy(
        self, work, cloud, body
    ):
        """Glance lets it, after an hour without a word of the first one."""
        image = images.create(cloud)
        images.upload(cloud, image, body)
        good = work.data / 'fast' / image.id
        before = good.stat()
        copy(cloud, image)
        runner = work.runner(image)
        work.writing_to(image, '', 'cheap')
        runner.send_signal(signal.SIGSTOP)
        try:
            ((first, status, _),) = work.tasks(image)
            assert status == 'processing'
            work.age(first, minutes=61)
            copy(cloud, image)
            work.runner(image)
        finally:
            runner.send_signal(signal.SIGCONT)
        work.wait_for_slots(cloud, 2)
        (_, status, message), _ = work.tasks(image)
        assert (status, bool(message)) == ('failure', True)
        assert good.stat().st_ino == before.st_ino
        # A file that is still staged waits for its node to look.
        work.assert_whole(cloud, image, body, within=200)
        cloud.image.delete_image(image)


def go_on_while(work, held, verb: str) -> None:
    """Let it go on when its process has been told to end by that verb."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        ending = pool.submit(work.deployment, verb)
        toolkit.until(
            lambda: phases.is_signalled(held.runner),
            'it is told to end, when others have been replaced',
            within=180,
        )
        held.go_on()
        ending.result()
    assert not toolkit.alive(held.runner)


def copy(cloud, image) -> None:
    """Have a copy made in the second store, or fail."""
    interrupted.begin(cloud, image, 'copy-image', stores=['cheap'])


class TestMercy:
    """Five seconds, and a worker that was told to end is killed."""

    @pytest.fixture(scope='class')
    def work(self, workspace):
        with deployed(workspace / 'mercy', '--task-mercy=5') as work:
            yield work

    @in_each_phase
    def test_killed_because_its_mercy_is_over(self, work, cloud, held, phase):
        if toolkit.SERVER == 'mod_wsgi' and phase != 'staging':
            pytest.skip(
                'A process of mod_wsgi ends itself, which one that is stopped '
                'can not: test_tasks_kills.py kills it in this phase.'
            )
        tell_to_end(held.runner)
        toolkit.until(
            lambda: not toolkit.alive(held.runner), 'its mercy is over'
        )
        held.release()
        work.assert_whole(cloud, held.image, held.body)

    def test_what_waits_runs_after_the_mercy_is_over(self, work, cloud, body):
        """It was no job of those that were killed, so it is the same task."""
        with interrupted.GatedWeb(body[: images.MIB]) as web:
            running = [interrupted.download(cloud, web) for _ in range(2)]
            runners = [work.runner(image) for image in running]
            waiting = interrupted.download(cloud, web)
            tell_to_end(*runners)
            for runner in runners:
                toolkit.until(
                    lambda runner=runner: not toolkit.alive(runner),
                    'its mercy is over',
                )
            statuses = [status for _, status, _ in work.tasks(waiting)]
            assert statuses == ['pending']
            web.gate.set()
            for image in running:
                work.assert_whole(cloud, image, web.body, stores=('fast',))
                assert len(work.tasks(image)) == 2
            work.assert_whole(cloud, waiting, web.body, stores=('fast',))
            assert len(work.tasks(waiting)) == 1
            for image in [*running, waiting]:
                cloud.image.delete_image(image)


def tell_to_end(*runners) -> None:
    """Tell the processes of a server to end, or those of mod_wsgi.

    uWSGI's master does so itself and watches over their mercy; a process of
    mod_wsgi has to run for it, and waits for no more than a web server here.
    """
    if toolkit.SERVER == 'mod_wsgi':
        for runner in runners:
            runner.terminate()
            runner.resume()
    else:
        os.kill(runners[0].ppid(), signal.SIGHUP)


class TestDatabase:
    """It is killed, and started again some seconds later."""

    @pytest.fixture(scope='class')
    def work(self, workspace, mariadb):
        file = workspace / 'database.conf'
        with mariadb.database() as (_, url):
            quoted = url.replace('$', '$$')
            file.write_text(f'[deployment]\ndatabase = {quoted}\n')
            with deployed(
                workspace / 'database',
                f'--config-file={file}',
                database=url,
            ) as work:
                yield work

    @in_each_phase
    def test_an_import_that_meets_no_database_ends_all_the_same(
        self, work, cloud, held, mariadb
    ):
        with mariadb.away():
            held.go_on()
            interrupted.let_it_be_missed(cloud, held.image)
        work.over(held.image)
        if work.tasks(held.image)[-1][1] == 'success':
            work.assert_whole(cloud, held.image, held.body)
        else:
            work.assert_usable(cloud, held.image)
