"""Each smoke test fails when what it is about is broken, and no other does.

Guards against tests that can't fail, and against those that fail with
whatever is wrong somewhere else.
"""

import contextlib
import json
import pathlib
import shutil
import sysconfig

import glance_wsgi_faults
import pytest
import toolkit
from glance_wsgi_faults import FAULTS
from glance_wsgi_faults import WEB

from glance_wsgi.errors import Exit

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(
        toolkit.SERVER != 'uwsgi',
        reason='the filter is around Glance under every server: '
        '--server=uwsgi',
    ),
]

MEMBERS = 'role:admin or role:member'

POLICIES = {
    'test_a_reader_reads': {'get_images': MEMBERS},
    'test_a_reader_changes_nothing': {'add_image': 'role:reader'},
    'test_a_member_does_not_make_an_image_public': {
        'publicize_image': MEMBERS
    },
    'test_a_member_does_not_delete_what_others_publish': {
        'delete_image': MEMBERS
    },
    'test_an_administrator_sees_what_is_private': {
        'get_image': 'role:reader and project_id:%(project_id)s or '
        "'community':%(visibility)s or 'public':%(visibility)s or "
        "'shared':%(visibility)s or role:admin and not "
        "'private':%(visibility)s"
    },
}
"""Rules of Glance's policy that make just one test fail."""

ELSEWHERE = {'test_the_authorization_header_arrives'}
"""What a fault of the web server makes fail: `test_smoke_settings`."""

SLOW = 'test_an_upload_that_stalls_for_seconds_comes_back'

PASTE = """
[filter-app:glance-api-keystone]
paste.filter_factory = glance_wsgi_faults:factory
next = faultless
file = {file}

"""

# The filter reads the data of images, so Python has to send it.
SETTINGS = """
[transfers]
hand_off_downloads = false
[paste_deploy]
config_file = {paste}
[oslo_policy]
policy_file = {policy}
"""


class Faulty(toolkit.Deployed):
    """A deployment in which a fault can be set."""

    def __init__(self, state_dir: pathlib.Path) -> None:
        super().__init__(state_dir)
        self.place = state_dir.with_name('faults')
        self.fault = self.place / 'fault'
        self.policy = self.place / 'policy.yaml'

    def set_up(self) -> None:
        """Serve, with Glance inside the filter."""
        self.place.mkdir()
        self.fault.write_text('none')
        self.policy.write_text('{}')
        paste = self.place / 'paste.ini'
        shipped = pathlib.Path(
            sysconfig.get_path('data'), 'etc/glance/glance-api-paste.ini'
        )
        # With Glance's own under another name, inside the filter.
        paste.write_text(
            PASTE.format(file=self.fault)
            + shipped.read_text().replace(
                'composite:glance-api-keystone', 'composite:faultless'
            )
        )
        self.write_own_settings(
            toolkit.LOCAL_SETTINGS
            + SETTINGS.format(paste=paste, policy=self.policy)
        )
        self.up()

    @contextlib.contextmanager
    def broken(self, test: str):
        """While something is wrong that a test is about."""
        policies = POLICIES.get(test, {})
        self.fault.write_text('none' if policies else test)
        if policies:
            self.take(policies)
        try:
            yield
        finally:
            self.fault.write_text('none')
            if policies:
                self.take({})

    def take(self, policies: dict[str, str]) -> None:
        """Serve with these rules; one that is gone would stay in force."""
        self.policy.write_text(json.dumps(policies))
        self('reload')

    def smoke(self, uri: str, pattern: str) -> dict[str, tuple[str, str]]:
        """What has become of each test that matches, and why."""
        result = self(
            'smoke',
            f'--web-download-uri={uri}',
            '--format=json',
            pattern,
            check=False,
        )
        assert result.returncode in (Exit.OK, Exit.SMOKE_FAILED), result.stderr
        return {
            row['Test'].rpartition('.')[2]: (row['Result'], row['Reason'])
            for row in json.loads(result.stdout)
        }


@pytest.fixture(scope='module')
def filter_installed():
    """The filter, where the services find modules."""
    target = pathlib.Path(
        sysconfig.get_path('purelib'), 'glance_wsgi_faults.py'
    )
    shutil.copyfile(glance_wsgi_faults.__file__, target)
    target.chmod(0o644)
    yield
    target.unlink()


@pytest.fixture(scope='module')
def faulty(workspace, filter_installed):
    deployment = Faulty(workspace / 'faulty')
    try:
        deployment.set_up()
        yield deployment
    finally:
        deployment.purge()


@pytest.fixture
def uri(web):
    (web.directory / 'file').write_bytes(WEB)
    return f'{web.url}/file'


@pytest.fixture(scope='module')
def names(faulty):
    """The names of all smoke tests."""
    found = set(faulty.smoke('http://127.0.0.1:9/nothing', ''))
    assert len(found) > 40
    return found


def test_all_pass_while_nothing_is_wrong(faulty, uri):
    assert set(faulty.smoke(uri, '').values()) == {('passed', '')}


def test_there_is_a_fault_for_each_test(names):
    assert set(FAULTS) | set(POLICIES) | ELSEWHERE == names


@pytest.mark.parametrize('test', [*FAULTS, *POLICIES])
def test_a_fault_makes_just_its_test_fail(faulty, uri, test):
    # The slow one is left out where it is another's turn.
    pattern = '' if test == SLOW else f'^(?!.*{SLOW})'
    with faulty.broken(test):
        results = faulty.smoke(uri, pattern)
    failed = {
        name: why
        for name, (result, why) in results.items()
        if result != 'passed'
    }
    assert set(failed) == {test}, failed
