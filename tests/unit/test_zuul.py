"""The jobs: whole, documented, and made of playbooks that exist."""

import pathlib
import re

import pytest
import yaml

TOP = pathlib.Path(__file__).parents[2]
ITEMS = yaml.safe_load((TOP / '.zuul.yaml').read_text())
JOBS = {item['job']['name']: item['job'] for item in ITEMS if 'job' in item}
(PROJECT,) = (item['project'] for item in ITEMS if 'project' in item)
RUN = [name for name, job in JOBS.items() if not job.get('abstract')]
# Those of devstack and Zuul themselves.
FOREIGN = {'devstack-tempest'}
SERVERS = {'uwsgi', 'apache-uwsgi', 'mod_wsgi'}


def named(job):
    """The playbooks of a job."""
    for key in ('pre-run', 'run', 'post-run'):
        if key in job:
            yield job[key]


@pytest.mark.parametrize('name', JOBS)
def test_the_playbooks_of_a_job_exist(name):
    assert all((TOP / playbook).is_file() for playbook in named(JOBS[name]))


def test_every_playbook_is_one_of_a_job():
    used = {playbook for job in JOBS.values() for playbook in named(job)}
    there = (TOP / 'playbooks' / 'zuul').glob('*.yaml')
    assert used == {str(file.relative_to(TOP)) for file in there}


@pytest.mark.parametrize('name', JOBS)
def test_the_parent_of_a_job_is_known(name):
    parent = JOBS[name].get('parent')
    assert parent is None or parent in JOBS.keys() | FOREIGN


@pytest.mark.parametrize('pipeline', ['check', 'gate'])
def test_every_job_is_run_before_a_change_is_merged(pipeline):
    assert sorted(PROJECT[pipeline]['jobs']) == sorted(RUN)


def test_every_server_has_a_job_with_devstack():
    chosen = {
        job['vars']['devstack_localrc']['GLANCE_WSGI_SERVER']
        for job in JOBS.values()
        if job.get('parent') == 'glance-wsgi-devstack'
    }
    assert chosen == SERVERS


def test_settings_of_the_plugin_are_those_that_it_has():
    settings = (TOP / 'devstack' / 'settings').read_text()
    for job in JOBS.values():
        told = job.get('vars', {}).get('devstack_localrc', {})
        for name in told:
            if name.startswith('GLANCE_WSGI_'):
                assert re.search(rf'\b{name}\b', settings)


@pytest.mark.parametrize('name', JOBS)
def test_the_environments_of_a_job_are_those_of_tox(name):
    tox = (TOP / 'tox.ini').read_text()
    for wanted in (
        JOBS[name].get('vars', {}).get('glance_wsgi_environments', [])
    ):
        assert re.search(rf'\b{wanted.split("-")[0]}\b', tox)


def test_the_documentation_has_every_job_and_no_other():
    page = (TOP / 'doc' / 'source' / 'zuul.rst').read_text()
    rows = re.findall(r'^   \* - ``(glance-wsgi[\w-]*)``$', page, re.MULTILINE)
    assert sorted(rows) == sorted(RUN)
