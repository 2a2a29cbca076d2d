"""The known-bad values of the set-ups that people start from are found.

The files of samples/ are written like those of devstack, kolla-ansible,
Glance's documentation and tutorials.
"""

import pathlib

import pytest
from lint_cases import Machine

from glance_wsgi import lint
from glance_wsgi.lint.findings import Severity

SAMPLES = pathlib.Path(__file__).parent / 'samples'


def found(*names):
    """The rules that find something, without those that only inform."""
    # 192.0.2.254 is the address that the nodes share, and is here now.
    here = Machine(
        mode=0o100644,
        addresses={'192.0.2.10': False, '192.0.2.254': True},
        resolve={'192.0.2.254'},
    )
    findings = lint.lint([SAMPLES / name for name in names], here)
    return {item.rule for item in findings if item.severity > Severity.INFO}


def test_what_devstack_writes():
    assert found(
        'devstack-uwsgi.ini', 'devstack-apache.conf', 'devstack.service'
    ) == {
        'chunked-input-limit',
        'die-on-term',
        'ladder-client-server',
        'limit-request-body',
        'need-app',
        'proxy-100-continue',
        'proxy-sendcl',
        'reload-mercy',
        'request-read-timeout',
        'router-options',
        'single-thread',
        'socket-timeout',
    }


def test_what_devstack_wrote_with_mod_proxy_uwsgi():
    assert found('devstack-old-apache.conf') == {
        'limit-request-body',
        'proxy-uwsgi',
        'request-read-timeout',
    }


def test_what_kolla_ansible_writes():
    assert found('kolla-uwsgi.ini', 'kolla-glance-api.conf') == {
        'exit-on-reload',
        'need-app',
        'python-interpreter',
        'reload-mercy',
        'removed-script-uwsgi',
        'router-options',
        'secret-readable',
        'self-url-shared',
        'single-thread',
    }


def test_what_glances_documentation_shows():
    assert found('docs-mod-wsgi.conf') == {
        'limit-request-body',
        'removed-script-apache',
        'request-read-timeout',
        'wsgi-chunked-request',
        'wsgi-graceful-timeout',
        'wsgi-shutdown-timeout',
        'wsgi-single-thread',
    }


def test_what_tutorials_lead_to():
    assert found('hand-made.ini', 'hand-made-apache.conf') == {
        'buffer-size',
        'chunked-input-limit',
        'harakiri',
        'ladder-client-server',
        'lazy-apps',
        'limit-request-body',
        'listen-queue',
        'logged-token-apache',
        'master',
        'need-app',
        'proxy-100-continue',
        'proxy-slash',
        'python-threads',
        'reload-mercy',
        'request-read-timeout',
        'single-thread',
        'socket-timeout',
        'stats-socket',
    }


def test_what_is_left_of_glances_own_server():
    assert found('hand-made.service') == {'removed-server'}


@pytest.mark.parametrize('path', SAMPLES.iterdir(), ids=lambda p: p.name)
def test_every_finding_tells_its_file_and_its_lines_exist(path):
    lines = path.read_text().splitlines()
    for finding in lint.lint([path], Machine()):
        file, _, line = finding.where.partition(':')
        assert file == str(path)
        assert int(line or 1) <= len(lines)
