"""devstack with the plugin: stack, test, unstack, stack again, clean.

The tests of a variant follow one another on one machine, in this order; what
is left by one variant is met by the next.
"""

import re

import pytest
import stacked

ERRORS = '/opt/stack/logs/error.log'
LIST = 'openstack --os-cloud devstack image list -f value -c Name'
HEALTH = 'curl -sk -o /dev/null -w %{http_code}'

# What a process of the API has in its command line.
PROCESSES = {
    'mod_wsgi': r'\(wsgi:glance-api',
    'uwsgi': 'glance-api uWSGI worker',
    'apache-uwsgi': 'glance-api uWSGI worker',
}


def listening(stack, port):
    """The program that listens on a port; empty if nothing does."""
    return stack.machine('ss', '-ltnpH', f'sport = :{port}').stdout


def test_the_server_that_was_chosen_serves_as_the_stack_user(stack, variant):
    said = stack('ps -u stack -o args').check().said
    assert re.search(PROCESSES[variant.server], said)
    program = 'uwsgi' if variant.server == 'uwsgi' else 'apache2'
    assert program in listening(stack, 9292)
    assert program in listening(stack, 9293)


def test_images_are_listed_by_devstacks_own_client(stack, variant):
    assert stack(LIST).check().said.split() == ['small']


def test_the_drain_file_takes_the_node_out_and_in(stack, variant):
    file = '/etc/glance/healthcheck_disable'
    first, second = (
        f'{HEALTH} {variant.scheme}://127.0.0.1:{port}/healthcheck'
        for port in (9292, 9293)
    )
    asked = stack(
        f'{first}; touch {file}; {first}; {second}; rm {file}; {first}'
    )
    assert asked.check().said == '200503200200'


def test_the_smoke_tests_pass(stack, variant):
    ended = stack(
        'glance-wsgi smoke --os-cloud devstack --os-admin-cloud devstack-admin'
    )
    assert ended.code == 0, ended.said[-4000:]
    assert re.search(
        r'^\d\d+ passed, \d+ skipped, 0 FAILED', ended.said, re.MULTILINE
    )


def test_tempests_tests_of_the_images_api_pass(stack, variant):
    ended = stack(
        'cd ../tempest && .tox/tempest/bin/tempest run'
        ' --regex ^tempest\\\\.api\\\\.image --concurrency 2',
        stacked.STACK,
    )
    counts = dict(re.findall(r'^ - (\w+): (\d+)$', ended.said, re.M))
    assert ended.code == 0, ended.said[-4000:]
    assert counts['Failed'] == '0'
    assert int(counts['Passed']) >= 50


def test_unstack_stops_it(stack, variant):
    stack('./unstack.sh').check()
    assert not listening(stack, 9292)
    assert not listening(stack, 9293)
    assert not re.search(
        PROCESSES[variant.server], stack('ps -e -o args').said
    )


def test_stack_again_serves_again(stack, variant):
    stack('./stack.sh', stacked.STACK).check()
    assert stack(LIST).check().said.split() == ['small']
    assert listening(stack, 9293)


def test_clean_leaves_nothing(stack, variant):
    stack('./clean.sh').check()
    assert stack.left_over() == stack.before


@pytest.fixture
def failing(stack):
    """A machine on which stack.sh is to fail; nothing of that is left."""
    # The system's Python has all of it already.
    variant = stacked.Variant('uwsgi', virtualenv=False)
    yield lambda *settings: stack.configure(variant, *settings)
    stack('./unstack.sh').check()
    stack('./clean.sh').check()
    assert stack.left_over() == stack.before


def named(stack, cause):
    """The cause is the last word, and where devstack collects errors."""
    ended = stack('./stack.sh', stacked.STACK)
    assert ended.code
    error = stack.machine.file(ERRORS).read_text()
    assert re.search(cause, error), error
    assert re.search(cause, ended.said)


def test_a_stack_that_fails_names_the_cause(stack, failing):
    failing('GLANCE_WSGI_SERVER=gunicorn')
    named(stack, 'GLANCE_WSGI_SERVER is "gunicorn": give uwsgi, apache-uwsgi')


def test_a_stack_whose_server_is_refused_names_the_cause(stack, failing):
    failing()
    stack.machine(
        *('systemd-run', '--unit=other-program'),
        *('python3', '-m', 'http.server', '9292'),
    )
    try:
        named(stack, r'g-api did not start: .*\b9292\b')
        assert 'python3' in listening(stack, 9292)
    finally:
        stack.machine('systemctl', 'stop', 'other-program')
