"""Pid files, and the real processes that they do or do not mean."""

import os
import signal
import subprocess
import sys
import time

import material
import psutil
import pytest

from glance_wsgi import processes
from glance_wsgi import servers

ME = os.geteuid()
SLEEP = [sys.executable, '-c', 'import time; time.sleep(60)']


@pytest.fixture
def child():
    with subprocess.Popen(SLEEP) as process:
        yield process
        process.kill()


@pytest.fixture
def pidfile(tmp_path, child):
    """The pid file that a server would have written."""
    path = tmp_path / 'pid'
    path.write_text(f'{child.pid}\n')
    return path


def shift(path, seconds):
    then = time.time() + seconds
    os.utime(path, (then, then))


def runs(process):
    """Whether it does; a zombie, which init has yet to see, does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_process_is_found_by_its_pid_file(pidfile, child):
    assert processes.from_pidfile(pidfile, ME) == psutil.Process(child.pid)


def test_a_process_is_found_long_after_it_wrote_the_file(pidfile, child):
    shift(pidfile, 3600)
    assert processes.from_pidfile(pidfile, ME).pid == child.pid


def test_a_process_that_began_after_the_file_has_a_recycled_pid(pidfile):
    shift(pidfile, -3600)
    assert processes.from_pidfile(pidfile, ME) is None


def test_clocks_may_differ_by_a_moment(pidfile, child):
    shift(pidfile, -processes.CLOCK_SLACK / 2)
    assert processes.from_pidfile(pidfile, ME).pid == child.pid


def test_a_process_of_another_user_is_not_ours(pidfile):
    assert processes.from_pidfile(pidfile, ME + 1) is None


def test_a_process_that_is_gone_is_not_found(pidfile, child):
    child.kill()
    child.wait()
    assert processes.from_pidfile(pidfile, ME) is None


def test_a_zombie_is_not_found(pidfile, child):
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    assert processes.from_pidfile(pidfile, ME) is None


@pytest.mark.parametrize(
    'text', ['', 'uwsgi', '-1', '0', '1.5', '9' * 30, '\0', '1 2', '99999999']
)
def test_a_file_without_a_pid_means_no_process(tmp_path, text):
    path = tmp_path / 'pid'
    path.write_text(text)
    assert processes.from_pidfile(path, ME) is None


def test_a_file_that_is_no_text_means_no_process(tmp_path):
    path = tmp_path / 'pid'
    path.write_bytes(b'\xff\xfe')
    assert processes.from_pidfile(path, ME) is None


def test_no_file_means_no_process(tmp_path):
    assert processes.from_pidfile(tmp_path / 'pid', ME) is None


def test_a_family_is_a_process_and_all_its_descendants():
    nested = f'import subprocess; subprocess.run({SLEEP!r})'
    with subprocess.Popen([sys.executable, '-c', nested]) as parent:
        process = psutil.Process(parent.pid)
        deadline = time.monotonic() + 30
        while not process.children() and time.monotonic() < deadline:
            time.sleep(0.01)
        family = processes.family(process)
        assert len(family) == 2
        assert family[0].pid == parent.pid
        processes.kill(family)
        assert parent.wait() == -signal.SIGKILL
        assert not any(runs(member) for member in family)
        assert processes.family(process) == []


def test_killing_what_is_gone_already_is_no_error(child):
    process = psutil.Process(child.pid)
    child.kill()
    child.wait()
    processes.kill([process])


def test_when_a_process_began_is_known_to_a_fraction_of_a_second():
    before = time.time()
    with subprocess.Popen(SLEEP) as process:
        after = time.time()
        began = processes.began(psutil.Process(process.pid))
        process.kill()
    tick = 2 / os.sysconf('SC_CLK_TCK')
    assert before - tick <= began <= after + tick


def test_a_name_with_brackets_does_not_hide_when_a_process_began():
    """The name is between brackets in /proc, and may have some itself."""
    name = 'f(x) 1 2'
    code = (
        f'open("/proc/self/comm", "w").write({name!r}); print(flush=True); '
        'import time; time.sleep(60)'
    )
    command = [sys.executable, '-c', code]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        found = psutil.Process(process.pid)
        assert found.name() == name
        assert abs(processes.began(found) - time.time()) < 30
        process.kill()


def test_a_process_that_has_ended_began_at_no_time(child):
    process = psutil.Process(child.pid)
    child.kill()
    child.wait()
    with pytest.raises(psutil.NoSuchProcess):
        processes.began(process)
    assert processes.age(process) == 0
    assert processes.title(process) == ''
    assert processes.children(process) == []
    assert processes.listening(process) == []
    assert not servers.began_before(process, time.time() + 60)


def test_the_older_of_two_processes_began_before_the_younger(child):
    time.sleep(0.05)
    moment = time.time()
    time.sleep(0.05)
    with subprocess.Popen(SLEEP) as younger:
        assert servers.began_before(psutil.Process(child.pid), moment)
        assert not servers.began_before(psutil.Process(younger.pid), moment)
        ages = [
            processes.age(psutil.Process(process.pid))
            for process in (child, younger)
        ]
        younger.kill()
    assert ages == sorted(ages, reverse=True)


def test_a_title_is_the_whole_command_line(child):
    process = psutil.Process(child.pid)
    # The kernel lets us go on a moment before the new program has its own.
    deadline = time.monotonic() + 5
    while not processes.title(process) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert processes.title(process) == ' '.join(SLEEP)


NEST = f"""if True:
    import subprocess, sys, time
    subprocess.Popen({SLEEP!r})
    print('started', flush=True)
    time.sleep(60)
