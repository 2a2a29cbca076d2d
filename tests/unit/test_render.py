"""The templates of httpd/, filled."""

import configparser
import os
import pathlib

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import meta
from oslo_config import cfg

from glance_wsgi import errors
from glance_wsgi import render
from glance_wsgi import state

CHECKOUT = pathlib.Path(__file__).parents[2] / 'httpd'
NAMES = sorted(file.name for file in CHECKOUT.glob('*.j2'))
INIS = [name for name in NAMES if name.endswith('.ini.j2')]
CONFS = [name for name in NAMES if name.endswith('.conf.j2')]

# Variables that are not text, which is what any other one is here.
VALUES = {
    'environment': {'OS_GLANCE_CONFIG_DIR': '/etc/glance'},
    'file_stores': {'fast': '/fast', 'cheap': '/cheap'},
    'stores': ['fast:file', 'cheap:file', 'web:http'],
    'default_store': 'fast',
    'listen': '127.0.0.1:9292',
    'listen_queue': 1024,
    'processes': 2,
    'threads': 16,
    'client_timeout': 60,
    'chunk_limit': 2**26,
    'mercy': 3600,
    'own_settings_text': '',
}


def variables(name):
    """Every variable of a template, with some value."""
    source = (CHECKOUT / name).read_text()
    tree = render.environment().parse(source)
    return {
        variable: VALUES.get(variable, f'/{variable}')
        for variable in meta.find_undeclared_variables(tree)
    }


def ini(name, **given):
    """A rendered file, read as ini; uWSGI and Paste may repeat a key."""
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
    assert name in str(caught.value)


@pytest.mark.parametrize('name', NAMES)
def test_a_template_ends_with_one_line_end_and_has_no_traces_of_jinja(name):
    text = render.render(name, variables(name))
    assert text.endswith('\n') and not text.endswith('\n\n')
    assert '{{' not in text and '{%' not in text


@pytest.mark.parametrize('name', INIS)
def test_a_rendered_ini_file_is_valid(name):
    assert ini(name).sections()


@pytest.mark.parametrize('name', CONFS)
def test_a_rendered_configuration_is_valid(tmp_path, name):
    assert oslo(tmp_path, name, 'connection', 'database')


@pytest.mark.parametrize('name', NAMES)
def test_no_section_is_written_twice(name):
    text = render.render(name, variables(name))
    heads = [line for line in text.splitlines() if line.startswith('[')]
    assert len(heads) == len(set(heads))


@pytest.mark.parametrize('name', [name for name in INIS if 'uwsgi' in name])
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
    uwsgi = ini('uwsgi-app.ini.j2')['uwsgi']
    assert [key for key in uwsgi if key.startswith('http-')] == ['http-socket']


def test_no_secret_can_be_in_uwsgis_log():
    """A token is in a header, and %(var.HTTP_...) would log one."""
    uwsgi = ini('uwsgi-app.ini.j2')['uwsgi']
    assert 'HTTP_' not in uwsgi['log-format']
    assert 'stats' not in uwsgi


def test_a_file_is_written_once_and_then_left_alone(tmp_path):
    file = render.File(
        path=tmp_path / 'paste.ini',
        template='glance-wsgi-paste.ini.j2',
        variables={'glance_paste_file': '/x.ini'},
        owner=state.Owner.myself(),
        mode=0o640,
    )
    assert file.write() is True
    assert file.write() is False
    assert 'config:/x.ini#' in file.path.read_text()
    assert file.path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ['paste.ini']


def test_every_template_renders_strictly():
    assert render.environment().undefined is jinja2.StrictUndefined
