"""Fixtures: a gate, and what the published suites say of it."""

import pathlib
import sys

import pytest

FUNCTIONAL = pathlib.Path(__file__).parents[1] / 'functional'
sys.path.insert(0, str(FUNCTIONAL))

import suites  # noqa: E402
import toolkit  # noqa: E402
import verdict  # noqa: E402


def pytest_configure(config):
    toolkit.SERVER = config.getoption('--server')


@pytest.fixture(scope='session')
def workspace():
    """Where the deployment is, and Tempest's own files."""
    with toolkit.workspace() as path:
        yield path


@pytest.fixture(scope='session')
def gate(workspace):
    """A deployment with all that Tempest needs."""
    deployment = toolkit.Deployed(workspace / 'gate')
    try:
        deployment.write_own_settings(
            suites.SLOW_SOURCE.format(address=suites.outgoing_address())
        )
        deployment.up(*toolkit.gate_options())
        yield deployment
    finally:
        deployment.purge()


@pytest.fixture(scope='session')
def results(gate, workspace, request):
    """What became of each test, in both passes together."""
    config = gate.state_dir / 'tempest.conf'
    first = suites.Run(config, workspace / 'first').run(suites.EVERYTHING)
    gate.write_own_settings(suites.OPPOSITE)
    gate('reload')
    opposite = suites.told_otherwise(
        config, workspace / 'opposite.conf', suites.OPPOSITE_TOLD
    )
    second = suites.Run(opposite, workspace / 'second').run(
        suites.OPPOSITE_TESTS
    )
    found = verdict.combined(first, second)
    request.config.stash[RESULTS] = found
    return found


RESULTS = pytest.StashKey[list]()


def pytest_terminal_summary(terminalreporter, config):
    """Tell the figures, and each skip."""
    found = config.stash.get(RESULTS, None)
    if found is None:
        return
    terminalreporter.section(f'published suites, {toolkit.SERVER}')
    figures = verdict.counts(found)
    terminalreporter.line(
        ', '.join(f'{number} {word}' for word, number in figures.items())
    )
    for one in found:
        if one.status != 'success':
            said = one.said.strip().splitlines() or ['']
            terminalreporter.line(f'{one.status}: {one.test}: {said[-1]}')
