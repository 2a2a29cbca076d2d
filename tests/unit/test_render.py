"""The templates of httpd/, filled."""

import configparser
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import meta
from jinja2 import nodes
from oslo_config import cfg

from glance_wsgi import errors
from glance_wsgi import render
from glance_wsgi import state

CHECKOUT = pathlib.Path(__file__).parents[2] / 'httpd'
NAMES = sorted(file.name for file in CHECKOUT.glob('*.j2'))
APPLICATION = {
    'name': 'glance-api',
    'path': '/image',
    'socket': '/run/glance-api.sock',
    'script': '/wsgi/glance-api.wsgi',
    'directory': '/wsgi',
    'file': 'glance-api.wsgi',
    'processes': 2,
    'threads': 16,
    'hand_off': {
        'words': 'same-user /store',
        'directories': ['/store/.handed-off'],
    },
}
SITE = {
    'listen': '127.0.0.1:9292',
    'paths': ['/image', '/identity'],
    'applications': [APPLICATION],
}

TLS = {
    'certificate': '/etc/ssl/one.pem',
    'key': '/etc/ssl/one.key',
    'ciphers': 'ECDHE-RSA-AES128-GCM-SHA256',
    'hsts_max_age': 60,
}

# Variables that are not text, which is what any other one is here.
VALUES = {
    'access_log': 'combined',
    'answer_timeout': 600,
    'application': APPLICATION,
    'children': 2,
    'chunk_limit': 2**26,
    'client_timeout': 60,
    'default_store': 'fast',
    'environment': {'OS_GLANCE_CONFIG_DIR': '/etc/glance'},
    'file_stores': {'fast': '/fast', 'cheap': '/cheap'},
    'listen': '127.0.0.1:9292',
    'listen_queue': 1024,
    'listening': ['127.0.0.1:80'],
    'mercy': 3600,
    'modules': ['env', 'ssl'],
    'own_settings_text': '',
    'path': '/image',
    'pipelines': ['glance-api', 'glance-api-keystone'],
    'processes': 2,
    'redirect': {
        'listen': '127.0.0.1:8080',
        'target': 'https://127.0.0.1:9292',
    },
    'server_name': 'images.example.org',
    'site': SITE,
    'sites': [SITE],
    'socket': '127.0.0.1:9292',
    'socket_timeout': 60,
    'stores': ['fast:file', 'cheap:file', 'web:http'],
    'threads': 16,
    'threads_per_child': 64,
    'tls': TLS,
    'writable': ['/data', '/var/log'],
}


@functools.cache
def tree(name):
    return render.environment().parse((CHECKOUT / name).read_text())


@functools.cache
def parts(name):
    """The templates that a template includes, themselves or by others."""
    named = set(meta.find_referenced_templates(tree(name)))
    return named.union(*(parts(part) for part in named))


SHARED = {part for name in NAMES for part in parts(name)}
"""Templates that are a part of others, and never a file of their own."""

WHOLE = [name for name in NAMES if name not in SHARED]
SYSTEMD = [name for name in NAMES if name.startswith('glance-wsgi.')]
OSLO = ['glance-api.conf.j2', 'keystone.conf.j2']
UWSGI = [name for name in WHOLE if name.startswith('uwsgi-')]
APACHE = [
    name for name in WHOLE if name.endswith('.conf.j2') and name not in OSLO
]


@functools.cache
def needed(name):
    """What has to be given to a template, for its parts too.

    Not what it gives to its parts itself, the variables of its loops.
    """
    loops = {
        target.name
        for loop in tree(name).find_all(nodes.For)
        for target in (loop.target, *loop.target.iter_child_nodes())
        if isinstance(target, nodes.Name)
    }
    inside = {
        variable
        for part in parts(name)
        for variable in meta.find_undeclared_variables(tree(part))
    }
    return meta.find_undeclared_variables(tree(name)) | (inside - loops)


