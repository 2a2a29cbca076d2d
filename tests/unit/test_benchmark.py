"""The arithmetic of the benchmark, and what its figures come from."""

import contextlib
import http.server
import json
import pathlib
import subprocess
import sys
import threading
import types

import psutil
import pytest

TESTS = pathlib.Path(__file__).parents[1]
HERE = TESTS / 'perf' / 'benchmark'
sys.path += [str(HERE), str(TESTS / 'functional')]

import arithmetic  # noqa: E402
import measures  # noqa: E402
import runs  # noqa: E402
import tables  # noqa: E402
import toolkit  # noqa: E402
import works  # noqa: E402
from runs import Figure  # noqa: E402

MIB = 2**20


def test_the_median_is_the_middle_one_and_none_of_none():
    assert arithmetic.median([5, 1, 9]) == 5
    assert arithmetic.median([4, 2]) == 3
    assert arithmetic.median([]) is None


def test_a_ratio_compares_within_each_round():
    # The machine is twice as slow from round to round: so are both.
    ours = {0: 120, 1: 60, 2: 30}
    theirs = {0: 100, 1: 50, 2: 25}
    assert arithmetic.ratio(ours, theirs) == pytest.approx(1.2)


def test_a_round_that_only_one_has_makes_no_ratio():
    assert arithmetic.ratio({0: 8, 1: 3}, {0: 2}) == 4
    assert arithmetic.ratio({0: 8}, {1: 2}) is None
    assert arithmetic.ratio({0: 8}, {0: 0}) is None


def test_each_contender_begins_a_round():
    names = ['a', 'b', 'c']
    orders = [arithmetic.rotated(names, number) for number in range(4)]
    assert [order[0] for order in orders] == ['a', 'b', 'c', 'a']
    assert all(sorted(order) == names for order in orders)


@pytest.mark.parametrize(
    ('text', 'number'),
    [('17', 17), ('2KiB', 2048), ('16MiB', 16 * MIB), ('1GiB', 2**30)],
)
def test_a_size_may_have_a_unit(text, number):
    assert arithmetic.size(text) == number


@pytest.mark.parametrize('text', ['', 'GiB', '1GB', 'much'])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError):
        arithmetic.size(text)


OPTIONS = {'rounds': 3, 'size': 16 * MIB, 'seconds': 1, 'filesystem': 'ext4'}


def shown(per_second, case='16'):
    return {'work': 'show', 'case': case, 'per_second': per_second, 'p99': 0.1}


def add(run, number, **measured):
    """A round with what each contender has in it."""
    run.add(
        number,
        [
            types.SimpleNamespace(name=name, taken=1.0, measurements=found)
            for name, found in measured.items()
        ],
    )


@pytest.fixture
def run(tmp_path):
    """Three rounds of two contenders; the second hangs with 64 clients."""
    made = runs.Run(tmp_path / 'run.json', OPTIONS)
    hangs = {'work': 'show', 'case': '64', 'problem': 'no answer'}
    for number, factor in enumerate([1, 2, 4]):
        add(
            made,
            number,
            uwsgi=[shown(150 * factor)],
            devstack=[shown(100 * factor), hangs],
        )
    return made


def test_a_run_goes_on_with_what_it_has(run):
    again = runs.Run(run.path, OPTIONS)
    assert again.visits == run.visits
    assert again.has(2)
    assert not again.has(3)


def test_a_run_does_not_go_on_with_other_options(run):
    with pytest.raises(SystemExit, match='other options'):
        runs.Run(run.path, {**OPTIONS, 'size': MIB})


def test_a_record_is_never_half_written(run):
    assert json.loads(run.path.read_text()) == run.facts
    assert [item.name for item in run.path.parent.iterdir()] == ['run.json']


def test_a_cell_has_the_median_and_its_ratio(run):
    words = (Figure('show', '16', 'per_second'), '{:.0f}/s'.format)
    assert tables.cell(run, 'uwsgi', *words) == '300/s (1.50)'
    assert tables.cell(run, 'devstack', *words) == '200/s (1.00)'


