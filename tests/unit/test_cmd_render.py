"""``glance-wsgi render``: printed, written, compared."""

import os
import pathlib
import shutil

import material
import pytest

from glance_wsgi import applications
from glance_wsgi import install
from glance_wsgi import programs
from glance_wsgi import render
from glance_wsgi import steps
from glance_wsgi.cmd import main
from glance_wsgi.errors import Exit


@pytest.fixture
def place(tmp_path):
    """A deployment that is there, with its passwords."""
    made = material.deployment(tmp_path / 'state', server='uwsgi')
    assert made.passwords
    made.state.options.write_text(made.options_text())
    made.state.write_marker({'glance': '33.0.0'})
    return made.state.path


@pytest.fixture
def run(capsys, place):
    """Runs the verb; its exit code and what it said."""

    def run(*words):
        command = ['render', '--state-dir', place, *words]
        code = main.main([*map(str, command)])
        return code, capsys.readouterr()

    return run


def files(directory):
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in directory.rglob('*')
        if path.is_file()
    }


def told(said):
    """What was said of each file beside the output."""
    lines = (line.split() for line in said.err.splitlines())
    return {pathlib.Path(path): word for word, path in lines}


def test_every_file_is_printed_behind_its_path_and_nothing_is_written(
    run, place
):
    before = files(place)
    code, said = run()
    assert code == Exit.OK, said.err
    for name in ('uwsgi-emperor.ini', 'vassals/glance-api.ini'):
        assert f'# {place}/etc/{name}\n' in said.out
    assert 'lazy-apps = true' in said.out
    assert files(place) == before


def test_no_secret_is_printed(run, place):
    code, said = run()
    assert code == Exit.OK, said.err
    for word in ('admin_password', 'glance_password'):
        assert word not in said.out
    passwords = material.deployment(place).passwords
    assert not [word for word in passwords.values() if word in said.out]


@pytest.mark.parametrize('server', ['apache-uwsgi', 'mod_wsgi', 'uwsgi'])
def test_what_is_written_says_what_has_changed(run, tmp_path, server):
    if server == 'mod_wsgi':
        material.need_apache('mod_wsgi.so')
    output = tmp_path / 'output'
    options = ['--server', server, '--output', output]
    if server == 'mod_wsgi':
        module = material.platforms.current().apache.modules / 'mod_wsgi.so'
        options += ['--mod-wsgi', module]
    code, said = run(*options)
    assert code == Exit.OK, said.err
    written = files(output)
    lines = said.out.splitlines()
    assert lines == [f'changed   {line.split()[1]}' for line in lines]
    assert {pathlib.Path(line.split()[1]) for line in lines} == set(written)
    code, said = run(*options)
    assert {line.split()[0] for line in said.out.splitlines()} == {'unchanged'}
    assert files(output) == written


def test_a_difference_is_shown_and_nothing_written(run, tmp_path):
    output = tmp_path / 'output'
    assert run('--output', output, '--threads', '16')[0] == Exit.OK
    before = files(output)
    code, said = run('--output', output, '--diff', '--threads', '5')
    assert code == Exit.OK
    assert '-threads = 16\n' in said.out
    assert '+threads = 5\n' in said.out
    assert files(output) == before
    words = told(said)
    assert words.keys() == before.keys()
    changed = {path.name for path, word in words.items() if word == 'changed'}
    # And the script, since Glance's own configuration has as many threads.
    assert changed == {'glance-api.ini', 'glance-api.wsgi'}


def test_a_directory_that_is_compared_with_is_not_even_made(run, tmp_path):
    code, said = run('--output', tmp_path / 'output', '--diff')
    assert code == Exit.OK
    assert '+lazy-apps = true\n' in said.out
    assert set(told(said).values()) == {'changed'}
    assert not (tmp_path / 'output').exists()


def test_what_is_printed_is_said_to_have_changed_or_not(run, place):
    code, said = run()
    assert code == Exit.OK
    assert set(told(said).values()) == {'changed'}
    script = place / 'etc' / 'wsgi' / 'glance-api.wsgi'
    made = material.deployment(place)
    applications.of(made)[-1].files[-1].write()
    before = files(place)
    _, said = run()
    assert told(said).pop(script) == 'unchanged'
    assert set(told(said).values()) == {'changed', 'unchanged'}
    assert files(place) == before


@pytest.fixture
def system(monkeypatch, tmp_path, place):
    """The system's places, in which the deployment is installed."""
    if os.geteuid():
        pytest.skip('not root: only root is told what is installed')
    places = install.Places(
        tmp_path / 'etc', tmp_path / 'run', tmp_path / 'log', system=True
    )
    places.etc.mkdir()
    monkeypatch.setattr(install.Places, 'of_system', lambda *_: places)
    install._marker().write_text(f'{{"state_dir": "{place}", "files": []}}')
    install.options_file().write_text('[server]\nthreads = 9\n')
    return places