def variables(name):
    """Every variable of a template, with some value."""
    values = VALUES
    if name == 'apache.conf.j2':  # where the site is a file
        values = {**VALUES, 'site': '/site.conf'}
    return {
        variable: values.get(variable, f'/{variable}')
        for variable in needed(name)
    }


def ini(name, **given):
    """A rendered file, read as ini; uWSGI may repeat a key."""
    parser = configparser.RawConfigParser(strict=False, delimiters=('=',))
    parser.optionxform = str
    parser.read_string(render.render(name, {**variables(name), **given}))
    return parser


def oslo(tmp_path, name, option, group, **given):
    """What oslo.config reads as an option of a rendered file."""
    path = tmp_path / 'rendered.conf'
    path.write_text(render.render(name, {**variables(name), **given}))
    conf = cfg.ConfigOpts()
    conf.register_opt(cfg.StrOpt(option), group=group)
    conf([], default_config_files=[str(path)], default_config_dirs=[])
    return conf[group][option]


def test_the_templates_are_those_of_the_checkout():
    """Whether it is installed from a wheel or from the checkout itself."""
    found = render.template_directory()
    assert NAMES
    for name in NAMES:
        assert (found / name).read_text() == (CHECKOUT / name).read_text()


@pytest.mark.parametrize(
    ('name', 'missing'),
    [(name, variable) for name in NAMES for variable in variables(name)],
)
def test_a_missing_variable_is_an_error_that_names_it(name, missing):
    given = variables(name)
    del given[missing]
    with pytest.raises(errors.TemplateIncomplete, match=missing) as caught:
        render.render(name, given)
    # Where it is used, which may be in an included one.
    place = re.search(r'template (\S+), line (\d+),', caught.value.cause)
    lines = pathlib.Path(place[1]).read_text().splitlines()
    assert missing in lines[int(place[2]) - 1]


@pytest.fixture
def templates(tmp_path, monkeypatch):
    """The templates, as files that a test may break."""
    copied = tmp_path / 'httpd'
    shutil.copytree(CHECKOUT, copied)
    monkeypatch.setattr(render, 'template_directory', lambda: copied)
    return copied


OUTER = 'apache-uwsgi.conf.j2'
INNER = 'apache-limits.conf.j2'


@pytest.mark.parametrize(
    ('line', 'why'),
    [
        ('{{ nobody }}', "'nobody' is undefined"),
        ('{{ client_timeout.nothing }}', "has no attribute 'nothing'"),
        ('{% if %}', 'Expected an expression'),
        ('{{ client_timeout | nonsense }}', "No filter named 'nonsense'"),
        ('{% include "none.j2" %}', 'none.j2'),
    ],
)
def test_a_mistake_is_found_in_the_template_that_is_included(
    templates, line, why
):
    (templates / INNER).write_text(f'# One.\n# Two.\n{line}\n')
    with pytest.raises(errors.TemplateIncomplete) as caught:
        render.render(OUTER, variables(OUTER))
    assert f'{templates / INNER}, line 3, ' in caught.value.cause
    assert why in caught.value.cause
    assert caught.value.outcome == 'Nothing was changed.'
    assert caught.value.code == errors.Exit.TEMPLATE_INCOMPLETE


def test_a_template_that_is_missing_is_named(templates):
    (templates / OUTER).unlink()
    with pytest.raises(errors.TemplateIncomplete) as caught:
        render.render(OUTER, variables(OUTER))
    assert str(templates / OUTER) in caught.value.cause


def test_a_part_that_others_include_is_none_of_their_variables():
    assert {'apache-tls.conf.j2', 'uwsgi-limits.ini.j2'} <= SHARED
    others = {'application.wsgi.j2', 'glance-api-paste.ini.j2'}
    known = {*UWSGI, *APACHE, *OSLO, *SYSTEMD, *others}
    assert known == set(WHOLE)


