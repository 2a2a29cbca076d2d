"""What is installed is complete: as a wheel, and as an editable install."""

import json
import pathlib
import shutil
import subprocess
import sys
import sysconfig

import pytest

pytestmark = pytest.mark.packaging

CHECKOUT = pathlib.Path(__file__).parents[2]

ASK = """
import json, pathlib, glance_wsgi
from glance_wsgi import render
print(json.dumps({
    'package': str(pathlib.Path(glance_wsgi.__file__).parent),
    'templates': str(render.template_directory()),
    'text': render.render(
        'apache-limits.conf.j2', {'client_timeout': 12345}
    ),
}))
"""


def run(*words, **options) -> str:
    """What a program says; the test fails if it fails."""
    result = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        **options,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """A copy of the checkout as it is now: building writes into it."""
    if not (CHECKOUT / '.git').exists() or shutil.which('git') is None:
        pytest.skip('pbr asks git for the version: use git and a checkout')
    target = tmp_path_factory.mktemp('source')
    listed = run('git', 'ls-files', '-co', '--exclude-standard', cwd=CHECKOUT)
    for name in listed.splitlines():
        if (CHECKOUT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, target / name)
    git = ['git', '-c', 'user.name=a', '-c', 'user.email=a@example.org']
    run(*git, 'init', '-q', cwd=target)
    run(*git, 'add', '-A', cwd=target)
    run(*git, 'commit', '-q', '-m', 'copy', cwd=target)
    return target


@pytest.fixture(scope='module', params=['wheel', 'editable'])
def installed(request, source, tmp_path_factory):
    """A new virtualenv with our package, installed in this way.

    The packages that it depends on come from the running environment.
    """
    place = tmp_path_factory.mktemp(request.param) / 'venv'
    run(sys.executable, '-m', 'venv', '--without-pip', place)
    base = {'base': str(place), 'platbase': str(place)}
    packages = pathlib.Path(sysconfig.get_path('purelib', vars=base))
    (packages / 'running.pth').write_text(sysconfig.get_path('purelib'))
    pip = [sys.executable, '-m', 'pip', '-q', '--no-input']
    what = ['-e', source]
    if request.param == 'wheel':
        wheels = place.parent
        run(*pip, 'wheel', '--no-deps', '-w', wheels, source)
        what = list(wheels.glob('glance_wsgi-*.whl'))
    python = place / 'bin' / 'python'
    run(*pip, '--python', python, 'install', '--no-deps', *what)
    return request.param, place


def test_it_renders_its_own_templates(installed, source):
    way, place = installed
    told = json.loads(run(place / 'bin' / 'python', '-c', ASK, cwd='/'))
    root = place if way == 'wheel' else source
    assert root in pathlib.Path(told['package']).parents
    assert root in pathlib.Path(told['templates']).parents
    assert 'Timeout 12345' in told['text']


def test_no_file_is_missing(installed, source):
    _, place = installed
    told = json.loads(run(place / 'bin' / 'python', '-c', ASK, cwd='/'))
    for ours, theirs, pattern in (
        (source / 'httpd', told['templates'], '*.j2'),
        (source / 'wsgi' / 'glance_wsgi', told['package'], '**/*.py'),
    ):
        wanted = {file.relative_to(ours) for file in ours.glob(pattern)}
        root = pathlib.Path(theirs)
        assert wanted
        assert {file.relative_to(root) for file in root.glob(pattern)} == (
            wanted
        )


def test_the_command_runs(installed):
    _, place = installed
    program = place / 'bin' / 'glance-wsgi'
    assert run(program, '--version', cwd='/').startswith('glance-wsgi ')
    for verb in ('up', 'down', 'status', 'reload', 'render', 'check'):
        said = run(program, 'help', verb, cwd='/')
        assert '--state-dir' in said
