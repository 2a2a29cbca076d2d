"""How a run of the smoke tests ends when something is killed or refused.

Guards against runs that pass because they were cut off, and against things
and processes that are left when a person or a failing Glance ends one.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
from xml.etree import ElementTree

import psutil
import pytest
import toolkit
import way
import yaml
from test_bad_input import one_line
from test_smoke_suite import everything
from test_smoke_suite import outcomes

from glance_wsgi.errors import Exit

PREFIX = re.compile(r'glance-wsgi-smoke-[0-9a-f]{8}')
SIMPLE = 'test_an_administrator_sees_what_is_private'
"""A test that makes one image and removes it."""


class Running:
    """A run that has been started.

    :ivar place: what it has as the directory for temporary files
    """

    def __init__(self, process: subprocess.Popen, place) -> None:
        self.process, self.place = process, place
        self.family: list[psutil.Process] = []

    def worker(self) -> psutil.Process:
        """The process that runs the tests; notes the others, too."""
        self.family = psutil.Process(self.process.pid).children(recursive=True)
        (found,) = [
            process
            for process in self.family
            if 'stestr.subunit_runner.run' in process.cmdline()
        ]
        return found

    def ended(self) -> tuple[int, str, str]:
        """Its exit code and what it said, as soon as it has ended."""
        out, said = self.process.communicate(timeout=300)
        assert 'Traceback' not in said
        return self.process.returncode, out, said

    def assert_nothing_is_left(self) -> None:
        """No process, and no file."""
        assert self.family
        assert not [p for p in self.family if toolkit.alive(p)]
        assert not list(self.place.iterdir())


@pytest.fixture
def start(deployed, tmp_path):
    """Starts a run, which is ended with the test if it still runs."""
    place = tmp_path / 'temporary'
    place.mkdir()
    with contextlib.ExitStack() as stack:

        def run(*words) -> Running:
            process = stack.enter_context(
                subprocess.Popen(
                    [
                        toolkit.BIN / 'glance-wsgi',
                        'smoke',
                        f'--state-dir={deployed.state_dir}',
                        '--format=json',
                        *words,
                    ],
                    env={**os.environ, 'TMPDIR': str(place)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            return Running(process, place)

        yield run


def ours(cloud) -> list[str]:
    """The names of the images that a run has made."""
    names = (image.name or '' for image in cloud.image.images())
    return [name for name in names if PREFIX.match(name)]


def credentials(member) -> list:
    """The member's application credentials."""
    user = member.current_user_id
    return list(member.identity.application_credentials(user))


# --- killed ---


def test_a_run_whose_worker_is_killed_fails(start, cloud):
    running = start('test_data')
    toolkit.until(
        lambda: [name for name in ours(cloud) if 'TestUploads' in name],
        'a test of the second class works',
    )
    running.worker().kill()
    code, out, said = running.ended()
    assert code == Exit.SMOKE_FAILED, said
    rows = json.loads(out)
    assert {row['Result'] for row in rows} == {'passed', 'FAILED'}
    reasons = [row['Reason'] for row in rows if row['Result'] == 'FAILED']
    assert 'It did not come to its end.' in reasons
    assert any(re.match(r'\d+ of \d+ tests were not run', r) for r in reasons)
    running.assert_nothing_is_left()


def test_all_that_is_left_is_removed(start, cloud, member):
    before = everything(cloud)
    running = start('stalls')
    toolkit.until(lambda: ours(cloud), 'a test works')
    worker = running.worker()
    worker.suspend()
    prefix = PREFIX.match(ours(cloud)[0])[0]
    leave_one_of_each(cloud, member, prefix)
    worker.kill()
    code, _, said = running.ended()
    assert code == Exit.SMOKE_FAILED, said
    assert 'left' not in said
    assert everything(cloud) == before
    running.assert_nothing_is_left()


def leave_one_of_each(cloud, member, prefix: str) -> None:
    """What a run may leave, and more images than a page has."""
    image = {'disk_format': 'raw', 'container_format': 'bare'}
    for number in range(101):
        made = member.image.post(
            '/images', json={'name': f'{prefix}-{number}', **image}
        )
        assert made.status_code == 201, made.text
    for change in (
        {'protected': True},
        {'os_hidden': True},
        {'os_hidden': True, 'protected': True},
        {'visibility': 'community'},
    ):
        made = member.image.post(
            '/images', json={'name': f'{prefix}-x', **image, **change}
        )
        assert made.status_code == 201, made.text
    cloud.image.create_metadef_namespace(
        namespace=f'{prefix}-space', visibility='private'
    )
    member.identity.create_application_credential(
        member.current_user_id, f'{prefix}-credential'
    )


# --- interrupted ---