@pytest.mark.parametrize('tls', [None, TLS], ids=['plain', 'encrypted'])
@pytest.mark.parametrize('name', WHOLE)
def test_a_file_ends_with_one_line_end_and_has_no_traces_of_jinja(name, tls):
    text = render.render(name, {**variables(name), 'tls': tls})
    assert text.endswith('\n') and not text.endswith('\n\n')
    # uWSGI and Apache have a %{...} of their own, and JSON has braces.
    for trace in ('{{', '{%', '%}', '#}', 'None', 'Undefined'):
        assert trace not in re.sub(
            'AllowOverride None|If-None-Match', '', text
        )


@pytest.mark.parametrize('name', UWSGI)
def test_a_rendered_ini_file_is_valid(name):
    assert ini(name).sections() == ['uwsgi']


@pytest.mark.parametrize('name', OSLO)
def test_a_rendered_configuration_is_valid(tmp_path, name):
    assert oslo(tmp_path, name, 'connection', 'database')


@pytest.mark.parametrize('name', APACHE)
def test_every_directive_of_apache_is_closed_and_every_quote(name):
    for tls in (None, TLS):
        text = render.render(name, {**variables(name), 'tls': tls})
        opened = re.findall(r'^ *<(\w+)', text, re.MULTILINE)
        closed = re.findall(r'^ *</(\w+)>', text, re.MULTILINE)
        assert sorted(opened) == sorted(closed)
        for line in text.splitlines():
            bare = line.replace('\\"', '')
            assert line.lstrip().startswith('#') or bare.count('"') % 2 == 0


@pytest.mark.parametrize('name', WHOLE)
def test_a_file_says_what_it_is_and_who_writes_it(name):
    text = (CHECKOUT / name).read_text()
    assert re.search(r'https://\S+', text)
    assert re.search('Written by glance-wsgi', text)


