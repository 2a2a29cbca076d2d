"""The numbers of a deployment: how they are found, and who uses them."""

import json
import re

import material
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glance_wsgi import conf
from glance_wsgi import errors
from glance_wsgi import size
from glance_wsgi.cmd import main
from glance_wsgi.errors import Exit

GIB = 2**30


def wanted(**options):
    """The options of a server; those that are not given have defaults."""
    made = conf.new()
    made([], default_config_files=[])
    for name, value in options.items():
        made.set_override(name, value, 'server')
    return made.server


def machine(cpus=2, memory=8 * GIB, somaxconn=4096):
    return size.Machine(cpus, memory, somaxconn)


def recommend(on=None, others=0, **options):
    return size.recommend(on or machine(), wanted(**options), others)


@pytest.mark.parametrize(
    ('cpus', 'workers'), [(1, 2), (2, 2), (4, 4), (8, 8), (64, 8)]
)
def test_there_is_a_worker_for_each_cpu_within_limits(cpus, workers):
    assert recommend(machine(cpus)).workers == workers


def test_workers_are_no_more_than_the_memory_has_room_for():
    room = 3 * size.PROCESS + 200 * size.SLOW_UPLOAD
    assert recommend(machine(8, room)).workers == 3
    assert recommend(machine(8, room - 1)).workers == 2


def test_workers_are_no_more_than_the_database_can_serve():
    assert recommend(machine(8), db_connections=18).workers == 3


@given(
    cpus=st.integers(1, 256),
    memory=st.integers(1, 2**42),
    slow=st.integers(1, 5000),
    connections=st.integers(1, 2000),
    others=st.integers(0, 2),
)
def test_what_is_recommended_fits_to_the_machine(
    cpus, memory, slow, connections, others
):
    on = machine(cpus, memory)
    try:
        found = recommend(
            on, others, slow_clients=slow, db_connections=connections
        )
    except errors.SizeImpossible:
        one = size.PROCESS + slow * size.SLOW_UPLOAD
        assert memory < one or connections < 6 * (1 + others)
        return
    assert found.memory <= memory
    each = found.pool + size.ENGINE_CONNECTIONS
    assert (found.workers + others) * each <= connections
    # Whoever is fast finds a thread while all the slow ones are there.
    left = found.workers * found.threads - slow
    assert left >= found.workers * size.FAST_THREADS


def test_two_hundred_slow_uploads_leave_threads_for_others():
    found = recommend()
    assert found.workers * found.threads >= 200 + 2 * 16


def test_what_a_person_has_chosen_is_not_questioned():
    found = recommend(machine(1, 1), workers=9, threads=3)
    assert (found.workers, found.threads) == (9, 3)


def test_a_pool_is_no_larger_than_its_threads_can_use():
    found = recommend(threads=4, db_connections=1000)
    assert found.pool == 4 + size.TASKS


def test_the_queue_is_no_longer_than_the_kernel_allows():
    assert recommend(machine(somaxconn=128)).listen_queue == 128
    assert recommend(machine(somaxconn=None)).listen_queue == 1024


def test_connections_are_those_of_threads_or_those_of_a_pool():
    assert size.connections(2, 16, 16) == 64
    assert size.connections(2, 16, 16, limit=10) == 20


@pytest.fixture
def ask(capsys, tmp_path):
    """Run the verb; the exit code and what was said."""

    def ask(*words):
        code = main.main(['size', '--state-dir', str(tmp_path / 'x'), *words])
        return code, capsys.readouterr()

    return ask


def test_the_verb_says_each_number_and_why(ask):
    code, said = ask('--cpus', '4', '--memory', '8192', '-f', 'json')
    assert code == Exit.OK, said.err
    rows = {row['setting']: row for row in json.loads(said.out)}
    assert rows['workers']['value'] == 4
    assert rows['threads']['value'] == 66
    assert rows['db_connections']['value'] <= 100
    assert rows['client_timeout']['value'] == 60
    assert rows['staging_bytes']['value'] == 20 * GIB
    for row in rows.values():
        assert re.fullmatch(r'[A-Z1-9].*\.', row['why'])


@pytest.mark.parametrize(
    ('words', 'setting', 'said'),
    [
        (('--workers', '12'), 'workers', 'As many as --workers says;'),
        (('--workers', '2'), 'threads', '16 are left for everybody else.'),
        (
            ('--workers', '2', '--threads', '110'),
            'threads',
            'as --threads says, 10 are left for everybody else.',
        ),
        (
            ('--workers', '2', '--threads', '8'),
            'threads',
            'as --threads says, none are left for everybody else.',
        ),
    ],
)
def test_what_a_person_chose_is_not_called_a_recommendation(
    ask, words, setting, said
):
    _, shown = ask(*words, '-f', 'json')
    (why,) = (
        row['why']
        for row in json.loads(shown.out)
        if row['setting'] == setting
    )
    assert said in why


def test_the_table_fits_a_terminal(ask):
    code, said = ask('--max-width', '80')
    assert code == Exit.OK
    assert max(len(line) for line in said.out.splitlines()) <= 80


@pytest.mark.parametrize(
    ('words', 'code', 'named'),
    [
        (('--cpus', '0'), Exit.BAD_OPTION, '--cpus'),
        (('--cpus', '-1'), Exit.BAD_OPTION, '--cpus'),
        (('--cpus', 'two'), Exit.BAD_OPTION, '--cpus'),
        (('--cpus', '²'), Exit.BAD_OPTION, '--cpus'),
        (('--memory', '8GiB'), Exit.BAD_OPTION, '--memory'),
        (('--memory', '349'), Exit.SIZE_IMPOSSIBLE, '349 MiB'),
        (('--slow-clients', '0'), Exit.BAD_OPTION, '--slow-clients'),
        (('--slow-clients', 'x'), Exit.BAD_OPTION, '--slow-clients'),
        (
            ('--memory', '8192', '--slow-clients', '99999'),
            Exit.SIZE_IMPOSSIBLE,
            '99999 slow clients',
        ),
        (('--db-connections', '5'), Exit.SIZE_IMPOSSIBLE, '6 connections'),
        (('--db-connections', '0'), Exit.BAD_OPTION, '--db-connections'),
    ],
)
def test_what_makes_no_sense_is_one_line(ask, words, code, named):
    # "--cpus -1" looks like a flag without its own "=".
    given_code, said = ask('='.join(words[:2]), *words[2:])
    assert given_code == code
    assert named in said.err
    assert len(said.err.splitlines()) == 1


def test_a_deployment_uses_the_numbers_that_the_verb_shows(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(size.Machine, 'here', machine)
    _, wanted_files = material.rendered(
        tmp_path, server='uwsgi', slow_clients='80', db_connections='60'
    )
    glance = wanted_files[-1]
    found = recommend(slow_clients=80, db_connections=60)
    assert (glance.processes, glance.threads) == (2, found.threads) == (2, 56)
    (text,) = [
        file.path.read_text()
        for file in glance.files
        if file.path.name == 'glance-api.conf'
    ]
    assert f'max_pool_size = {found.pool}\n' in text
    assert 'max_overflow = 0\n' in text


def test_a_second_node_shares_the_connections(tmp_path, monkeypatch):
    monkeypatch.setattr(size.Machine, 'here', machine)
    deployed = material.deployment(tmp_path, profile='gate')
    alone = material.deployment(tmp_path / 'alone')
    assert deployed.size.pool < alone.size.pool


def test_a_machine_that_is_too_small_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(size.Machine, 'here', lambda: machine(1, GIB // 4))
    with pytest.raises(errors.SizeImpossible):
        _ = material.deployment(tmp_path).workers
