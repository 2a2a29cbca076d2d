"""The documentation names everything there is, and nothing there isn't."""

import argparse
import importlib.metadata
import pathlib
import re

import pytest
from jinja2 import meta

from glance_wsgi import conf
from glance_wsgi import errors
from glance_wsgi import lint
from glance_wsgi import render
from glance_wsgi.cmd import main

TOP = pathlib.Path(__file__).parents[2]
DOCS = TOP / 'doc' / 'source'
TEMPLATES = TOP / 'httpd'

OPTIONS = [opt for _, opts in conf.list_opts() for opt in opts]
VERBS = sorted(
    found.name.replace('_', ' ')
    for found in importlib.metadata.entry_points(group='glance_wsgi.commands')
)
NAMES = sorted(file.name for file in TEMPLATES.glob('*.j2'))

FIELDS = ['Cause', 'Outcome', 'Action']

# Flags in the documentation that belong to other programs.
FOREIGN = {
    'ansible-playbook': {'--check', '--diff', '--limit'},
    'glance-manage': {'--version'},
    'glance-wsgi-manage': {'--check'},
    'gunicorn': {
        *('--bind', '--threads', '--worker-class', '--workers'),
        '--graceful-timeout',
    },
    'openstack': {'--disk-format', '--file', '--os-cloud'},
    'tempest': {'--regex'},
    'tests/perf': {
        *('--only', '--place', '--rounds', '--run', '--runs', '--seconds'),
        *('--size', '--work'),
    },
    'waitress': {'--listen', '--max-request-body-size', '--threads'},
}


def text(page):
    return (DOCS / page).read_text()


def sections(page, underline):
    """The text below each heading of one level, by heading."""
    found = re.split(
        rf'^(\S.*)\n{re.escape(underline)}+\n', text(page), flags=re.MULTILINE
    )
    return dict(zip(found[1::2], found[2::2], strict=True))


def rows(section):
    """The first column of a list-table, without its heading."""
    return re.findall(r'^   \* - ``(\w+)``$', section, re.MULTILINE)


def parsers():
    """The parser of each verb, and of the program itself."""
    program = main.App()
    yield program.parser
    for verb in VERBS:
        factory, _, _ = program.command_manager.find_command(verb.split())
        yield factory(program, argparse.Namespace()).get_parser(verb)


def flags():
    return {
        flag
        for parser in parsers()
        for action in parser._actions
        for flag in action.option_strings
    }


@pytest.mark.parametrize('opt', OPTIONS, ids=lambda opt: opt.name)
def test_every_option_has_its_use_described(opt):
    prose, _ = text('configuration.rst').split('.. show-options::')
    assert f'``--{opt.name.replace("_", "-")}``' in prose


def test_the_reference_of_options_is_made_from_their_declarations():
    assert '.. show-options::\n\n   glance_wsgi\n' in text('configuration.rst')
    (found,) = importlib.metadata.entry_points(
        group='oslo.config.opts', name='glance_wsgi'
    )
    assert found.load() is conf.list_opts


def test_there_are_verbs():
    assert {'up', 'down', 'status'} <= set(VERBS)


@pytest.mark.parametrize('verb', VERBS)
def test_every_verb_has_a_reference_and_an_example(verb):
    page = text('commands.rst')
    directive = (
        '.. autoprogram-cliff:: glance_wsgi.commands\n'
        rf'   :command: {verb}$'
    )
    assert re.search(directive, page, re.MULTILINE)
    assert re.search(rf'^   \$ glance-wsgi {verb}\b', page, re.MULTILINE)


def test_no_page_names_a_verb_that_does_not_exist():
    for page in DOCS.glob('*.rst'):
        named = re.findall(r'(?:\$ |``)glance-wsgi ([a-z]+)', page.read_text())
        known = {verb.split()[0] for verb in VERBS} | {'help'}
        assert set(named) <= known, page.name


def test_no_page_names_a_flag_that_does_not_exist():
    known = flags().union(*FOREIGN.values())
    for page in DOCS.glob('*.rst'):
        named = re.findall(r'(?<![\w-])--[a-z][a-z-]*', page.read_text())
        assert set(named) <= known, page.name


def test_every_exit_code_has_its_section_and_every_section_a_code():
    headings = sections('errors.rst', '-')
    assert set(headings) == {f'{code:d} {code.name}' for code in errors.Exit}


@pytest.mark.parametrize('heading', sections('errors.rst', '-'))
def test_every_error_has_a_cause_an_outcome_and_an_action(heading):
    section = sections('errors.rst', '-')[heading]
    fields = re.findall(r'^:(\w+): \S', section, re.MULTILINE)
    assert fields == ([] if heading == '0 OK' else FIELDS)


def test_the_page_on_upgrades_lists_every_code_that_a_check_may_end_with():
    named = re.findall(r'^   \* - (\d+)$', text('upgrades.rst'), re.MULTILINE)
    assert [*map(int, named)] == sorted(
        code
        for code in errors.Exit
        if code.name.startswith(('DATABASE_', 'MIGRATION_'))
        or code.name.endswith('_PENDING')
        or code in (errors.Exit.OK, errors.Exit.BAD_OPTION)
    )


def test_every_template_has_its_section_and_every_section_a_template():
    headings = sections('templates.rst', '=')
    headings.pop('Templates')
    assert sorted(headings) == NAMES


@pytest.mark.parametrize('name', NAMES)
def test_every_variable_of_a_template_has_its_row_and_every_row_a_variable(
    name,
):
    source = (TEMPLATES / name).read_text()
    used = meta.find_undeclared_variables(render.environment().parse(source))
    assert sorted(rows(sections('templates.rst', '=')[name])) == sorted(used)


def test_every_file_in_httpd_is_a_template_or_explains_them():
    assert sorted(p.name for p in TEMPLATES.iterdir()) == sorted(
        ['README.rst', *NAMES]
    )


def checks():
    """The rows of the page of checks, by rule: severity, what, why."""
    found = {}
    for row in text('checks.rst').split('   * - ``')[1:]:
        name, *cells = re.split(r'\n     - ', row.split('\n\n')[0])
        found[name.rstrip('`')] = [' '.join(cell.split()) for cell in cells]
    return found


@pytest.mark.parametrize('rule', lint.RULES, ids=lambda rule: rule.id)
def test_every_rule_of_check_is_documented_as_it_is(rule):
    what = re.sub(r'{(\w+)}', lambda m: f'``{m[1].upper()}``', rule.what)
    assert checks()[rule.id] == [str(rule.severity), what, rule.why]


def test_no_rule_is_documented_that_does_not_exist():
    assert checks().keys() == {rule.id for rule in lint.RULES}


def test_every_event_of_a_task_is_seen_in_a_test():
    named = re.findall(r'``(test_\w+)``', text('tasks.rst'))
    there = ''.join(
        file.read_text()
        for file in (TOP / 'tests' / 'functional').glob('test_tasks_*.py')
    )
    assert len(named) > 10
    for name in named:
        assert f'def {name}(' in there


def test_every_page_is_reached_from_the_index():
    pages = {page.stem for page in DOCS.glob('*.rst')} - {'index'}
    named = set(re.findall(r'^   ([a-z-]+)$', text('index.rst'), re.MULTILINE))
    assert named == pages


def test_the_documented_series_are_those_that_have_constraints():
    named = re.findall(r'``([\d.]+)\.txt``', text('series.rst'))
    there = sorted(p.stem for p in (TOP / 'constraints').glob('*.txt'))
    assert sorted(named) == there
