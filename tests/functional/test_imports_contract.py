"""The private names of Glance that its imports are counted by.

A contract: it fails on a Glance that runs imports in another way. Glance's
options are global, so all of it happens in a process of its own, once.
"""

import contracts
import pytest

pytestmark = pytest.mark.smoke

CODE = """if True:
    import contextlib, json, threading, time

    import glance.async_
    from glance.api import common

    from glance_wsgi import imports

    # As wsgi_app.init_app() does.
    glance.async_.set_threadpool_model('native')
    common.DEFAULT_POOL_SIZE = 1
    running, facts = [0], {}

    @contextlib.contextmanager
    def count():
        running[0] += 1
        try:
            yield
        finally:
            running[0] -= 1

    imports.count(count)
    pool = common.get_thread_pool('tasks_pool')
    go = threading.Event()
    results = []

    def work(word, *, option):
        go.wait()
        results.append((word, option))

    # As glance.api.v2.images does.
    for number in range(3):
        common.get_thread_pool('tasks_pool').spawn(work, number, option='x')
    facts['accepted'] = running[0]
    go.set()
    while running[0]:
        time.sleep(0.01)
    facts['results'] = list(results)

    def fails():
        raise ZeroDivisionError

    pool.spawn(fails)
    while running[0]:
        time.sleep(0.01)
    facts['after a failure'] = running[0]

    go.clear()
    pool.spawn(work, 'last', option='y')
    threading.Timer(0.2, go.set).start()
    imports.drain()
    facts['drained'] = running[0], results[-1]
    try:
        pool.spawn(work, 'late', option='z')
    except RuntimeError:
        facts['refused'] = running[0]
    print(json.dumps(facts))
"""


@pytest.fixture(scope='module')
def facts():
    """What has happened to imports in a process of Glance."""
    return contracts.facts(CODE, timeout=60)


def test_an_import_runs_from_the_moment_in_which_it_is_accepted(facts):
    """There is one thread; the others wait for it."""
    assert facts['accepted'] == 3


def test_an_import_gets_its_own_arguments(facts):
    assert facts['results'] == [[0, 'x'], [1, 'x'], [2, 'x']]


def test_an_import_that_fails_is_over(facts):
    assert facts['after a failure'] == 0


def test_draining_waits_for_the_last_import(facts):
    assert facts['drained'] == [0, ['last', 'y']]


def test_after_draining_no_import_begins_and_none_is_counted(facts):
    assert facts['refused'] == 0


def test_glance_runs_its_imports_where_we_count_them():
    for module in ('api/v2/images.py', 'api/v2/tasks.py'):
        text = contracts.source(module).replace("'", '"')
        assert 'get_thread_pool("tasks_pool")' in text
        assert 'pool.spawn(' in text


def test_glance_drains_the_same_pool_under_uwsgi_by_itself():
    text = contracts.source('common/wsgi_app.py')
    assert 'uwsgi.atexit = drain_workers' in text
    assert "'tasks_pool'" in text