"""


@pytest.fixture
def leader(tmp_path):
    """A process with a session of its own and a child, and its file."""
    command = [sys.executable, '-c', NEST]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={'HOME': str(tmp_path)},
    ) as process:
        process.stdout.readline()
        processes.remember(tmp_path / 'file', psutil.Process(process.pid))
        everything = processes.family(psutil.Process(process.pid))
        # Begun is not there yet: its environment is filled last.
        deadline = time.monotonic() + 30
        while 'HOME' not in everything[1].environ():
            assert time.monotonic() < deadline
        yield process, everything[1], tmp_path / 'file'
        processes.kill(everything)


def test_children_are_those_that_live(leader):
    process, child, _ = leader
    parent = psutil.Process(process.pid)
    assert processes.children(parent) == [child]
    child.kill()
    processes.wait([child], 10)
    assert processes.children(parent) == []


def test_a_session_is_its_leader_and_what_it_has_started(leader, tmp_path):
    process, child, file = leader
    found = processes.session(file, ME, tmp_path)
    assert found == [psutil.Process(process.pid), child]
    assert processes.remembered(file, ME) == found[0]


def test_a_session_of_somebody_else_is_none(leader, tmp_path):
    _, _, file = leader
    assert processes.session(file, ME + 1, tmp_path) == []


@pytest.mark.parametrize('reaped', [True, False])
def test_a_session_is_found_after_its_leader_was_killed(
    leader, tmp_path, reaped
):
    process, child, file = leader
    os.kill(process.pid, signal.SIGKILL)
    if reaped:
        process.wait()
    else:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert processes.session(file, ME, tmp_path) == [child]
    assert processes.remembered(file, ME) is None


def test_what_is_not_at_home_with_us_is_not_ours(leader, tmp_path):
    """The number may be the name of another session since."""
    process, _, file = leader
    assert processes.session(file, ME, tmp_path / 'other') == [
        psutil.Process(process.pid)
    ]


def test_another_process_of_the_same_number_is_not_remembered(leader):
    process, _, file = leader
    number, ticks, boot = file.read_text().split()
    file.write_text(f'{number} {int(ticks) - 1} {boot}')
    assert processes.remembered(file, ME) is None
    assert process.poll() is None


def test_nothing_of_an_earlier_boot_is_remembered(leader, tmp_path):
    _, _, file = leader
    number, ticks, boot = file.read_text().split()
    file.write_text(f'{number} {ticks} {boot[::-1]}')
    assert processes.session(file, ME, tmp_path) == []


@pytest.mark.parametrize('text', ['', 'apache', '1 2', '1 x y'])
def test_a_file_without_a_process_means_no_session(tmp_path, text):
    (tmp_path / 'file').write_text(text)
    assert processes.session(tmp_path / 'file', ME, tmp_path) == []
    assert processes.session(tmp_path / 'none', ME, tmp_path) == []


LISTEN = """if True:
    import socket, sys, time
    with socket.create_server(('127.0.0.1', 0)) as server:
        print(server.getsockname()[1], flush=True)
        sys.stdin.readline()
    time.sleep(60)
"""


def test_a_process_is_deaf_once_it_has_closed_its_socket():
    command = [sys.executable, '-c', LISTEN]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        port = int(process.stdout.readline())
        found = psutil.Process(process.pid)
        (socket,) = processes.listening(found)
        assert socket.laddr.port == port
        process.stdin.write(b'\n')
        process.stdin.flush()
        processes.wait_until_deaf(found, timeout=10)
        assert processes.listening(found) == []
        assert processes.alive(found)
        process.kill()


def test_what_is_asked_to_end_ends_and_what_refuses_is_killed():
    refuses = (
        'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); '
        'print(flush=True); time.sleep(60)'
    )
    command = [sys.executable, '-c', refuses]
    with (
        subprocess.Popen(SLEEP) as one,
        subprocess.Popen(command, stdout=subprocess.PIPE) as other,
    ):
        other.stdout.readline()
        processes.terminate(
            [psutil.Process(one.pid), psutil.Process(other.pid)], timeout=0.3
        )
        assert one.wait() == -signal.SIGTERM
        assert other.wait() == -signal.SIGKILL


@pytest.fixture
def deaf():
    with subprocess.Popen(
        [sys.executable, '-c', material.DEAF, 'SIGTERM'],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b'ready\n'
        yield psutil.Process(process.pid)
        process.kill()


def test_who_has_not_heard_that_it_shall_end_is_told_again(deaf, monkeypatch):
    monkeypatch.setattr(processes, 'AGAIN', 0.5)
    processes.ask_to_end([deaf])
    assert processes.wait([deaf], 0.2) == [deaf]
    assert not processes.wait_telling_again([deaf], 20, processes.ask_to_end)


def test_who_has_little_time_is_not_told_again(deaf):
    told = []
    assert processes.wait_telling_again([deaf], 0.1, told.append) == [deaf]
    assert not told


def test_nobody_is_told_again_who_has_ended(child):
    told = []
    child.kill()
    found = [psutil.Process(child.pid)]
    assert not processes.wait_telling_again(found, 20, told.append)
    assert not told