def test_a_cell_without_a_figure_says_why(run):
    words = (Figure('show', '64', 'per_second'), '{:.0f}/s'.format)
    assert tables.cell(run, 'devstack', *words) == 'no answer'
    assert tables.cell(run, 'uwsgi', *words) == ''


def test_a_problem_in_a_minority_of_rounds_leaves_the_median(tmp_path):
    run = runs.Run(tmp_path / 'run.json', OPTIONS)
    hangs = {'work': 'show', 'case': '16', 'problem': 'no answer'}
    add(run, 0, uwsgi=[hangs])
    add(run, 1, uwsgi=[shown(10)])
    add(run, 2, uwsgi=[shown(30)])
    assert run.median('uwsgi', Figure('show', '16', 'per_second')) == 20
    assert run.problem('uwsgi', Figure('show', '16', 'per_second')) is None


def test_the_limit_of_an_upload_is_what_is_written_in_either_framing(tmp_path):
    run = runs.Run(tmp_path / 'run.json', OPTIONS)
    written = {'work': 'write', 'case': '4', 'bytes_per_second': 7.0}
    add(run, 0, limit=[written])
    for case in ('4', '4 chunked'):
        assert (
            run.median('limit', Figure('upload', case, 'bytes_per_second'))
            == 7
        )


def aims_of(run, word):
    """The lines of the table of aims that have a word in them."""
    (text,) = tables.aimed(run)
    return [line for line in text.splitlines() if word in line]


def test_an_aim_is_told_with_what_was_reached(run):
    lines = aims_of(run, 'show')
    requests, late = lines
    assert '1.50' in requests
    assert 'missed' not in requests
    assert late.endswith('1.000')


def test_an_aim_that_was_not_reached_is_told_so(tmp_path):
    run = runs.Run(tmp_path / 'run.json', OPTIONS)
    slower = {**shown(110), 'p99': 0.2}
    add(run, 0, uwsgi=[slower], devstack=[shown(100)])
    lines = aims_of(run, 'show')
    assert lines[0].endswith('1.100, missed')
    assert lines[1].endswith('2.000, missed')


def test_the_tables_are_made_of_all_that_was_measured(run):
    text = '\n\n'.join(tables.of(run))
    assert 'Show an image, requests' in text
    assert 'Uploads' not in text


def test_a_case_of_all_comes_before_the_next_case(monkeypatch):
    """What is compared is measured within minutes."""

    order = []

    def work(visit):
        for case in visit.contender.cases:
            yield case, lambda case=case: order.append(visit.name + case) or {}

    monkeypatch.setattr(
        works, 'WORKS', {'show': ('api', work), 'write': ('limit', work)}
    )
    kinds = {'a': ('api',), 'b': ('api', 'limit'), 'c': ('limit',)}
    visits = [
        works.Visit(
            types.SimpleNamespace(
                name=name,
                kinds=kinds[name],
                cases=('1', '4')[:number],
                ground=types.SimpleNamespace(token=lambda: 'token'),
                roots=lambda: [],
            ),
            1,
        )
        for number, name in enumerate(kinds, 1)
    ]
    works.measure(visits, ['write', 'show'])
    assert order == ['a1', 'b1', 'b4', 'b1', 'c1', 'b4', 'c4']
    found = [
        [(item['work'], item['case']) for item in visit.measurements]
        for visit in visits
    ]
    assert found == [
        [('show', '1')],
        [('show', '1'), ('show', '4'), ('write', '1'), ('write', '4')],
        [('write', '1'), ('write', '4')],
    ]


def test_a_contender_is_warm_after_two_good_seconds_with_its_new_token(
    monkeypatch,
):
    answered = iter([15, 20, 0, 16, 17, 99])
    monkeypatch.setattr(works.Visit, 'ask', lambda *words: next(answered))
    monkeypatch.setattr(works.time, 'monotonic', lambda: clock[0])
    tokens = iter(['first', 'second'])
    contender = types.SimpleNamespace(
        kinds=('api',),
        image='image',
        ground=types.SimpleNamespace(token=lambda: next(tokens)),
        roots=lambda: ['running'],
        loaded=lambda: True,
    )
    visit, clock = works.Visit(contender, 1), [10_000]
    visit.renew()
    assert (visit.token, next(answered)) == ('first', 99)
    clock = [10_000 + works.FRESH]
    visit.renew()
    assert visit.token == 'first'


