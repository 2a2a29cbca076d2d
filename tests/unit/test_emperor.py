"""The inis of uWSGI: what uWSGI itself says to them.

It sets everything up on sockets that nobody knows, then ends: "no-server".
"""

import os
import re
import signal
import subprocess
import sys
import time

import material
import psutil
import pytest

from glance_wsgi import errors
from glance_wsgi import processes
from glance_wsgi import servers
from glance_wsgi import size
from glance_wsgi.servers import emperor


@pytest.fixture(autouse=True)
def uwsgi():
    material.need_uwsgi()


@pytest.fixture
def tls(tmp_path):
    certificate, key = material.certificate(tmp_path)
    return {'tls_certificate': str(certificate), 'tls_key': str(key)}


ALONE = {'server': 'uwsgi', 'keystone': 'http://127.0.0.1:5000/v3'}
"""One application only: each takes uWSGI a quarter of a second."""


def look(directory, **options):
    """Have uWSGI look at a deployment's files."""
    made, wanted = material.rendered(
        directory / 'state', **{**ALONE, **options}
    )
    made.parts[0].test(wanted)
    return made


def vassal(made, name='glance-api'):
    return made.parts[0]._vassal_ini(name).read_text()


@pytest.mark.parametrize(
    'options',
    [
        {'access_log': 'combined'},
        {'access_log': 'json', 'path': '/image'},
        {'server': 'apache-uwsgi'},
        {'listen': '[::1]:9292'},
    ],
    ids=['combined', 'json below a path', 'behind Apache', 'IPv6'],
)
def test_uwsgi_accepts_what_is_rendered(tmp_path, options):
    look(tmp_path, **options)


def test_uwsgi_accepts_an_encrypted_socket(tmp_path, tls):
    made = look(tmp_path, **tls, hsts_max_age='60')
    text = vassal(made)
    assert 'https-socket = ' in text and '\nhttp-socket' not in text
    assert 'Strict-Transport-Security: max-age=60' in text


def test_what_uwsgi_refuses_is_an_error_in_uwsgis_words(tmp_path, tls):
    tls['tls_key'] = tls['tls_certificate']
    with pytest.raises(errors.ServerRefuses, match=r'glance-api\.ini') as it:
        look(tmp_path, **tls)
    assert len(it.value.line().splitlines()) == 1


MASTER = """
import signal, subprocess, sys
signal.signal(signal.SIGINT, lambda *words: None)
subprocess.run([sys.executable, '-c', *sys.argv[1:]])
"""
"""Ends when its worker has."""


