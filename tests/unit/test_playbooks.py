"""What the playbooks say a second time, and has to stay the same."""

import argparse
import dataclasses
import pathlib

import yaml
from oslo_config import cfg

from glance_wsgi import conf
from glance_wsgi import size
from glance_wsgi.cmd import main

ROLES = pathlib.Path(__file__).parents[2] / 'playbooks' / 'roles'
PAGE = ROLES.parents[1] / 'doc' / 'source' / 'playbooks.rst'


def test_the_playbooks_know_each_option_of_install():
    program = main.App()
    factory, _, _ = program.command_manager.find_command(['install'])
    parser = factory(program, argparse.Namespace()).get_parser('install')
    known = yaml.safe_load((ROLES / 'glance_wsgi/vars/main.yaml').read_text())
    told = [*known['glance_wsgi_theirs'], *known['glance_wsgi_ours']]
    assert sorted(told) == sorted(
        action.dest for action in parser._actions if action.dest != 'help'
    )


def test_the_capacity_of_a_hundred_nodes_is_what_the_page_says():
    chosen = yaml.safe_load((ROLES / 'glance/defaults/main.yaml').read_text())
    options = cfg.ConfigOpts()
    for group, declared in conf.list_opts():
        options.register_opts(declared, group)
    options([])
    options.set_override('workers', 4, 'server')
    machine = size.Machine(cpus=4, memory=2**33)
    node = size.recommend(machine, options.server)
    pool = chosen['glance_database_pool']
    node = dataclasses.replace(node, pool=pool)
    requests = 100 * node.workers * node.threads
    text = PAGE.with_name('capacity.rst').read_text()
    assert f'\n     - {requests:,}\n' in text
    assert f'\n     - {requests:,} when every thread is busy, and' in text
    assert f'\n     - {100 * node.connections:,}\n' in text
    database = yaml.safe_load(
        (ROLES / 'database/defaults/main.yaml').read_text()
    )
    enough = database['database_connections'] // node.connections
    assert f'enough for {enough} nodes of 4 workers' in text


def test_the_page_has_the_defaults_of_every_role():
    text = PAGE.read_text()
    missing = [
        name
        for file in sorted(ROLES.glob('*/defaults/main.yaml'))
        if (name := f'playbooks/roles/{file.parts[-3]}/defaults/main.yaml')
        and f'.. literalinclude:: ../../{name}\n' not in text
    ]
    assert not missing
