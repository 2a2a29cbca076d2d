"""Apache's children, told to finish by somebody who is not their parent.

Guards against a way of telling them that another Apache does not know, that
cuts what they have begun, or that writes into something else of Apache's.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request

import images
import psutil
import pytest
import toolkit
from images import MIB

from glance_wsgi import platforms
from glance_wsgi import processes
from glance_wsgi.servers import apache_children

BODY = images.random_bytes(64 * MIB)

CONF = """\
ServerRoot "{home}"
ServerName localhost
DefaultRuntimeDir "{home}"
PidFile "{home}/apache.pid"
LoadModule mpm_{mpm}_module "{modules}/mod_mpm_{mpm}.so"
LoadModule authz_core_module "{modules}/mod_authz_core.so"
{user}
Listen 127.0.0.1:{port}
DocumentRoot "{home}/data"
ErrorLog "|/usr/bin/tee -a {home}/errors"
TransferLog "|/usr/bin/tee -a {home}/requests"
"""


@pytest.fixture
def apache(workspace):
    """Starts an Apache with that MPM, which has pipes of other kinds too."""
    installed = platforms.current().apache
    if shutil.which(installed.program) is None:
        pytest.skip(f'no Apache: apt-get install {installed.package}')
    home = workspace / 'apache'
    data = home / 'data'
    data.mkdir(parents=True)
    for directory in (home, data):
        directory.chmod(0o755)
    (data / 'file').write_bytes(BODY)
    (data / 'file').chmod(0o644)
    port = toolkit.free_port()

    def control(*words):
        subprocess.run(
            [installed.program, '-f', home / 'conf', *words],
            check=True,
            capture_output=True,
        )

    def start(mpm):
        (home / 'conf').write_text(
            CONF.format(
                home=home,
                mpm=mpm,
                modules=installed.modules,
                user='User nobody\nGroup nogroup' if not os.getuid() else '',
                port=port,
            )
        )
        control('-k', 'start')
        toolkit.until((home / 'apache.pid').exists, 'Apache has started')
        started = Started(home, port)
        toolkit.until(started.answers, 'Apache answers')
        if mpm == 'event' and not apache_children.can_look(started.parent):
            pytest.skip(
                'the kernel does not show what processes wait for: run as '
                'root, with CAP_SYS_PTRACE'
            )
        return started

    yield start
    pidfile = home / 'apache.pid'
    if pidfile.exists():
        process = psutil.Process(int(pidfile.read_text()))
        control('-k', 'stop')
        toolkit.until(lambda: not toolkit.alive(process), 'Apache has ended')
    shutil.rmtree(home)


class Started:
    """An Apache that serves one file."""

    def __init__(self, home, port) -> None:
        self.home, self.port = home, port
        self.parent = psutil.Process(int((home / 'apache.pid').read_text()))

    def children(self) -> set[psutil.Process]:
        """Those that take requests."""
        return {
            child
            for child in processes.children(self.parent)
            if processes.listening(child)
        }

    def answers(self) -> bool:
        url = f'http://127.0.0.1:{self.port}/file'
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(url, timeout=30) as answer,
        ):
            return answer.read() == BODY
        return False

    @contextlib.contextmanager
    def half_read(self):
        """A download of which only the beginning has been read."""
        with socket.create_connection(('127.0.0.1', self.port)) as client:
            client.sendall(b'GET /file HTTP/1.0\r\n\r\n')
            begun = client.recv(1000)
            assert b' 200 ' in begun

            def rest() -> bytes:
                pieces = [begun, *iter(lambda: client.recv(MIB), b'')]
                return b''.join(pieces).partition(b'\r\n\r\n')[2]

            yield rest


def read_anew(started) -> bool:
    """Whether it has read its files again, since it was asked."""
    return (started.home / 'errors').read_text().count('resuming normal') > 1


def test_it_reads_its_files_again_when_its_children_have_ended(apache):
    started = apache('event')
    old = started.children()
    assert apache_children.replace(started.parent, lambda: True)
    toolkit.until(lambda: read_anew(started), 'it has read its files again')
    assert started.answers()
    assert not old & started.children()


def test_a_request_that_a_child_has_is_waited_for(apache, monkeypatch):
    monkeypatch.setattr(apache_children, 'PATIENCE', 60)
    started = apache('event')
    with started.half_read() as rest:
        replacing = threading.Thread(
            target=apache_children.replace,
            args=(started.parent, lambda: True),
        )
        replacing.start()
        toolkit.until(lambda: not started.children(), 'nobody takes a request')
        assert not read_anew(started)
        assert rest() == BODY
        replacing.join(60)
    toolkit.until(lambda: read_anew(started), 'it has read its files again')
    assert started.answers()


def test_one_that_takes_too_long_is_not_waited_for_and_not_cut(apache):
    started = apache('event')
    with started.half_read() as rest:
        assert apache_children.replace(started.parent, lambda: True)
        assert started.answers()
        assert rest() == BODY


def test_nothing_happens_where_it_may_not(apache):
    started = apache('event')
    old = started.children()
    assert not apache_children.replace(started.parent, lambda: False)
    assert started.answers()
    # Apache may only now have started the last of those it begins with.
    assert old and old <= started.children()
    assert not read_anew(started)


def test_nothing_is_written_into_the_pipes_of_logs(apache):
    started = apache('event')
    assert started.answers()
    assert apache_children.replace(started.parent, lambda: True)
    assert started.answers()
    for name in ('errors', 'requests'):
        text = (started.home / name).read_text()
        assert text
        assert '!!' not in text


def test_those_of_another_kind_are_told_by_apache(apache):
    started = apache('prefork')
    assert apache_children.replace(started.parent, lambda: True)
    toolkit.until(lambda: read_anew(started), 'it has read its files again')
    assert started.answers()


@pytest.mark.parametrize('moment', ['may', 'in_use'])
def test_an_apache_goes_on_when_who_holds_it_is_killed(apache, moment):
    started = apache('event')
    code = (
        'import os, psutil, sys\n'
        'from glance_wsgi.servers import apache_children as children\n'
        'def die(*words): os.kill(os.getpid(), 9)\n'
        'may = die if sys.argv[2] == "may" else lambda: True\n'
        'children._in_use = die\n'
        'children.replace(psutil.Process(int(sys.argv[1])), may)\n'
    )
    killed = subprocess.run(
        [sys.executable, '-c', code, str(started.parent.pid), moment]
    )
    assert killed.returncode == -9
    assert started.answers()
    if moment == 'in_use':
        toolkit.until(
            lambda: read_anew(started), 'it has read its files again'
        )
        assert started.answers()
