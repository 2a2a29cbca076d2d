"""The database's URL from configuration files of Glance."""

import pytest

from glance_wsgi import errors
from glance_wsgi.cmd import manage
from glance_wsgi.db import settings


@pytest.fixture
def read(tmp_path):
    """Reads a configuration file with this text."""

    def read(text):
        file = tmp_path / 'glance-api.conf'
        file.write_text(text)
        conf = settings.new()
        settings.read(conf, [f'--config-file={file}'], 'test')
        return settings.database(conf)

    return read


def test_the_connection_is_the_url(read):
    url = read('[database]\nconnection = mysql+pymysql://u:p%40s@h/n\n')
    assert url.password == 'p@s'


def test_its_parameters_may_be_given_apart(read):
    url = read(
        '[database]\nconnection = mysql+pymysql://u@h/n?charset=utf8\n'
        'connection_parameters = connect_timeout=3\n'
    )
    assert url.query == {'charset': 'utf8', 'connect_timeout': '3'}


@pytest.mark.parametrize('text', ['', '[database]\n', '[DEFAULT]\na = b\n'])
def test_a_configuration_without_a_database_is_named(read, text, tmp_path):
    with pytest.raises(errors.BadOption, match=str(tmp_path)):
        read(text)


def test_what_is_no_url_is_refused_without_showing_it(read):
    with pytest.raises(errors.DatabaseUnsupported) as caught:
        read('[database]\nconnection = u:hunter2@h\n')
    assert 'hunter2' not in str(caught.value)


@pytest.mark.parametrize(
    'text', ['hunter2', '[database\n', '[database]\nhunter2\n']
)
def test_what_is_no_configuration_is_refused_without_showing_it(read, text):
    with pytest.raises(errors.BadOption, match='is no conf') as caught:
        read(text)
    assert 'hunter2' not in str(caught.value)
    assert 'glance-api.conf' in str(caught.value)


def test_a_file_that_is_missing_is_named():
    with pytest.raises(errors.BadOption, match='/nonexistent'):
        settings.read(settings.new(), ['--config-file=/nonexistent'], 'test')


@pytest.mark.parametrize(
    'words',
    [
        'db sync --check',
        'db_sync --check',
        '--config-file f db sync --check',
        '--debug --log-file l db_sync --check --format json',
        'db sync --format yaml --check',
    ],
)
def test_a_check_is_known_by_its_words(words):
    assert manage._is_check(words.split())


@pytest.mark.parametrize(
    'words',
    ['', 'db', 'db sync', 'db_sync', 'db check', 'db version', '--check'],
)
def test_all_else_is_for_glance_manage(words):
    assert not manage._is_check(words.split())


@pytest.mark.parametrize(
    'words',
    [
        'db sync --check --format nonsense',
        'db sync --check --nonsense',
        'db sync --check 2024_1_expand01',
        '--nonsense db sync --check',
    ],
)
def test_wrong_words_are_wrong_usage(words, capsys):
    with pytest.raises(SystemExit) as caught:
        manage.main(words.split())
    assert caught.value.code == errors.Exit.USAGE
    assert 'glance-wsgi-manage' in capsys.readouterr().err
