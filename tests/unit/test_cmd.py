"""The command line: how errors and exit codes reach the person."""

import argparse
import importlib
import os
import signal
import subprocess
import sys

import material
import pytest

from glance_wsgi import errors
from glance_wsgi import install
from glance_wsgi import servers
from glance_wsgi.cmd import base
from glance_wsgi.cmd import main
from glance_wsgi.cmd import status
from glance_wsgi.cmd import unit
from glance_wsgi.deployment import Deployment
from glance_wsgi.deployment import default_state_dir
from glance_wsgi.errors import Exit


class Broken(status.Status):
    """A verb that does what a test wants it to."""

    error = RuntimeError('one\n  two')

    def take_action(self, parsed_args):
        raise self.error


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command line with one more verb, ``broken``."""

    def run(*words, error=None):
        kind = type('Verb', (Broken,), {'error': error or Broken.error})

        class App(main.App):
            def __init__(self):
                super().__init__()
                self.command_manager.add_command('broken', kind)

        with monkeypatch.context() as patch:
            patch.setattr(main, 'App', App)
            code = main.main([*map(str, words)])
        return code, capsys.readouterr()

    return run


def test_an_error_is_one_line_and_its_own_exit_code(run):
    code, said = run('broken', error=errors.StateBusy('Busy.', 'Wait.'))
    assert code == Exit.STATE_BUSY
    assert said.err == 'glance-wsgi: Busy. Nothing was changed. Wait.\n'
    assert said.out == ''


def test_an_unexpected_exception_is_one_line_too(run):
    code, said = run('broken')
    assert code == Exit.UNEXPECTED
    assert 'RuntimeError: one two' in said.err
    assert '--debug' in said.err
    assert len(said.err.splitlines()) == 1


def test_debug_shows_where_an_unexpected_exception_comes_from(run):
    try:
        _, said = run('--debug', 'broken')
    except RuntimeError as error:
        assert error is Broken.error
    else:
        assert 'in take_action' in said.err


def test_an_interrupt_that_a_library_calls_something_else_is_one(capsys):
    class Verb(base.Verb):
        def take_action(self, parsed_args):
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt as error:
                raise ImportError('half an import') from error

    before = signal.getsignal(signal.SIGINT)
    verb = Verb(None, argparse.Namespace(debug=False))
    assert verb.run(argparse.Namespace()) == Exit.INTERRUPTED
    assert signal.getsignal(signal.SIGINT) == before
    said = capsys.readouterr().err
    assert said == f'glance-wsgi: {base.INTERRUPTED}\n'


def test_control_c_is_one_line_and_not_an_error_of_ours(run):
    code, said = run('broken', error=KeyboardInterrupt())
    assert code == Exit.INTERRUPTED
    assert len(said.err.splitlines()) == 1


def test_without_a_verb_the_verbs_are_shown(run):
    code, said = run()
    assert code == Exit.OK
    for verb in ('up', 'down', 'reload', 'render', 'status'):
        assert f'\n  {verb} ' in said.out


@pytest.mark.parametrize('words', [['nonsense'], ['zzz', '--listen', 'x']])
def test_a_verb_that_does_not_exist_is_wrong_usage(run, words):
    code, _ = run(*words)
    assert code == Exit.USAGE


def test_an_option_that_does_not_exist_is_wrong_usage(run):
    with pytest.raises(SystemExit) as caught:
        run('up', '--nonsense')
    assert caught.value.code == Exit.USAGE


@pytest.mark.parametrize('verb', ['down', 'reload', 'status'])
def test_a_verb_without_a_deployment_says_where_it_looked(run, tmp_path, verb):
    code, said = run(verb, '--state-dir', tmp_path / 'none')
    assert code == Exit.STATE_MISSING
    assert str(tmp_path / 'none') in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('server', 'code'),
    [
        ('mod_wsgi', Exit.BAD_OPTION),
        ('nonsense', Exit.SERVER_UNKNOWN),
        # It is the one, but does not run.
        ('apache-uwsgi', Exit.NOT_SERVING),
    ],
)
def test_a_reload_is_refused_where_another_server_hosts(
    run, tmp_path, server, code
):
    made = material.deployment(tmp_path, server='apache-uwsgi')
    made.state.options.write_text(made.options_text())
    made.state.write_marker({})
    words = ['--state-dir', tmp_path, '--server', server]
    found, said = run('reload', *words)
    assert found == code
    assert len(said.err.splitlines()) == 1
    assert ('apache-uwsgi' in said.err) == (code != Exit.NOT_SERVING)


@pytest.mark.parametrize('verb', ['up', 'down', 'reload', 'render', 'status'])
def test_help_shows_every_verbs_place_and_nothing_unfilled(run, verb):
    code, said = run('help', verb)
    assert code == Exit.OK
    assert '--state-dir DIR' in said.out
    assert '%(' not in said.out


@pytest.mark.parametrize(
    ('words', 'code'),
    [
        (['--server', 'nonsense'], Exit.SERVER_UNKNOWN),
        (['--stores', 'web:http'], Exit.STORE_UNKNOWN),
        (['--stores', 'fast:tape'], Exit.STORE_UNKNOWN),
        (['--stores', 'os_glance_x:file'], Exit.STORE_UNKNOWN),
        (['--stores', 'a-b:file'], Exit.STORE_UNKNOWN),
        (['--stores', 'staging:file'], Exit.STORE_UNKNOWN),
        (['--workers', '0'], Exit.BAD_OPTION),
        (['--config-file', '/nonexistent/x'], Exit.BAD_OPTION),
    ],
)
def test_a_wrong_option_of_up_is_refused_before_anything_is_made(
    run, tmp_path, words, code
):
    state_dir = tmp_path / 'state'
    assert run('up', '--state-dir', state_dir, *words)[0] == code
    assert not state_dir.exists()


def test_an_unknown_server_is_answered_with_those_there_are(tmp_path):
    deployment = Deployment(tmp_path, None, {'server': 'nonsense'})
    with pytest.raises(errors.ServerUnknown, match='uwsgi') as caught:
        servers.load(deployment)
    for name in ('apache-uwsgi', 'mod_wsgi', 'uwsgi'):
        assert name in caught.value.action


@pytest.mark.parametrize('name', ['apache-uwsgi', 'mod_wsgi', 'uwsgi'])
def test_a_server_is_found_by_its_name(tmp_path, name):
    deployment = Deployment(tmp_path, None, {'server': name})
    assert servers.load(deployment).name == name


def test_the_default_place_follows_the_xdg_directories(monkeypatch, tmp_path):
    monkeypatch.undo()  # other tests are not to find what is there
    monkeypatch.setattr(os, 'geteuid', lambda: 1000)
    monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path))
    assert default_state_dir() == tmp_path / 'glance-wsgi'
    monkeypatch.delenv('XDG_STATE_HOME')
    monkeypatch.setenv('HOME', '/home/ann')
    assert str(default_state_dir()) == '/home/ann/.local/state/glance-wsgi'
    monkeypatch.setattr(os, 'geteuid', lambda: 0)
    assert str(default_state_dir()) == '/var/lib/glance-wsgi'


def test_an_interrupt_that_python_swallows_ends_before_the_next_step():
    """A destructor's KeyboardInterrupt is reported, not raised."""
    code = """if True:
        import argparse, os, signal
        from glance_wsgi.cmd import base

        class Swallows:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGINT)

        class Verb(base.Verb):
            def take_action(self, parsed_args):
                Swallows()
                print('goes on', flush=True)
                self.go_on()
                print('never')

        verb = Verb(None, argparse.Namespace(debug=False))
        raise SystemExit(verb.run(argparse.Namespace()))
    """
    result = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True
    )
    assert result.returncode == errors.Exit.INTERRUPTED, result
    assert result.stdout == 'goes on\n'
    assert len(result.stderr.splitlines()) == 1, result.stderr