@pytest.mark.parametrize('times', [1, 5], ids=['once', 'often'])
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_leaves_nothing(
    start, cloud, member, number, times
):
    before = everything(cloud)
    running = start('test_a_reader')
    toolkit.until(
        lambda: credentials(member), 'there is an application credential'
    )
    running.worker()
    said = interrupt(running.process, number, times)
    assert running.process.wait(120) == Exit.INTERRUPTED, said
    assert 'Traceback' not in said
    assert everything(cloud) == before
    running.assert_nothing_is_left()


def interrupt(process: subprocess.Popen, number: int, times: int) -> str:
    """Interrupt, and again as soon as it is said to be noted; what is said."""
    said = ''
    process.send_signal(number)
    for line in process.stderr:
        said += line
        if 'Cleaning up' in line and times > 1:
            times -= 1
            process.send_signal(number)
    return said


def test_a_worker_that_does_not_end_is_ended(start, cloud):
    before = everything(cloud)
    running = start('stalls')
    toolkit.until(lambda: ours(cloud), 'a test works')
    running.worker().suspend()
    running.process.send_signal(signal.SIGINT)
    code, _, said = running.ended()
    assert code == Exit.INTERRUPTED, said
    assert everything(cloud) == before
    running.assert_nothing_is_left()


# --- refused ---


@pytest.fixture
def smoke_by_way_of(deployed, cloud, tmp_path):
    """One test by way of something that does not do what it should."""

    def run(between, *words):
        path = deployed.state_dir / 'clouds.yaml'
        clouds = yaml.safe_load(path.read_text())
        with toolkit.another_region(cloud, between.url) as region:
            for entry in clouds['clouds'].values():
                entry['region_name'] = region
            file = tmp_path / 'clouds.yaml'
            file.write_text(yaml.safe_dump(clouds))
            return toolkit.glance_wsgi(
                'smoke',
                '--os-cloud=glance-wsgi-member',
                '--os-admin-cloud=glance-wsgi',
                '--format=json',
                *words,
                SIMPLE,
                env={'OS_CLIENT_CONFIG_FILE': str(file)},
                check=False,
            )

    yield run
    for image in cloud.image.images():
        if PREFIX.match(image.name or ''):
            cloud.image.delete_image(image)


def test_an_image_in_use_is_removed_when_it_is_not_any_more(
    deployed, cloud, smoke_by_way_of
):
    # The test believes the first answer.
    with way.Way(deployed.endpoint, [204, 409, 500]) as between:
        result = smoke_by_way_of(between)
    assert result.returncode == Exit.OK, result.stderr
    assert not ours(cloud)
    assert between.deletions == 4


@pytest.mark.parametrize('status', [204, 403])
def test_an_image_that_is_not_removed_is_told_by_its_name(
    deployed, cloud, smoke_by_way_of, status
):
    with way.Way(deployed.endpoint, [204, status]) as between:
        result = smoke_by_way_of(between)
    assert result.returncode == Exit.SMOKE_FAILED, result.stderr
    assert set(outcomes(result).values()) == {'passed'}
    (name,) = ours(cloud)
    (line,) = [line for line in result.stderr.splitlines() if name in line]
    assert str(status) in line


def test_the_results_are_shown_when_glance_goes_away(
    deployed, smoke_by_way_of, tmp_path
):
    junit = tmp_path / 'junit.xml'
    with way.Way(deployed.endpoint, [way.DEAD]) as between:
        result = smoke_by_way_of(between, f'--junit={junit}')
    assert result.returncode == Exit.SMOKE_FAILED, result.stderr
    assert set(outcomes(result).values()) == {'FAILED'}
    assert ElementTree.parse(junit).getroot().attrib['failures'] == '1'
    assert 'Traceback' not in result.stderr
    (line,) = [
        line
        for line in result.stderr.splitlines()
        if line.startswith("glance-wsgi: Can't look which images are left")
    ]
    assert PREFIX.search(line)


# --- the file of the results ---


@pytest.mark.parametrize('name', ['nowhere/junit.xml', ''])
def test_a_file_that_cannot_be_written_is_told_before_the_tests(
    deployed, tmp_path, name
):
    path = tmp_path / name
    result = deployed('smoke', f'--junit={path}', check=False)
    one_line(result, Exit.BAD_OPTION, path, 'No test was run.')


@pytest.mark.parametrize(
    ('killed', 'wanted'),
    [(False, Exit.BAD_OPTION), (True, Exit.SMOKE_FAILED)],
    ids=['tests_passed', 'test_failed'],
)
def test_the_table_is_shown_when_the_file_cannot_be_written_any_more(
    start, cloud, tmp_path, killed, wanted
):
    place = tmp_path / 'results'
    place.mkdir()
    running = start(f'--junit={place}/junit.xml', 'stalls')
    toolkit.until(lambda: ours(cloud), 'a test works')
    place.rmdir()
    if killed:
        running.worker().kill()
    code, out, said = running.ended()
    assert code == wanted, said
    assert str(place) in said
    assert json.loads(out)