def test_a_worker_that_has_not_heard_that_it_shall_end_is_told_again(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(processes, 'AGAIN', 0.5)
    made, _ = material.rendered(tmp_path / 'state', **ALONE)
    part = made.parts[0]
    with subprocess.Popen(
        [sys.executable, '-c', MASTER, material.DEAF, 'SIGHUP'],
        stdout=subprocess.PIPE,
    ) as started:
        assert started.stdout.readline() == b'ready\n'
        master = psutil.Process(started.pid)
        (worker,) = master.children()
        monkeypatch.setattr(part, '_vassal_names', lambda: ['glance-api'])
        monkeypatch.setattr(part, '_process', {'glance-api': master}.get)
        worker.send_signal(signal.SIGHUP)  # as its master does
        try:
            assert set(part.stop(20)) == {master, worker}
        finally:
            processes.kill([worker, master])


def test_looking_at_the_files_leaves_nothing_behind(tmp_path):
    made = look(tmp_path)
    assert list(made.deployment.state.run.iterdir()) == []
    assert list(made.deployment.state.log.iterdir()) == []


def test_behind_apache_uwsgi_speaks_plain_http_on_a_unix_socket(tmp_path, tls):
    made, wanted = material.rendered(
        tmp_path / 'state', **{**ALONE, **tls, 'server': 'apache-uwsgi'}
    )
    text = vassal(made)
    place = emperor.socket(made.deployment.places, wanted[0])
    assert f'http-socket = {place}\n' in text
    assert 'https-socket' not in text
    assert 'disable-logging = true\n' in text
    assert 'log-format' not in text


def test_behind_apache_it_waits_as_long_as_apache_does(tmp_path):
    times = {'client_timeout': '11', 'answer_timeout': '22'}
    for server, seconds in (('uwsgi', 11), ('apache-uwsgi', 22)):
        made, _ = material.rendered(
            tmp_path / server, **{**ALONE, **times, 'server': server}
        )
        assert f'\nsocket-timeout = {seconds}\n' in vassal(made)


def test_a_redirect_is_a_vassal_of_its_own_and_only_if_wanted(tmp_path, tls):
    redirect = {'redirect_listen': '127.0.0.1:8080'}
    made, _ = material.rendered(
        tmp_path / '1', **ALONE, **tls, **redirect, path='/image'
    )
    text = vassal(made, 'redirect')
    assert 'http-socket = 127.0.0.1:8080\n' in text
    # The path is in what the client asked for.
    assert 'Location: https://127.0.0.1:9292${REQUEST_URI}\n' in text
    without, _ = material.rendered(tmp_path / '2', **ALONE, **tls)
    assert not without.parts[0]._vassal_ini('redirect').exists()
    behind = {**ALONE, **tls, 'server': 'apache-uwsgi'}
    made, _ = material.rendered(tmp_path / '3', **behind, **redirect)
    assert not made.parts[0]._vassal_ini('redirect').exists()


def test_two_applications_on_one_socket_are_refused(tmp_path):
    together = {'keystone_listen': '127.0.0.1:9292', 'path': '/image'}
    deployed = material.deployment(tmp_path, server='uwsgi', **together)
    with pytest.raises(errors.PortInUse, match=r'127\.0\.0\.1:9292'):
        servers.load(deployed).check()


def test_without_a_path_nothing_is_taken_off_or_refused(tmp_path):
    made, _ = material.rendered(tmp_path / '1', **ALONE)
    assert 'manage-script-name' not in vassal(made)
    made, _ = material.rendered(tmp_path / '2', **ALONE, path='/a.b')
    (rule,) = re.findall(r'regexp:\$\{REQUEST_URI\};(\S+) break', vassal(made))
    assert re.match(rule, '/a.b/v2') and re.match(rule, '/a.b?x')
    assert not re.match(rule, '/axb/v2') and not re.match(rule, '/a.bc')


def test_the_queue_is_no_longer_than_the_kernel_allows(tmp_path, monkeypatch):
    setting = tmp_path / 'somaxconn'
    setting.write_text('128\n')
    monkeypatch.setattr(size, '_SOMAXCONN', setting)
    made, _ = material.rendered(tmp_path / 'state', **ALONE)
    assert '\nlisten = 128\n' in vassal(made)


@pytest.fixture
def running(tmp_path):
    """uWSGI's part and its applications, as if they ran with their files."""
    return run_with_its_files(tmp_path)


def run_with_its_files(directory, tls=()):
    made, wanted = material.rendered(
        directory / 'state', **{**ALONE, **dict(tls)}
    )
    (part,) = made.parts
    # We have begun before the Emperor's own file was written, of course.
    os.utime(part._emperor_ini, (0, 0))
    part._pidfile('emperor').write_text(f'{os.getpid()}\n')
    for application in wanted:
        part._pidfile(application.name).write_text(f'{os.getpid()}\n')
        part._started(application.name).touch()
    return part, wanted


def test_with_the_files_that_it_has_nothing_is_waited_for(running):
    part, wanted = running
    assert part.awaited(wanted) == []


def test_a_new_file_of_an_application_lets_requests_wait(running):
    part, wanted = running
    os.utime(part._started('glance-api'), (0, 0))
    (line,) = part.awaited(wanted)
    assert 'new requests wait' in line
    assert '3600 s' in line


def test_what_has_ended_is_not_waited_for(running):
    part, wanted = running
    os.utime(part._started('glance-api'), (0, 0))
    part._pidfile('glance-api').unlink()
    assert part.awaited(wanted) == []


def test_what_began_with_the_new_file_is_not_waited_for(running):
    part, wanted = running
    for file in (part._started, part._vassal_ini):
        os.utime(file('glance-api'), (0, 0))
    part._started('glance-api').unlink()
    assert part.awaited(wanted) == []


def test_a_new_certificate_lets_requests_wait(tmp_path, tls):
    """Before the master is told of it, too."""
    part, wanted = run_with_its_files(tmp_path, tls)
    assert part.awaited(wanted) == []
    later = time.time() + 1
    os.utime(tls['tls_certificate'], (later, later))
    (line,) = part.awaited(wanted)
    assert 'new requests wait' in line


def test_a_new_file_of_the_emperor_lets_nobody_be_served(running):
    part, wanted = running
    part._emperor_ini.touch()
    (line,) = part.awaited(wanted)
    assert 'nobody is served' in line


def test_where_nothing_runs_nothing_is_waited_for(running):
    part, wanted = running
    part._emperor_ini.touch()
    part._pidfile('emperor').unlink()
    assert part.awaited(wanted) == []
