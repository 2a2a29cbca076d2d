"""What a process hears of signals, and what it knows of its node's disks."""

import os
import signal
import threading
import time
import types

import pytest
from oslo_config import cfg

from glance_wsgi.tasks import configuration
from glance_wsgi.tasks import residue
from glance_wsgi.tasks import service
from glance_wsgi.tasks.records import Task

IMAGE = '11111111-2222-3333-4444-555555555555'


@pytest.fixture
def handled():
    """The signals that a handler of this process has got."""
    got = []
    before = signal.signal(
        signal.SIGUSR1, lambda number, _: got.append(number)
    )
    yield got
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_is_heard_before_who_handles_it(handled):
    order = []
    service.hear(
        signal.SIGUSR1, lambda number: order.append((number, *handled))
    )
    os.kill(os.getpid(), signal.SIGUSR1)
    assert order == [(signal.SIGUSR1,)]
    assert handled == [signal.SIGUSR1]


def test_a_signal_that_nobody_handles_is_left_alone():
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        service.hear(signal.SIGUSR2, print)
        assert signal.getsignal(signal.SIGUSR2) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR2, before)


@pytest.fixture
def node(tmp_path, monkeypatch):
    """Makes a node with these stores; each has a file of the image."""

    def make(*stores):
        lines = [
            '[DEFAULT]',
            f'enabled_backends = {",".join(f"{one}:file" for one in stores)}',
            f'node_staging_uri = file://{tmp_path}/staging',
        ]
        for name in (*stores, 'os_glance_staging_store'):
            lines += [
                f'[{name}]',
                f'filesystem_store_datadir = {tmp_path}/{name}',
            ]
        lines += ['[glance_store]', f'filesystem_store_datadir = {tmp_path}/x']
        file = tmp_path / 'glance-api.conf'
        file.write_text('\n'.join(lines))
        conf = configuration.read([f'--config-file={file}'], 'test')
        configuration.register_stores(conf)
        monkeypatch.setattr(cfg, 'CONF', conf)

    def put(name, size):
        (tmp_path / name).mkdir()
        (tmp_path / name / IMAGE).write_bytes(bytes(size))

    make.put = put
    return make


def written(backend):
    task = Task('mine', 'api_image_import', 'processing', IMAGE, {}, '')
    task.input['backend'] = backend
    jobs = types.SimpleNamespace(task=lambda task_id: task)
    return service.Written(jobs)('mine')


def test_a_copy_that_an_image_had_before_was_not_written_for_its_task(node):
    node('fast', 'cheap')
    node.put('fast', 1)
    node.put('cheap', 10)
    node.put('os_glance_staging_store', 100)
    assert written(['cheap']) == 110
    assert written(['fast', 'cheap']) == 111


def test_a_task_that_names_no_store_writes_to_the_only_one(node):
    node()
    node.put('x', 1)
    node.put('staging', 10)
    assert written([None]) == 11
    assert written(None) == 11


def test_nothing_is_written_for_a_task_that_is_gone():
    jobs = types.SimpleNamespace(task=lambda task_id: None)
    assert service.Written(jobs)('mine') == 0


def test_a_sweep_knows_the_stores_of_its_node(node, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        residue, 'find', lambda *words: seen.extend(words[3]) or []
    )
    node('fast', 'cheap')
    service._sweep(None, 60)
    assert seen == [tmp_path / 'fast', tmp_path / 'cheap']


@pytest.mark.parametrize('of_uwsgi', [True, False])
def test_a_thread_of_uwsgi_that_has_gone_tells_of_the_end(
    monkeypatch, of_uwsgi
):
    """Others may have a thread for each request."""
    monkeypatch.setattr(service, '_is_worker_of_uwsgi', lambda: of_uwsgi)
    threads, served, end = service.Threads(), [], threading.Event()

    def serve():
        threads.note()
        served.append(threading.get_native_id())
        end.wait(60)

    thread = threading.Thread(target=serve)
    thread.start()
    threads.note()
    assert not threads.have_gone()
    end.set()
    thread.join()
    (number,) = served
    deadline = time.monotonic() + 60
    while os.path.exists(f'/proc/self/task/{number}'):
        assert time.monotonic() < deadline
    assert threads.have_gone() == of_uwsgi
