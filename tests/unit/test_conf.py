"""The options: how they are declared, given, kept and read again."""

import argparse
import collections

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oslo_config import cfg

from glance_wsgi import conf
from glance_wsgi import errors
from glance_wsgi.cmd import base
from glance_wsgi.deployment import Deployment

OPTIONS = [(group, opt) for group, opts in conf.list_opts() for opt in opts]
IDS = [f'{group}.{opt.name}' for group, opt in OPTIONS]

# What a person can type; the first half is what means something in a file.
LINES = st.text('$%"\'\\#; x', max_size=5) | st.text(
    st.characters(codec='utf-8', exclude_characters='\r\n')
)


@pytest.mark.parametrize(('group', 'opt'), OPTIONS, ids=IDS)
def test_every_option_is_explained(group, opt):
    words = opt.help.split()
    assert len(words) > 5
    assert opt.help.endswith('.')
    assert opt.metavar


def test_no_flag_means_two_options():
    # Groups are invisible on the command line.
    count = collections.Counter(opt.dest for _, opt in OPTIONS)
    assert [name for name, times in count.items() if times > 1] == []


def test_no_flag_takes_the_place_of_a_verbs_own():
    own = {'state_dir', 'config_file', 'timeout', 'purge', 'help', 'debug'}
    assert not own & {opt.dest for _, opt in OPTIONS}


@pytest.mark.parametrize(('group', 'opt'), OPTIONS, ids=IDS)
def test_every_option_is_a_flag_that_shows_its_default(group, opt):
    parser = argparse.ArgumentParser()
    base.add_options(parser)
    flag = f'--{opt.name.replace("_", "-")}'
    found = vars(parser.parse_args([flag, 'x']))
    assert base.overrides(argparse.Namespace(**found))[opt.dest] == 'x'
    if isinstance(opt.default, str | int):
        assert f'(default: {opt.default})' in ' '.join(
            parser.format_help().split()
        ).replace('- ', '-')


def test_options_of_two_deployments_are_apart():
    one, two = conf.new(), conf.new()
    one([], default_config_files=[])
    two([], default_config_files=[])
    one.set_override('region', 'North', 'deployment')
    assert two.deployment.region == 'RegionOne'


@pytest.fixture
def place(tmp_path):
    """A state directory with a deployment in it."""
    keep(Deployment(tmp_path))
    return tmp_path


def keep(deployment):
    """What ``up`` does in order to read the options again next time."""
    deployment.state.etc.mkdir(exist_ok=True)
    deployment.state.options.write_text(deployment.options_text())
    deployment.state.write_marker({'glance': '33.0.0'})


def config_file(tmp_path, text):
    path = tmp_path / 'given.conf'
    path.write_text(text)
    return str(path)


def test_a_flag_wins_over_a_file_and_a_file_over_what_was_kept(place):
    keep(Deployment(place, overrides={'region': 'kept', 'listen': ':1'}))
    given = config_file(place, '[deployment]\nregion = file\nserver = file\n')
    merged = Deployment(place, given, {'server': 'flag'}).conf.deployment
    assert (merged.server, merged.region, merged.listen) == (
        'flag',
        'file',
        ':1',
    )


def test_what_was_kept_is_read_without_any_arguments(place):
    keep(Deployment(place, overrides={'workers': '3', 'stores': 'a:file'}))
    again = Deployment(place).conf
    assert again.server.workers == 3
    assert again.deployment.stores == {'a': 'file'}


def test_what_is_in_a_directory_that_is_no_deployment_is_not_read(tmp_path):
    (tmp_path / 'etc').mkdir()
    (tmp_path / 'etc' / 'glance-wsgi.conf').write_text('[server]\nworkers=9\n')
    assert Deployment(tmp_path).conf.server.workers is None


def test_only_what_differs_from_the_defaults_is_kept(tmp_path):
    text = Deployment(tmp_path, overrides={'threads': '8'}).options_text()
    assert [line for line in text.splitlines() if '=' in line] == [
        'threads = 8'
    ]


@given(value=LINES)
def test_a_kept_text_reads_back_as_it_was_typed(tmp_path_factory, value):
    place = tmp_path_factory.mktemp('state')
    keep(Deployment(place, overrides={'database': value}))
    assert Deployment(place).conf.deployment.database == value


@pytest.mark.parametrize('value', ['"', "'x'", '"x"', ' x ', '$region', '$$'])
def test_quotes_blanks_and_dollars_survive(place, value):
    keep(Deployment(place, overrides={'region': value}))
    assert Deployment(place).conf.deployment.region == value


def test_a_line_break_in_a_value_is_refused(place):
    with pytest.raises(errors.BadOption, match='region'):
        Deployment(place, overrides={'region': 'a\nworkers = 99'})


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('workers', 'many'),
        ('workers', '0'),
        ('threads', '-1'),
        ('stores', 'fast'),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_and_the_option_named(
    tmp_path, name, value
):
    with pytest.raises(errors.BadOption, match=name):
        Deployment(tmp_path, overrides={name: value})
    given = config_file(tmp_path, f'[server]\n{name} = {value}\n')
    if name in {opt.dest for group, opt in OPTIONS if group == 'server'}:
        with pytest.raises(errors.BadOption, match=name):
            Deployment(tmp_path, given)


@pytest.mark.parametrize(
    'text', ['threads = 3', '[server\n', '[server]\nthreads\n', '\0']
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path, text):
    with pytest.raises(errors.BadOption):
        Deployment(tmp_path, config_file(tmp_path, text))


def test_a_file_that_is_missing_is_refused_and_named(tmp_path):
    missing = str(tmp_path / 'a..b' / 'missing.conf')
    with pytest.raises(errors.BadOption, match=missing):
        Deployment(tmp_path, missing)


def test_the_global_options_stay_those_of_glance(tmp_path):
    Deployment(tmp_path)
    assert 'deployment' not in cfg.CONF


@pytest.mark.parametrize(
    'text', ['[deployment]\nlisen = x\n', '[deploiment]\nlisten = x\n']
)
def test_a_misspelt_name_in_a_config_file_is_named(tmp_path, text):
    file = tmp_path / 'x.conf'
    file.write_text(text)
    with pytest.raises(errors.BadOption) as caught:
        Deployment(tmp_path / 'state', str(file))
    assert 'is no option' in caught.value.cause