def test_a_script_says_where_its_configuration_is_and_that_it_is_loaded(
    tmp_path,
):
    (tmp_path / 'my_module.py').write_text(
        "import os\napplication = os.environ['OS_X']\n"
    )
    ready = tmp_path / 'it\'s "ready"'
    text = render.render(
        'application.wsgi.j2',
        {
            'name': 'x',
            'module': 'my_module',
            'digest': 'd',
            'environment': {'OS_X': 'a\'b"c\\'},
            'ready': ready,
        },
    )
    code = f'{text}\nprint(application)'
    result = subprocess.run(
        [sys.executable, '-c', code],
        env={'PYTHONPATH': str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert result.stdout == 'a\'b"c\\\n', result.stderr
    assert ready.exists()


@pytest.mark.parametrize('name', WHOLE)
def test_no_section_is_written_twice(name):
    text = render.render(name, variables(name))
    heads = [line for line in text.splitlines() if line.startswith('[')]
    assert len(heads) == len(set(heads))


@pytest.mark.parametrize('name', UWSGI)
def test_a_percent_sign_in_a_path_is_none_of_uwsgis_variables(name):
    text = ini(name, log='/100%d/log', pidfile='/100%p/pid')['uwsgi']
    assert text['logto'] == '/100%%d/log'
    assert text['pidfile'] == '/100%%p/pid'


@given(value=st.text('$%"\\{x', min_size=1, max_size=6))
def test_a_password_arrives_as_it_is(tmp_path_factory, value):
    # One more character, since a pair of quotes around all is taken off.
    value = f'mysql+pymysql://u:{value}@h/n'
    got = oslo(
        tmp_path_factory.mktemp('conf'),
        'glance-api.conf.j2',
        'connection',
        'database',
        database=value,
    )
    assert got == value


def test_own_settings_win(tmp_path):
    got = oslo(
        tmp_path,
        'glance-api.conf.j2',
        'flavor',
        'paste_deploy',
        own_settings_text='[paste_deploy]\nflavor = mine\n',
    )
    assert got == 'mine'


def test_a_chunk_of_exactly_the_limit_fits_with_its_line_end():
    limit = ini('uwsgi-app.ini.j2', chunk_limit=1000)['uwsgi']
    assert limit['chunked-input-limit'] == '1002'


def test_uwsgi_ends_no_import_and_no_slow_client_early():
    uwsgi = ini('uwsgi-app.ini.j2')['uwsgi']
    assert 'harakiri' not in uwsgi
    assert uwsgi['worker-reload-mercy'] == '3600'
    assert uwsgi['socket-timeout'] == uwsgi['chunked-input-timeout'] == '60'


def test_the_emperor_waits_as_long_as_its_vassals_may_take():
    emperor = ini('uwsgi-emperor.ini.j2')['uwsgi']
    assert emperor['reload-mercy'] == '3600'
    assert emperor['emperor-graceful-shutdown'] == 'true'


def test_uwsgi_has_no_options_that_do_nothing_without_a_router():
    for tls, socket in ((None, 'http-socket'), (TLS, 'https-socket')):
        uwsgi = ini('uwsgi-app.ini.j2', tls=tls)['uwsgi']
        found = [key for key in uwsgi if re.match('https?(-|$)', key)]
        assert found == [socket]


def test_no_secret_can_be_in_uwsgis_log():
    """A token is in a header, and %(var.HTTP_...) would log one."""
    for form in ('combined', 'json', 'none'):
        text = render.render(
            'uwsgi-app.ini.j2',
            {**variables('uwsgi-app.ini.j2'), 'access_log': form},
        )
        # Headers of the request that are read: what Apache calls combined,
        # and the id, to keep it clean.
        named = set(re.findall(r'HTTP_\w+', text))
        assert named <= {'HTTP_USER_AGENT', 'HTTP_X_OPENSTACK_REQUEST_ID'}
        assert ('log-format = ' in text) == (form != 'none')
        assert not re.search('^stats', text, re.MULTILINE)


@pytest.mark.parametrize('form', ['combined', 'json', 'none'])
def test_a_forged_id_is_taken_away_and_what_is_beside_the_path_refused_last(
    form,
):
    """A route that answers keeps those behind it from what they log."""
    text = render.render(
        'uwsgi-app.ini.j2',
        {**variables('uwsgi-app.ini.j2'), 'access_log': form},
    )
    routes = re.findall('^route.*', text, re.MULTILINE)
    wanted = 'addvar:HTTP_X_OPENSTACK_REQUEST_ID='
    assert [route for route in routes if route.endswith(wanted)]
    assert [route for route in routes if 'break:' in route] == routes[-1:]


def test_a_redirect_has_the_limits_and_the_log_of_the_site():
    name = 'apache-redirect.conf.j2'
    text = render.render(name, variables(name))
    for directive in ('LimitRequestFieldSize', 'CustomLog', 'ErrorLog'):
        assert re.search(f'^ *{directive} ', text, re.MULTILINE)


@pytest.mark.parametrize('modules', [['env'], ['env', 'ssl']])
def test_tls_sessions_have_a_place_where_there_is_tls(modules):
    name = 'apache.conf.j2'
    text = render.render(name, {**variables(name), 'modules': modules})
    assert ('SSLSessionCache ' in text) == ('ssl' in modules)


def test_a_line_of_the_json_log_is_an_object():
    text = ini('uwsgi-app.ini.j2', access_log='json')['uwsgi']
    line = re.sub(r'%\((status|rsize|msecs)\)', '1', text['log-format'])
    assert 'request_id' in json.loads(line)


def test_a_file_is_written_once_and_then_left_alone(tmp_path):
    file = render.File(
        path=tmp_path / 'apache.conf',
        template='apache-limits.conf.j2',
        variables={'client_timeout': 77},
        owner=state.Owner.myself(),
        mode=0o640,
    )
    assert file.write() is True
    assert file.write() is False
    assert 'Timeout 77' in file.path.read_text()
    assert file.path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ['apache.conf']


def test_every_template_renders_strictly():
    assert render.environment().undefined is jinja2.StrictUndefined
