"""What is installed lives as the services of a machine do.

Each server has a machine of its own, on which its tests run in this order.
"""

import contextlib
import json
import re
import subprocess
import types

import machine
import pytest
import snapshots

UNITS = {
    'uwsgi': ('glance-wsgi',),
    'apache-uwsgi': ('glance-wsgi', 'apache2'),
    'mod_wsgi': ('apache2',),
}

SETTINGS = '/var/lib/glance-wsgi/etc/glance-api.local.conf'
IMPORTS = """
[import_filtering_opts]
allowed_hosts = [127.0.0.1]
allowed_ports = []
"""


@pytest.fixture(scope='module', params=UNITS)
def installed(request, workspace, prepared):
    """A machine with one of the servers installed, and how it was before."""
    made = machine.Machine(workspace / request.param, prepared)
    try:
        made.boot()
        made.file(SETTINGS).write_text(IMPORTS)
        before = snapshots.of(made)
        said = made.glance_wsgi('install', f'--server={request.param}').stdout
        yield types.SimpleNamespace(
            machine=made,
            server=request.param,
            units=UNITS[request.param],
            before=before,
            said=said,
        )
    finally:
        made.remove()


def main_pid(machine, unit) -> int:
    return int(
        machine(
            'systemctl', 'show', '--property=MainPID', '--value', unit
        ).stdout
    )


def worker(machine) -> str:
    """The process id of one that has Glance in it."""
    pattern = r'glance-api uWSGI worker|wsgi:glance-api'
    return machine('pgrep', '-f', pattern).stdout.split()[0]


def test_what_is_installed_serves(installed):
    assert installed.said.endswith('Serving at http://127.0.0.1:9292.\n')
    assert installed.machine.serves()


def test_installing_it_again_changes_nothing(installed):
    before = snapshots.of(installed.machine, times=True)
    pids = [main_pid(installed.machine, unit) for unit in installed.units]
    said = installed.machine.glance_wsgi('install').stdout.splitlines()
    assert {line.split()[0] for line in said[:-1]} == {'unchanged'}
    assert snapshots.of(installed.machine, times=True) == before
    assert pids == [
        main_pid(installed.machine, unit) for unit in installed.units
    ]


def test_a_dry_run_shows_the_difference_and_writes_nothing(installed):
    before = snapshots.of(installed.machine, times=True)
    said = installed.machine.glance_wsgi(
        'install', '--dry-run', '--threads=5'
    ).stdout
    assert re.search(r'^changed +/etc/', said, re.MULTILINE)
    assert re.search(r'^unchanged +/etc/', said, re.MULTILINE)
    assert re.search(r'^\+.*threads ?= ?5', said, re.MULTILINE)
    assert snapshots.of(installed.machine, times=True) == before


def test_it_is_shown_and_checked_as_it_is_installed(installed):
    said = installed.machine.glance_wsgi('status', '--format=json').stdout
    shown = json.loads(said)
    assert shown['serving']
    assert shown['server'].startswith(installed.server)
    assert shown['processes']
    checked = installed.machine.glance_wsgi('check', check=False)
    assert checked.returncode == 0, checked.stdout
    assert 'Checked ' in checked.stderr


def test_a_check_looks_at_the_whole_unit_of_apache(installed):
    if 'apache2' not in installed.units:
        pytest.skip('it has no Apache')
    name = '/etc/systemd/system/apache2.service.d/zz.conf'
    more = installed.machine.file(name)
    more.write_text(
        '[Service]\nTimeoutStopSec=90\nExecStop=\nKillSignal=SIGTERM\n'
    )
    try:
        checked = installed.machine.glance_wsgi(
            'check', '--format=json', check=False
        )
    finally:
        more.unlink()
    found = json.loads(checked.stdout)
    rules = {one['rule'] for one in found if name in one['where']}
    assert {'unit-apache-stop', 'ladder-mercy-stop'} <= rules


