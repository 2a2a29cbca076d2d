"""The private names of Glance that jobs, and their engine, need.

Run on every supported Glance. Its options are global, so all that imports it
is in a process of its own.
"""

import contracts
import pytest

CODE = """if True:
    import inspect, json
    import glance.async_
    from glance.api import common
    from glance.async_ import taskflow_executor
    from glance.async_.flows import api_image_import
    from glance.db.sqlalchemy import models
    from glance import context, db, domain, gateway
    from oslo_config import cfg
    from glance_wsgi.tasks import glance as ours
    from glance_wsgi.tasks import records
    import taskflow.engines
    from taskflow import task
    from taskflow.patterns import linear_flow

    cfg.CONF([], default_config_files=[], default_config_dirs=[])
    glance.async_.set_threadpool_model('native')
    facts = {}

    def columns(table):
        return sorted(column.name for column in table.columns)

    for ours_table in (
        records.TASKS, records.TASK_INFO, records.PROPERTIES, records.IMAGES
    ):
        theirs = models.BASE.metadata.tables[ours_table.name]
        facts[ours_table.name] = sorted(
            set(columns(ours_table)) - set(columns(theirs)))

    spawned = []

    class Pool:
        pool = None
        def spawn(self, *words):
            spawned.append(words)

    shared = ours.shared_executor(2)
    mine = Pool()
    ours.pools(mine, shared)
    facts['pool'] = common.get_thread_pool('tasks_pool') is mine
    fetch = taskflow_executor.TaskExecutor._fetch_an_executor
    facts['shared'] = fetch() is shared
    cfg.CONF.set_override('engine_mode', 'serial', 'taskflow_executor')
    facts['serial'] = fetch()
    cfg.CONF.clear_override('engine_mode', 'taskflow_executor')

    class Step(task.Task):
        def execute(self):
            return 7

    for _ in range(2):
        engine = taskflow.engines.load(
            linear_flow.Flow('x').add(Step('x', provides='y')),
            engine='parallel', executor=shared)
        engine.run()
        shared.shutdown()  # as Glance does after each task
        facts['ran'] = engine.storage.fetch_all()
    shared.close()

    asked = context.RequestContext(
        user_id='u', project_id='p', roles=['member'], auth_token='secret',
        is_admin=False, overwrite=False)
    facts['kept'] = [hasattr(asked, name) for name in ours.KEPT]
    facts['elevated'] = asked.elevated().is_admin
    facts['task'] = sorted(
        set(inspect.signature(domain.Task.__init__).parameters))
    facts['gateway'] = [
        name for name in (
            'get_task_executor_factory', 'get_task_repo', 'get_repo')
        if hasattr(gateway.Gateway, name)]
    for name in (
        'remove_location_for_store', 'remove_importing_stores',
        'add_failed_stores', 'set_image_attribute', 'image_status'
    ):
        assert hasattr(api_image_import._ImportActions, name), name
    inspect.signature(api_image_import.ImportActionWrapper).bind(
        'repo', 'image', 'task')
    inspect.signature(db.get_api().image_location_delete).bind(
        'context', 'image', 'location', 'deleted')
    print(json.dumps(facts))
"""


@pytest.fixture(scope='module')
def facts():
    """What a process of Glance says of itself."""
    return contracts.facts(CODE, timeout=120)


def source(module):
    """The text of a module of Glance, with one kind of quotes."""
    return contracts.source(module).replace("'", '"')


@pytest.mark.parametrize(
    'table', ['tasks', 'task_info', 'image_properties', 'images']
)
def test_glance_has_every_column_that_we_name(facts, table):
    assert facts[table] == []


def test_glance_takes_our_pools(facts):
    assert facts['pool']
    assert facts['shared']
    assert facts['serial'] is None


def test_an_engine_runs_in_a_pool_that_another_one_has_shut_down(facts):
    assert facts['ran'] == {'y': 7}


def test_a_context_has_what_is_kept_of_it(facts):
    assert all(facts['kept'])
    assert facts['elevated'] is True


def test_executors_are_made_by_the_gateway(facts):
    assert len(facts['gateway']) == 3


def test_every_request_gives_its_task_to_the_pool_in_one_way():
    """`run` of the task, and the executor, by the name that we have seeded."""
    for module, times in (('api/v2/images.py', None), ('api/v2/tasks.py', 1)):
        text = source(module)
        assert 'common.get_thread_pool("tasks_pool")' in text
        spawned = text.count('.run, task_executor)')
        assert spawned == text.count('pool.spawn(')
        assert spawned == (times or spawned)


def test_a_task_is_begun_by_the_first_that_is_saved():
    text = source('async_/__init__.py')
    begun = text.index('task.begin_processing()')
    saved = text.index('self.task_repo.save(task)')
    run = text.index('self._run(task_id, task.type)')
    assert begun < saved < run


def test_an_import_looks_at_its_lock_before_and_after_each_change():
    text = source('async_/flows/api_image_import.py')
    enter = text[text.index('def __enter__') : text.index('def __exit__')]
    leave = text[text.index('def __exit__') : text.index('def image_id')]
    assert 'self._assert_task_lock(' in enter
    assert 'self.assert_task_lock()' in leave


def test_the_lock_has_its_name():
    from glance_wsgi.tasks import records

    assert f'"{records.LOCK}"' in source('db/__init__.py')


def test_conversion_removes_the_original_when_it_is_done():
    """So where there is only the converted file, that is whole."""
    text = source('async_/flows/plugins/image_conversion.py')
    converted = text.index('"convert"')
    assert converted < text.index('os.remove(self.src_path)')
    assert '"%(path)s.%(target)s"' in text
