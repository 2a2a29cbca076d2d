"""``drain``: the file comes first, whatever becomes of the rest."""

import pytest

from glance_wsgi import errors
from glance_wsgi import upstream
from glance_wsgi.cmd import main
from glance_wsgi.tasks import configuration

NOBODY = 'mysql+pymysql://u:p@127.0.0.1:1/glance'


@pytest.fixture
def drain(tmp_path, monkeypatch):
    """Drains a node with that database and stop file; the exit code."""
    monkeypatch.chdir(tmp_path)

    def run(*words, database=f'sqlite:///{tmp_path}/none', stop=None):
        file = tmp_path / 'glance-api.conf'
        file.write_text(
            f'[database]\nconnection = {database}\n'
            '[healthcheck]\nbackends = disable_by_file\n'
            f'disable_by_file_path = {stop or tmp_path / "stop"}\n'
        )
        return main.main(['drain', *words, f'--config-file={file}'])

    return run


@pytest.mark.parametrize('words', [[], ['--wait']])
@pytest.mark.parametrize(
    ('facts', 'code'),
    [
        ({'database': NOBODY}, errors.Exit.DATABASE_UNREACHABLE),
        ({'database': ''}, errors.Exit.BAD_OPTION),
        ({}, errors.Exit.DATABASE_EMPTY),
    ],
    ids=['no_database', 'no_url', 'no_table'],
)
def test_a_node_whose_database_does_not_answer_is_taken_out_all_the_same(
    drain, tmp_path, capsys, words, facts, code
):
    assert drain(*words, **facts) == code
    assert (tmp_path / 'stop').exists()
    said = ' '.join(capsys.readouterr().err.split())
    assert 'The node was taken out' in said
    assert 'Nothing was changed' not in said


def test_a_relative_stop_file_is_refused_and_not_made(drain, tmp_path, capsys):
    assert drain(stop='stop') == errors.Exit.STOP_FILE_UNKNOWN
    assert not (tmp_path / 'stop').exists()
    assert 'absolute' in capsys.readouterr().err


@pytest.mark.parametrize('version', ['30.0.0', '33.0.0'])
def test_a_node_is_known_by_all_that_its_server_reads(
    tmp_path, monkeypatch, version
):
    """With glance-manage that differs from one Glance to another."""
    monkeypatch.setattr(upstream, 'version', lambda: version)
    monkeypatch.setenv('HOME', str(tmp_path))
    file = tmp_path / 'glance-api.conf'
    file.touch()
    directory = tmp_path / '.glance' / 'glance-api.conf.d'
    directory.mkdir(parents=True)
    (directory / 'name.conf').write_text(
        '[DEFAULT]\nworker_self_reference_url = http://node-1\n'
    )
    conf = configuration.read([f'--config-file={file}'], 'test')
    assert conf.worker_self_reference_url == 'http://node-1'