def test_it_can_be_stopped_and_started(installed):
    for unit in reversed(installed.units):
        installed.machine('systemctl', 'stop', unit)
    assert not installed.machine.serves()
    for unit in installed.units:
        installed.machine('systemctl', 'start', unit)
    machine.until(installed.machine.serves, 'it serves after a start')


def test_it_can_be_restarted(installed):
    for unit in installed.units:
        before = main_pid(installed.machine, unit)
        installed.machine('systemctl', 'restart', unit)
        assert main_pid(installed.machine, unit) != before
    machine.until(installed.machine.serves, 'it serves after a restart')


@contextlib.contextmanager
def a_download_and_an_import(installed):
    """Both go on while the block runs, and have to come out right."""
    both = subprocess.Popen(
        installed.machine.ask(program='transfers.py'),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert both.stdout.readline() == 'begun\n'
        yield
        machine.until(
            installed.machine.serves, 'it serves after that', within=180
        )
        seen = json.loads(both.communicate('\n')[0])
    finally:
        both.kill()
        both.wait()
    assert seen['downloaded'] == seen['wanted']
    assert seen['imported'] == seen['wanted']


def test_a_stop_cuts_no_download_and_no_import(installed):
    """Apache's own stop cuts what is left after ten seconds."""
    for unit in reversed(installed.units):
        with a_download_and_an_import(installed):
            installed.machine('systemctl', 'stop', unit)
            installed.machine('systemctl', 'start', unit)


def test_a_restart_cuts_no_download_and_no_import(installed):
    for unit in installed.units:
        with a_download_and_an_import(installed):
            installed.machine('systemctl', 'restart', unit)


def test_a_rotation_of_logs_cuts_no_download_and_no_import(installed):
    """Debian's logrotate rule has Apache reloaded once a day."""
    if 'apache2' not in installed.units:
        pytest.skip('it has no Apache')
    log = '/var/log/apache2/glance-wsgi-access.log'
    with a_download_and_an_import(installed):
        installed.machine('mv', log, f'{log}.1')
        installed.machine('invoke-rc.d', 'apache2', 'reload')
    assert installed.machine.serves()
    machine.until(
        lambda: '/v2/images' in installed.machine.file(log).read_text(),
        'the new log has requests',
    )


def test_a_reload_fails_no_request_and_replaces_the_workers(installed):
    old = worker(installed.machine)
    asking = subprocess.Popen(
        installed.machine.ask('on'),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    if 'glance-wsgi' in installed.units:
        installed.machine('systemctl', 'reload', 'glance-wsgi')
    else:
        installed.machine.glance_wsgi('reload')
    seen = json.loads(asking.communicate()[0])
    assert seen['failures'] == []
    assert seen['asked'] > 10
    assert installed.machine('kill', '-0', old, check=False).returncode


def test_a_worker_that_crashes_is_started_again(installed):
    old = worker(installed.machine)
    installed.machine('kill', '-9', old)
    machine.until(installed.machine.serves, 'it serves after a crash')
    machine.until(
        lambda: worker(installed.machine) != old, 'there is another worker'
    )


def test_a_main_process_that_crashes_is_started_again(installed):
    for unit in installed.units:
        old = main_pid(installed.machine, unit)
        installed.machine('kill', '-9', old)
        machine.until(
            lambda unit=unit, old=old: (
                main_pid(installed.machine, unit) not in (0, old)
            ),
            'there is another main process',
        )
    machine.until(installed.machine.serves, 'it serves after a crash')


def test_it_serves_again_after_a_reboot(installed):
    installed.machine.shut_down()
    installed.machine.boot()
    machine.until(installed.machine.serves, 'it serves after a reboot')


def test_uninstalling_puts_back_what_was_there(installed):
    installed.machine.glance_wsgi('uninstall')
    assert (
        snapshots.differences(
            installed.before, snapshots.of(installed.machine)
        )
        == []
    )
    assert not installed.machine.serves()
    unit = installed.machine('systemctl', 'status', 'glance-wsgi', check=False)
    assert unit.returncode == 4  # no such unit
    again = installed.machine.glance_wsgi('uninstall', check=False)
    assert again.returncode == 58
