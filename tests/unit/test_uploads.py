"""Which requests are journaled, and that the journal fails none."""

import pathlib

import pytest

from glance_wsgi.data import halves
from glance_wsgi.data import uploads

IMAGE = '11111111-2222-3333-4444-555555555555'


@pytest.fixture
def served(tmp_path):
    """Answers with the names of the entries there are meanwhile."""

    def application(environ, start_response):
        return [path.name.encode() for path in tmp_path.glob(f'{IMAGE}.*')]

    return uploads.Uploads(application, tmp_path)


def ask(served, method, path, script=''):
    return served(
        {'REQUEST_METHOD': method, 'SCRIPT_NAME': script, 'PATH_INFO': path},
        None,
    )


def dead(directory: pathlib.Path) -> pathlib.Path:
    """An entry whose process is gone."""
    path = directory / f'{IMAGE}.{"0" * 32}'
    path.touch()
    return path


@pytest.mark.parametrize('action', ['file', 'stage'])
@pytest.mark.parametrize('prefix', ['/v2', '/v2.9', '', '/image/v2'])
def test_an_upload_has_an_entry_for_as_long_as_it_is_served(
    served, tmp_path, prefix, action
):
    (name,) = ask(served, 'PUT', f'{prefix}/images/{IMAGE}/{action}', '/image')
    assert name.decode().startswith(f'{IMAGE}.')
    assert not list(tmp_path.glob(f'{IMAGE}*'))


@pytest.mark.parametrize(
    ('method', 'path'),
    [
        ('GET', f'/v2/images/{IMAGE}/file'),
        ('POST', f'/v2/images/{IMAGE}/file'),
        ('PUT', f'/v2/images/{IMAGE}/import'),
        ('POST', f'/v2/images/{IMAGE}/import'),
        ('PUT', f'/v2/images/{IMAGE}/tags/file'),
        ('PUT', f'/v2/images/{IMAGE}/file\n'),
        ('PUT', f'/v2/images/{IMAGE}/files'),
        ('PUT', f'/v2/images/..{IMAGE}/file'),
        ('PUT', '/v2/images/../../etc/file'),
        ('PUT', '/v2/images/x/file'),
    ],
)
def test_any_other_request_has_none(served, method, path):
    assert ask(served, method, path) == []


def test_a_request_without_a_path_has_none(served):
    """PEP 3333: what is empty may be missing."""
    assert served({'REQUEST_METHOD': 'PUT'}, None) == []


@pytest.mark.parametrize(
    ('method', 'action'),
    [('PUT', 'file'), ('PUT', 'stage'), ('POST', 'import')],
)
def test_what_is_dead_is_settled_before_the_request_is_served(
    served, tmp_path, monkeypatch, method, action
):
    mended = []
    monkeypatch.setattr(halves, 'mend', lambda *facts: mended.append(facts[0]))
    name = dead(tmp_path).name.encode()
    answer = ask(served, method, f'/v2/images/{IMAGE}/{action}')
    assert name not in answer
    assert mended == [IMAGE]


def test_what_others_left_meanwhile_is_settled_afterwards(
    tmp_path, monkeypatch
):
    mended = []
    monkeypatch.setattr(halves, 'mend', lambda *facts: mended.append(facts[0]))

    def application(environ, start_response):
        dead(tmp_path)
        return []

    ask(
        uploads.Uploads(application, tmp_path),
        'PUT',
        f'/v2/images/{IMAGE}/file',
    )
    assert mended == [IMAGE]


def test_an_error_while_settling_is_logged_and_the_request_is_served(
    served, tmp_path, monkeypatch, caplog
):
    def fail(*facts):
        raise ZeroDivisionError

    monkeypatch.setattr(halves, 'mend', fail)
    entry = dead(tmp_path)
    assert len(ask(served, 'PUT', f'/v2/images/{IMAGE}/file')) == 2
    assert entry.exists()
    assert f'{IMAGE} has left stays there' in caplog.text


def test_a_journal_that_has_gone_is_logged_and_the_request_is_served(
    served, tmp_path, caplog
):
    served.journal.directory = tmp_path / 'gone'
    assert ask(served, 'PUT', f'/v2/images/{IMAGE}/file') == []
    assert f'{IMAGE} is not journaled' in caplog.text


def test_another_upload_is_waited_for_a_moment_only(
    served, tmp_path, monkeypatch
):
    monkeypatch.setattr(uploads, 'PATIENCE', 0.1)
    with served.journal.entry(IMAGE):
        assert len(ask(served, 'PUT', f'/v2/images/{IMAGE}/file')) == 2