def test_what_some_of_the_slow_clients_have_not_seen_is_no_figure():
    works.see_all(0, {})
    works.see_all(200, {'begun': 200})
    with pytest.raises(works.api.NoFigure, match='199 of 200 clients'):
        works.see_all(200, {'begun': 199, 'ended': {'502': 1}})


BURNS = """
import subprocess, sys, time
code = 'import time\\nwhile time.process_time() < 0.3: pass'
subprocess.run([sys.executable, '-c', code])
print('ended', flush=True)
sys.stdin.read()
"""


def test_the_cpu_time_of_a_child_that_has_ended_is_counted():
    with subprocess.Popen(
        [sys.executable, '-c', BURNS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        root = psutil.Process(process.pid)
        process.stdout.readline()
        assert measures.cpu_seconds([root]) >= 0.3
        assert measures.family([root]) == [root]
        process.communicate()
    assert measures.cpu_seconds([root]) == 0


SHARES = """
import os, sys
shared = bytearray(os.urandom(2**16)) * 1024
if not os.fork():
    own = bytearray(os.urandom(2**16)) * 256
    print('made', flush=True)
    sys.stdin.read()
    os._exit(0)
sys.stdin.read()
os.wait()
"""


def test_memory_that_processes_share_is_divided_among_them():
    with subprocess.Popen(
        [sys.executable, '-c', SHARES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        process.stdout.readline()
        child, parent = measures.anonymous([psutil.Process(process.pid)])
        assert 45 * MIB < child < 70 * MIB
        assert 30 * MIB < parent < 50 * MIB
        process.communicate()


def test_who_works_is_waited_for(monkeypatch):
    used = iter([0, 1, 2, 2.01, 2.02])
    monkeypatch.setattr(measures, 'cpu_seconds', lambda roots: next(used))
    monkeypatch.setattr(measures.time, 'sleep', lambda seconds: None)
    measures.rest([], 60)
    assert next(used) == 2.02


SHELTERS = """
import subprocess, sys
child = subprocess.Popen([sys.executable, '-c',
    'import signal, time; signal.signal(15, signal.SIG_IGN);'
    'print(1, flush=True); time.sleep(600)'])
print(child.pid, flush=True)
child.wait()
"""


def test_a_family_is_killed_with_a_child_that_ignores_being_asked():
    with subprocess.Popen(
        [sys.executable, '-c', SHELTERS], stdout=subprocess.PIPE
    ) as process:
        numbers = [process.stdout.readline(), process.stdout.readline()]
        child = psutil.Process(max(int(line) for line in numbers))
        measures.kill([psutil.Process(process.pid)], 0.2)
        assert not toolkit.alive(child)


@contextlib.contextmanager
def server(status: int):
    """Answers with this status, then sends without an end."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            with contextlib.suppress(OSError):
                while status == 200:
                    self.wfile.write(bytes(2**14))

        def log_message(self, *words):
            """Nothing on stderr."""

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        try:
            yield f'http://127.0.0.1:{made.server_port}'
        finally:
            made.shutdown()
            thread.join()


def slow_clients(url, number):
    """What they say when they have begun, and when they are told to end."""
    task = {
        'url': url,
        'token': 'none',
        'ids': ['one'] * number,
        'kind': 'download',
        'size': 0,
        'within': 10,
    }
    with subprocess.Popen(
        [sys.executable, HERE / 'slow.py'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdin.write(json.dumps(task) + '\n')
        process.stdin.flush()
        begun = json.loads(process.stdout.readline())
        said, _ = process.communicate(timeout=10)
    return begun, json.loads(said)


def test_slow_clients_go_on_until_they_are_told_to_end():
    with server(200) as url:
        begun, ended = slow_clients(url, 5)
    assert begun == {'clients': 5, 'begun': 5, 'ended': {}}
    assert ended == begun


def test_slow_clients_that_are_refused_are_told_of():
    with server(503) as url:
        begun, _ = slow_clients(url, 5)
    assert begun == {'clients': 5, 'begun': 0, 'ended': {'503': 5}}
