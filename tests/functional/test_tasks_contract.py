"""The private names of Glance that jobs, and their engine, need.

Run on every supported Glance. Its options are global, so all that imports it
is in a process of its own.
"""

import contracts
import pytest

pytestmark = pytest.mark.smoke

CODE = """if True:
    import inspect, json
    import glance.async_
    from glance.api import common
    from glance.async_ import taskflow_executor
    from glance.async_.flows import api_image_import
    from glance.common import wsgi_app
    from glance.db.sqlalchemy import models
    from glance import context, db
    from oslo_config import cfg
    from glance_wsgi.tasks import glance as ours
    from glance_wsgi.tasks import jobs, records
    import taskflow.engines
    from taskflow import task
    from taskflow.patterns import linear_flow

    cfg.CONF([], default_config_files=[], default_config_dirs=[])
    glance.async_.set_threadpool_model('native')
    facts = {}

    def columns(table):
        return sorted(column.name for column in table.columns)

    for ours_table in (
        records.TASKS, records.TASK_INFO, records.PROPERTIES, records.IMAGES,
        records.LOCATIONS,
    ):
        theirs = models.BASE.metadata.tables[ours_table.name]
        facts[ours_table.name] = sorted(
            set(columns(ours_table)) - set(columns(theirs)))

    class Pool:
        def __init__(self):
            self.pool, self.shut = self, False
        def shutdown(self):
            self.shut = True

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
    accepted = jobs.Job('task', {**dict.fromkeys(ours.KEPT), 'elevated': True})
    made = ours.Gateway().executor(accepted)
    facts['executor'] = [
        made.context.auth_token,
        *(
            hasattr(getattr(made, repo), 'get')
            for repo in ('task_repo', 'image_repo', 'admin_repo')
        ),
    ]
    wsgi_app.drain_workers()
    facts['shut'] = mine.shut
    options = cfg.CONF.image_import_opts
    facts['parallel'] = []
    if hasattr(options, 'max_parallel_stores'):
        from glance.async_.flows import parallel_api_image_import as parallel

        cfg.CONF.set_override('enabled_backends', {'a': 'file', 'b': 'file'})
        cfg.CONF.set_override('max_parallel_stores', 2, 'image_import_opts')
        for step in (ours.one_store_after_the_other, lambda: None):
            facts['parallel'].append(
                parallel.should_use_parallel_store_import(
                    'glance-direct', ['a', 'b']))
            step()
    for name in (
        'remove_location_for_store', 'remove_importing_stores',
        'add_failed_stores', 'set_image_attribute', 'image_status'
    ):
        assert hasattr(api_image_import._ImportActions, name), name
    inspect.signature(api_image_import.ImportActionWrapper).bind(
        'repo', 'image', 'task')
    inspect.signature(made.image_repo.set_property_atomic).bind(
        'image', 'name', 'value')
    inspect.signature(made.image_repo.save).bind('image', 'from_state')
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
    'table',
    ['tasks', 'task_info', 'image_properties', 'images', 'image_locations'],
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


def test_the_gateway_makes_an_executor_that_has_no_token(facts):
    assert facts['executor'] == [None, True, True, True]


def test_glance_shuts_our_pool_down_when_its_process_ends(facts):
    assert facts['shut']


def test_no_store_is_written_beside_another(facts):
    """Glance 33 is the first that can; we have it do without."""
    assert facts['parallel'] in ([], [True, False])


def test_every_request_gives_its_task_to_the_pool_in_one_way():
    """`run` of the task, and the executor, by the name that we have seeded."""
    for module in ('api/v2/images.py', 'api/v2/tasks.py'):
        text = source(module)
        assert 'common.get_thread_pool("tasks_pool")' in text
        spawned = text.count('pool.spawn(')
        assert spawned >= 1
        assert spawned == text.count('.run, task_executor)')


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


def test_what_a_location_import_leaves_has_its_names():
    text = source('async_/flows/location_import.py')
    assert '"os_glance_hash_op_host"' in text
    assert 'image.os_hash_algo' in text


def test_a_location_import_has_its_image_from_where_its_lock_is_looked_at():
    """Whatever it undoes begins with looking for the image."""
    text = source('async_/flows/location_import.py')
    undoing = text.split('def revert(')[1:]
    assert undoing
    for step in undoing:
        found = step.index('self.image_repo.get(self.image_id)')
        assert 'locations.pop' not in step[:found]
        assert 'except exception.NotFound' in step
    assert text.count('.save(image)') == text.count('self.image_repo.save(')
    assert 'db_api' not in text


def test_what_names_the_stores_of_an_import_has_its_name():
    from glance_wsgi.tasks import records

    text = source('async_/flows/api_image_import.py')
    assert f'"{records.IMPORTING}"' in text


def test_glance_lets_a_lock_be_broken_after_as_long_as_we_say():
    from glance_wsgi.tasks import doctor

    text = source('api/v2/images.py')
    rule = text[text.index('def _enforce_import_lock') :]
    rule = rule[: rule.index('def ', 4)]
    assert 'expiry = datetime.timedelta(minutes=60)' in rule
    assert 'if task.status == "pending":' in rule
    assert 'expiry *= 2' in rule
    minutes = {
        status: age.seconds / 60 for status, age in doctor.EXPIRY.items()
    }
    assert minutes == {'processing': 60, 'pending': 120}


def test_conversion_removes_the_original_when_it_is_done():
    """So where there is only the converted file, that is whole."""
    text = source('async_/flows/plugins/image_conversion.py')
    converted = text.index('"convert"')
    assert converted < text.index('os.remove(self.src_path)')
    assert '"%(path)s.%(target)s"' in text
