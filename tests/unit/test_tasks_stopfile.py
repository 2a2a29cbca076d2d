"""The stop file is the one that the health check itself looks for."""

import subprocess
import sys

import pytest
import webob
from oslo_config import cfg
from oslo_middleware import healthcheck
from paste.deploy import loadwsgi

from glance_wsgi import errors
from glance_wsgi import render
from glance_wsgi import upstream
from glance_wsgi.tasks import stopfile

SHIPPED = '/etc/glance/healthcheck_disable'


@pytest.fixture
def node(tmp_path):
    """Makes a node's configuration of a Paste section and [healthcheck]."""

    def make(section=None, options='', flavor=''):
        api, paste = tmp_path / 'glance-api.conf', tmp_path / 'glance-api-'
        paste = paste.with_name('glance-api-paste.ini')
        api.write_text(f'[healthcheck]\n{options}\n')
        if section is not None:
            paste.write_text(
                '[app:healthcheck]\n'
                'paste.app_factory = oslo_middleware:Healthcheck.app_factory\n'
                f'{section}\n'
            )
        conf = cfg.ConfigOpts()
        conf(args=[], default_config_files=[str(api)], default_config_dirs=[])
        return conf

    return make


BACKEND = 'backends = disable_by_file'


def test_the_paste_section_comes_first(node):
    conf = node(
        f'{BACKEND}\ndisable_by_file_path = /paste',
        'disable_by_file_path = /oslo',
    )
    assert stopfile.required(conf).path == '/paste'


def test_without_it_oslo_config_has_the_path(node):
    conf = node(BACKEND, 'disable_by_file_path = /oslo')
    assert stopfile.required(conf).path == '/oslo'


def test_without_a_paste_file_oslo_config_has_all(node):
    conf = node(None, f'{BACKEND}\ndisable_by_file_path = /oslo')
    assert stopfile.required(conf).path == '/oslo'


@pytest.mark.parametrize(
    ('section', 'options'),
    [
        (BACKEND, ''),
        ('disable_by_file_path = /x', ''),
        ('backends = other\ndisable_by_file_path = /x', BACKEND),
        (None, ''),
        (f'{BACKEND}\ndisable_by_file_path = etc/stop', ''),
        (BACKEND, 'disable_by_file_path = stop'),
    ],
)
def test_a_file_that_nobody_looks_for_or_finds_is_told(node, section, options):
    with pytest.raises(errors.StopFileUnknown):
        stopfile.required(node(section, options))


BROKEN = {
    'no_section': b'password = secret\n',
    'twice': b'[app:healthcheck]\npassword = secret\npassword = secret\n',
    'no_text': b'[app:healthcheck]\npassword = \xff secret\n',
    'no_interpolation': b'[app:healthcheck]\npassword = %(secret)s\n',
    'no_module': b'[app:healthcheck]\npaste.app_factory = none.there:secret\n',
    'no_attribute': b'[app:healthcheck]\npaste.app_factory = os:secret\n',
}


@pytest.mark.parametrize('content', BROKEN.values(), ids=BROKEN)
def test_a_paste_file_that_is_none_is_told_but_not_quoted(
    node, tmp_path, content
):
    conf = node(BACKEND, 'disable_by_file_path = /oslo')
    (tmp_path / 'glance-api-paste.ini').write_bytes(content)
    with pytest.raises(errors.StopFileUnknown) as told:
        stopfile.required(conf)
    assert str(tmp_path / 'glance-api-paste.ini') in told.value.cause
    assert 'secret' not in str(told.value)


def test_a_paste_file_that_nobody_may_read_is_told(
    node, tmp_path, monkeypatch
):
    """The path in oslo.config may be another one."""
    conf = node(BACKEND, 'disable_by_file_path = /oslo')

    def refuse(*words, **options):
        raise PermissionError(13, 'Permission denied')

    # Root may read everything.
    monkeypatch.setattr(stopfile.loadwsgi, 'appconfig', refuse)
    with pytest.raises(errors.StopFileUnknown, match='Permission denied'):
        stopfile.required(conf)


@pytest.mark.parametrize('where', ['Paste', 'oslo.config'])
@pytest.mark.parametrize('asked', ['never', 'before', 'after'])
def test_it_stops_before_and_after_the_first_health_check(
    node, tmp_path, monkeypatch, where, asked
):
    """The path comes into oslo.config with the first request only."""
    path = f'disable_by_file_path = {tmp_path}/stop'
    conf = (
        node(f'{BACKEND}\n{path}') if where == 'Paste' else node(BACKEND, path)
    )
    # The one that the health check of the same process uses.
    monkeypatch.setattr(cfg, 'CONF', conf)

    def ask() -> int:
        file = f'config:{tmp_path}/glance-api-paste.ini'
        section = loadwsgi.appconfig(file, name='healthcheck').local_conf
        application = healthcheck.Healthcheck.app_factory({}, **section)
        request = webob.Request.blank('/healthcheck')
        return request.get_response(application).status_int

    if asked == 'before':
        assert ask() == 200
    found = stopfile.find(conf)
    assert not found.exists()
    if asked == 'after':
        assert ask() == 200
        assert conf.healthcheck.disable_by_file_path == f'{tmp_path}/stop'
    (tmp_path / 'stop').touch()
    assert found.exists()
    assert stopfile.find(conf).exists()
    assert ask() == 503
    (tmp_path / 'stop').unlink()
    assert not found.exists()
    assert ask() == 200


def test_our_own_paste_file_changes_the_path_alone(tmp_path):
    file = tmp_path / 'glance-api-paste.ini'
    file.write_text(
        render.render(
            'glance-api-paste.ini.j2',
            {
                'shipped': upstream.shipped('glance-api-paste.ini'),
                'stop_file': '/own/stop 100%',
                'pipelines': ['glance-api-keystone'],
            },
        )
    )
    ours = loadwsgi.appconfig(f'config:{file}', name='healthcheck')
    theirs = loadwsgi.appconfig(
        f'config:{upstream.shipped("glance-api-paste.ini")}',
        name='healthcheck',
    )
    assert theirs.local_conf['disable_by_file_path'] == SHIPPED
    assert ours.local_conf == {
        **theirs.local_conf,
        'disable_by_file_path': '/own/stop 100%',
    }


def test_all_pipelines_of_the_shipped_file_are_ours_too():
    from glance_wsgi import applications

    text = upstream.shipped('glance-api-paste.ini').read_text()
    named = [
        line.removeprefix('[composite:').rstrip(']')
        for line in text.splitlines()
        if line.startswith('[composite:glance-api')
    ]
    assert sorted(named) == sorted(applications.PIPELINES)


def test_asking_keeps_the_health_check_from_nothing():
    """It registers the same options; another declaration would fail."""
    code = (
        'from oslo_config import cfg\n'
        'from glance_wsgi.tasks import stopfile\n'
        'from oslo_middleware import Healthcheck\n'
        'cfg.CONF([], default_config_files=[], default_config_dirs=[])\n'
        'stopfile.find(cfg.CONF)\n'
        'Healthcheck.app_factory({}, backends="disable_by_file")\n'
    )
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
