"""``glance-wsgi check``: the table, the summary and the exit code."""

import json

import material
import pytest
from lint_cases import GOOD

from glance_wsgi.cmd import check
from glance_wsgi.cmd import main
from glance_wsgi.errors import Exit
from glance_wsgi.lint import findings
from glance_wsgi.lint.findings import Severity


@pytest.fixture
def run(capsys, tmp_path):
    """Checks a text that is in a file; the exit code and what was said."""

    def run(text, *words):
        file = tmp_path / 'file'
        file.write_text(text)
        code = main.main(['check', *words, str(file)])
        return code, capsys.readouterr()

    return run


def finding(severity):
    return findings.Finding('name', severity, 'f:1', 'what', 'why', 'action')


def test_a_good_file_ends_with_zero_and_says_so(run):
    unit = GOOD['glance-api.service'].replace('User=glance', 'User=nobody')
    code, said = run(unit)
    assert code == Exit.OK
    assert said.err == 'Checked 1 file: nothing found.\n'


def test_a_warning_has_its_exit_code(run):
    code, said = run('[Service]\nExecStart=uwsgi\nKillMode=mixed\nUser=root\n')
    assert code == Exit.CHECK_WARNINGS
    assert 'warnings' in said.err


def test_an_error_has_its_exit_code_and_json_its_fields(run, tmp_path):
    code, said = run('[uwsgi]\nharakiri = 5\n', '-f', 'json')
    assert code == Exit.CHECK_ERRORS
    rows = {row['rule']: row for row in json.loads(said.out)}
    assert rows['harakiri']['severity'] == 'error'
    assert rows['harakiri']['where'] == f'{tmp_path}/file:2'
    assert all(rows['harakiri'].values())
    assert tuple(rows['harakiri']) == check.COLUMNS


def test_the_worst_findings_come_first(run):
    _, said = run('[uwsgi]\nini = none\n', '-f', 'json')
    found = [row['severity'] for row in json.loads(said.out)]
    assert found == sorted(found, key=['error', 'warning', 'info'].index)
    assert set(found) == {'error', 'warning', 'info'}


@pytest.mark.parametrize(
    ('severities', 'code'),
    [
        ((), Exit.OK),
        ((Severity.INFO,), Exit.OK),
        ((Severity.INFO, Severity.WARNING), Exit.CHECK_WARNINGS),
        ((Severity.ERROR, Severity.WARNING), Exit.CHECK_ERRORS),
    ],
)
def test_the_exit_code_is_that_of_the_worst(severities, code):
    assert findings.exit_code(map(finding, severities)) == code


def test_the_summary_counts_by_severity():
    found = [finding(Severity.WARNING)] * 2 + [finding(Severity.ERROR)]
    found += [finding(Severity.INFO)] * 2
    said = check.summary(3, found)
    assert said == 'Checked 3 files: 1 error, 2 warnings, 2 info.'


def test_a_file_that_is_none_is_one_line(run):
    code, said = run('Dear reader\n')
    assert code == Exit.FILE_NOT_CHECKED
    assert said.out == '' and len(said.err.splitlines()) == 1


@pytest.mark.parametrize('way', ['directory', 'glob'])
@pytest.mark.parametrize('server', ['apache-uwsgi', 'mod_wsgi', 'uwsgi'])
def test_what_render_has_written_can_be_checked(capsys, tmp_path, server, way):
    """Without it being where it says that it is."""
    if server != 'uwsgi':
        material.need_apache(*(['mod_wsgi.so'] * (server == 'mod_wsgi')))
    output = tmp_path / 'output'
    place = tmp_path / 'none'
    words = ['--state-dir', place, '--server', server, '--output', output]
    if server == 'mod_wsgi':
        module = material.platforms.current().apache.modules / 'mod_wsgi.so'
        words += ['--mod-wsgi', module]
    assert main.main(['render', *map(str, words)]) == Exit.OK
    capsys.readouterr()
    files = [path for path in output.rglob('*') if path.is_file()]
    given = [output] if way == 'directory' else files
    code = main.main(['check', '-f', 'json', *map(str, given)])
    said = capsys.readouterr()
    assert code == Exit.OK, said
    found = {row['rule'] for row in json.loads(said.out)}
    assert not found & {'include-apache', 'include-uwsgi'}
    scripts = [path for path in files if path.suffix == '.wsgi']
    assert len(scripts) == 2
    checked = len(files) - len(scripts)
    assert f'Checked {checked} files, passed over 2: ' in said.err


def test_what_is_wrong_in_an_included_file_of_a_directory_is_found(
    capsys, tmp_path
):
    place = tmp_path / 'srv' / 'apache'
    place.mkdir(parents=True)
    (place / 'whole.conf').write_text(
        'Listen 80\nInclude /srv/apache/part.conf\n'
    )
    (place / 'part.conf').write_text('ProxyPass /image/ "http://[::1]:1"\n')
    (place / 'notes').write_text('Dear reader\n')
    (place / 'image').write_bytes(b'\0')
    code = main.main(['check', '-f', 'json', str(tmp_path)])
    said = capsys.readouterr()
    assert code == Exit.CHECK_ERRORS
    rows = [
        row for row in json.loads(said.out) if row['rule'] == 'proxy-slash'
    ]
    # Once, as a part of the whole.
    assert [row['where'] for row in rows] == [f'{place}/part.conf:1']
    assert 'Checked 2 files, passed over 2: ' in said.err


def test_a_directory_without_a_configuration_is_one_line(capsys, tmp_path):
    (tmp_path / 'notes').write_text('Dear reader\n')
    (tmp_path / 'large').write_text('[uwsgi]\n' * 2**18)
    code = main.main(['check', str(tmp_path)])
    said = capsys.readouterr()
    assert code == Exit.FILE_NOT_CHECKED
    (line,) = said.err.splitlines()
    assert str(tmp_path) in line


def test_a_file_that_is_none_is_refused_beside_others(capsys, tmp_path):
    """It was meant to be checked, unlike those in a directory."""
    (tmp_path / 'notes').write_text('Dear reader\n')
    (tmp_path / 'one.ini').write_text('[uwsgi]\nini = none\n')
    names = [str(tmp_path / name) for name in ('one.ini', 'notes')]
    assert main.main(['check', *names]) == Exit.FILE_NOT_CHECKED
    assert 'notes' in capsys.readouterr().err


def test_without_a_file_there_has_to_be_a_deployment(capsys, tmp_path):
    code = main.main(['check', '--state-dir', str(tmp_path / 'none')])
    assert code == Exit.STATE_MISSING
    assert str(tmp_path / 'none') in capsys.readouterr().err