@pytest.mark.parametrize('named', [True, False])
def test_what_is_installed_is_what_it_is_compared_with(
    system, capsys, place, named
):
    ini = system.etc / 'vassals' / 'glance-api.ini'
    ini.parent.mkdir()
    ini.write_text('threads = 8\n')
    words = ['render', '--diff', *(['--state-dir', place] if named else ())]
    assert main.main([*map(str, words)]) == Exit.OK
    said = capsys.readouterr()
    assert told(said)[ini] == 'changed'
    assert '-threads = 8\n' in said.out
    assert '+threads = 9\n' in said.out
    assert not any(path.is_relative_to(place) for path in told(said))


def test_another_deployment_than_the_installed_one_is_its_own(
    system, capsys, tmp_path
):
    other = tmp_path / 'other'
    assert main.main(['render', '--diff', '--state-dir', str(other)]) == 0
    said = capsys.readouterr()
    assert other / 'etc' / 'vassals' / 'glance-api.ini' in told(said)


def test_a_file_that_cannot_be_compared_with_is_one_line(run, place):
    (place / 'etc' / 'vassals' / 'glance-api.ini').mkdir()
    code, said = run('--diff')
    assert code == Exit.STATE_NOT_WRITABLE
    assert said.err.splitlines()[-1].startswith('glance-wsgi: ')


@pytest.fixture
def templates(tmp_path, monkeypatch):
    """The templates, as files that a test may break."""
    copied = tmp_path / 'httpd'
    shutil.copytree(render.template_directory(), copied)
    monkeypatch.setattr(render, 'template_directory', lambda: copied)
    return copied


BROKEN = [
    ('uwsgi-limits.ini.j2', '{{ nobody }}'),
    ('uwsgi-limits.ini.j2', '{% if %}'),
    ('application.wsgi.j2', '{% include "none.j2" %}'),
]


def is_incomplete(code, said, template):
    assert code == Exit.TEMPLATE_INCOMPLETE
    (line,) = said.err.splitlines()
    assert f'{template}, line 1, ' in line
    assert 'Nothing was changed. Put it back' in line
    return True


@pytest.mark.parametrize(('name', 'text'), BROKEN)
def test_a_template_that_is_broken_writes_nothing(
    run, tmp_path, templates, name, text
):
    (templates / name).write_text(text)
    code, said = run('--output', tmp_path / 'output')
    assert is_incomplete(code, said, templates / name)
    assert said.out == ''
    assert not (tmp_path / 'output').exists()


@pytest.mark.parametrize(('name', 'text'), BROKEN)
def test_a_template_that_is_broken_keeps_up_from_making_anything(
    capsys, tmp_path, templates, name, text
):
    (templates / name).write_text(text)
    place = tmp_path / 'new'
    code = main.main(['up', '--state-dir', str(place)])
    assert is_incomplete(code, capsys.readouterr(), templates / name)
    assert not place.exists()


def test_what_a_gate_tells_tempest_is_rendered_before_anything_too(
    capsys, tmp_path, templates
):
    (templates / 'tempest.conf.j2').write_text('{{ nobody }}')
    place = tmp_path / 'new'
    code = main.main(['up', '--state-dir', str(place), '--profile', 'gate'])
    said = capsys.readouterr()
    assert is_incomplete(code, said, templates / 'tempest.conf.j2')
    assert not place.exists()


@pytest.mark.parametrize(('name', 'text'), BROKEN)
def test_a_template_that_is_broken_lets_reload_leave_everything(
    capsys, monkeypatch, place, templates, name, text
):
    material.rendered(place, server='uwsgi')
    before = files(place)
    # So that it would write every other file.
    (templates / 'glance-api.conf.j2').write_text('[DEFAULT]\n')
    (templates / name).write_text(text)
    monkeypatch.setattr(steps.Up, 'check_running', lambda self: None)
    # The service user is made by "up", and not on every machine.
    monkeypatch.setattr(programs.ServiceUser, 'find', lambda: material.ME)
    code = main.main(['reload', '--state-dir', str(place)])
    assert is_incomplete(code, capsys.readouterr(), templates / name)
    left = files(place)
    left.pop(place / '.lock')
    assert left == before


def test_without_a_deployment_it_prints_what_it_would_be(capsys, tmp_path):
    command = ['render', '--state-dir', str(tmp_path / 'none')]
    code = main.main(command)
    said = capsys.readouterr()
    assert code == Exit.OK, said.err
    assert 'lazy-apps = true' in said.out
    assert not (tmp_path / 'none').exists()


def test_a_place_that_cannot_be_written_is_one_line(run, tmp_path):
    (tmp_path / 'output').write_text('')
    code, said = run('--output', tmp_path / 'output')
    assert code == Exit.STATE_NOT_WRITABLE
    assert str(tmp_path / 'output') in said.err
    assert len(said.err.splitlines()) == 1


def test_a_server_that_does_not_exist_is_refused(run, place):
    before = files(place)
    assert run('--server', 'nonsense')[0] == Exit.SERVER_UNKNOWN
    assert files(place) == before


def test_what_a_server_cannot_do_is_refused(run, tmp_path):
    output = tmp_path / 'output'
    together = ['--keystone-listen', '127.0.0.1:9292', '--path', '/image']
    code, _ = run(*together, '--output', output)
    assert code == Exit.PORT_IN_USE
    assert not output.exists()
