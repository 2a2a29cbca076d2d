"""Asking over HTTP, answered by a real server on loopback."""

import contextlib
import http.server
import socket
import threading

import pytest

from glance_wsgi import errors
from glance_wsgi import probe


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with the status that the path names."""

    def do_GET(self):
        if self.path == '/stall':
            self.server.done.wait(10)
            return
        if self.path == '/redirect':
            self.send_response(302)
            self.send_header('Location', '/200')
        elif self.path == '/cut':
            self.send_response(200)
            self.send_header('Content-Length', '1000')
        else:
            self.send_response(int(self.path[1:]))
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture(scope='module')
def url():
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.done = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.done.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ('path', 'word'),
    [
        ('200', 'OK'),
        ('redirect', 'OK'),
        ('503', '503 Service Unavailable'),
        ('404', '404 Not Found'),
        ('500', '500 Internal Server Error'),
    ],
)
def test_health_is_ok_or_the_status_that_came(url, path, word):
    assert probe.health(f'{url}/{path}') == word


def test_no_answer_in_time_is_said_so(url):
    assert probe.health(f'{url}/stall', timeout=0.1).startswith('no answer in')


def test_an_answer_that_breaks_off_is_none(url):
    assert probe.health(f'{url}/cut').startswith('no answer')


def test_nobody_there_is_no_answer():
    with contextlib.closing(socket.create_server(('127.0.0.1', 0))) as taken:
        port = taken.getsockname()[1]
    assert probe.health(f'http://127.0.0.1:{port}/') == 'no answer'


def test_something_that_does_not_speak_http_gives_no_answer():
    with socket.create_server(('127.0.0.1', 0)) as server:

        def greet():
            near, _ = server.accept()
            with near:
                near.recv(1000)
                near.sendall(b'220 mail.example.org ESMTP\r\n')

        thread = threading.Thread(target=greet)
        thread.start()
        port = server.getsockname()[1]
        assert probe.health(f'http://127.0.0.1:{port}/') == 'no answer'
        thread.join()


def test_a_proxy_of_the_environment_is_not_asked_about_this_machine(
    url, monkeypatch
):
    monkeypatch.setenv('http_proxy', 'http://127.0.0.1:1')
    assert probe.health(f'{url}/200') == 'OK'


def wait(ready, complaint=lambda: None, timeout=10, **options):
    probe.wait_until(
        ready, complaint, 'glance-api', '/log/x', timeout, **options
    )


def test_waiting_ends_when_it_is_ready():
    answers = iter([False, False, True])
    wait(lambda: next(answers))


def test_waiting_does_not_ask_for_complaints_of_what_is_ready():
    wait(lambda: True, lambda: 'an old complaint')


def test_a_complaint_ends_the_waiting_and_is_passed_on():
    with pytest.raises(errors.NotReady, match='no such table') as caught:
        wait(lambda: False, lambda: 'no such table')
    assert '/log/x' in str(caught.value)


def test_being_held_back_has_an_end_too():
    with pytest.raises(errors.NotReady, match='does not answer'):
        wait(lambda: False, timeout=0, held=lambda: True, patience=0.2)


def test_the_time_begins_when_nothing_from_before_is_waited_for():
    asked = []

    def held():
        asked.append(True)
        return len(asked) < 5

    with pytest.raises(errors.NotReady, match='does not answer after 0 s'):
        wait(lambda: False, timeout=0, held=held, patience=10)
    assert len(asked) == 5


def test_waiting_ends_when_the_time_is_over():
    with pytest.raises(errors.NotReady, match='glance-api does not answer'):
        wait(lambda: False, timeout=0)
