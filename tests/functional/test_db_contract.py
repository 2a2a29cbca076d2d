"""What a plan of the database's upgrade takes from Glance, on each Glance.

Guards against a Glance whose private names or command line have changed.
"""

import os
import re
import subprocess

import pytest
import toolkit
import upgrades

from glance_wsgi.db import glance

smoke = pytest.mark.smoke


def run(program, *words, env=None):
    """A program of the virtualenv, with no configuration but what is named."""
    return subprocess.run(
        [toolkit.BIN / program, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd='/',
        env={**os.environ, **(env or {})},
    )


@pytest.fixture
def old(tmp_path):
    """A database of Rocky, with rows that Train wants migrated."""
    with upgrades.sqlite(tmp_path) as database:
        database.upgrade_to_rocky()
        yield database


@smoke
def test_the_names_that_we_use_are_there():
    assert glance.branches() == ('expand', 'contract')
    assert set(glance.branches()) <= set(
        glance.scripts().revision_map._revision_map
    )
    found = {made.revision: made for made in glance.data_migrations()}
    assert found['pike_migrate01'].empty
    assert not found['train_migrate01'].empty
    assert all(made.summary for made in found.values())
    known = {
        glance.release(made.revision)
        for made in glance.scripts().walk_revisions()
    }
    assert {glance.release(name) for name in found} <= known


@smoke
@pytest.mark.parametrize(
    ('kind', 'online'),
    [('sqlite', True), ('mysql', True), ('postgresql', False)],
)
def test_glance_says_which_databases_have_phases(kind, online):
    assert glance.online(kind) is online


@smoke
def test_the_exit_codes_lead_from_an_old_database_to_head(old):
    words = [f'--config-file={old.config}', 'db']
    seen = []
    while True:
        asked = run('glance-wsgi-manage', *words, 'sync', '--check')
        seen.append(asked.returncode)
        assert len(seen) < 5, asked
        match asked.returncode:
            case 0:
                break
            case 3:
                done = run('glance-wsgi-manage', *words, 'expand')
            case 4:
                done = run('glance-wsgi', 'db', 'migrate', words[0])
            case 5:
                done = run('glance-wsgi-manage', *words, 'contract')
        assert done.returncode == 0, done
    assert seen == [3, 4, 5, 0]
    assert old.scalar(
        'SELECT COUNT(*) FROM image_locations '
        """WHERE meta_data = '{"store": "fast"}'"""
    ) == len(upgrades.IMAGES)


@smoke
def test_every_flag_of_glance_manage_is_understood(tmp_path):
    """Also the settings of logs, which are of no use here."""
    usage = run('glance-manage', '--help').stdout.split('\n\n')[0]
    flags = dict(re.findall(r'\[(--[a-z-]+)(?: ([A-Z_]+))?\]', usage))
    assert flags.keys() >= {'--config-file', '--config-dir', '--log-file'}
    config = tmp_path / 'glance-api.conf'
    config.write_text('[database]\nconnection = postgresql://h/n\n')
    words = [f'--config-file={config}']
    for flag, takes in flags.items():
        if flag not in ('--config-file', '--config-dir', '--version'):
            words += [flag, 'text'] if takes else [flag]
    asked = run('glance-wsgi-manage', *words, 'db', 'sync', '--check')
    assert asked.returncode == 37, asked


@smoke
@pytest.mark.parametrize(
    'name',
    [
        'glance-api.conf',
        'glance-manage.conf.d/x.conf',
        'glance-api.conf.d/x.conf',
    ],
)
def test_the_same_configuration_is_found_as_by_glance_manage(old, name):
    """In a directory or not, of which program: that differs with Glance."""
    file = old.config.parent / '.glance' / name
    file.parent.mkdir(parents=True)
    old.config.rename(file)
    env = {'HOME': str(old.config.parent)}
    theirs = run('glance-manage', 'db', 'version', env=env)
    ours = run('glance-wsgi-manage', 'db', 'sync', '--check', env=env)
    assert (theirs.returncode == 0) == (ours.returncode == 3), (theirs, ours)
    assert ours.returncode in (3, 24)


@pytest.mark.parametrize('words', ['', 'db_version', 'db nonsense'])
def test_all_else_is_what_glance_manage_makes_of_it(old, words):
    theirs, ours = (
        run(
            program,
            *([f'--config-file={old.config}'] if words else []),
            *words.split(),
        )
        for program in ('glance-manage', 'glance-wsgi-manage')
    )
    assert ours.returncode == theirs.returncode
    assert ours.stdout == theirs.stdout