@pytest.mark.parametrize('verb', ['install', 'uninstall', 'reload'])
@pytest.mark.parametrize('number', base.ENDS, ids=lambda number: number.name)
def test_whatever_ends_a_change_lets_it_be_put_back(monkeypatch, verb, number):
    """A terminal that is closed, systemd, the person."""
    module = importlib.import_module(f'glance_wsgi.cmd.{verb}')
    put_back = []

    def work(self, parsed_args):
        try:
            os.kill(os.getpid(), number)
        except BaseException:
            put_back.append(number)
            raise

    kind = getattr(module, verb.capitalize())
    monkeypatch.setattr(kind, 'take_action', work)
    before = signal.getsignal(number)
    # As pytest itself may have been told to ignore one.
    signal.signal(number, signal.SIG_DFL)
    try:
        made = kind(None, argparse.Namespace(debug=False))
        assert made.run(argparse.Namespace()) == Exit.INTERRUPTED
    finally:
        signal.signal(number, before)
    assert put_back == [number]


def test_what_apaches_unit_calls_says_in_a_line_that_nothing_is_there(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(install, '_marker', lambda: tmp_path / 'none')
    assert unit.main('stop') == errors.Exit.NOT_INSTALLED
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert 'No Apache with mod_wsgi is installed.' in said
