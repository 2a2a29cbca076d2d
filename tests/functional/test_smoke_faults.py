"""Each smoke test fails when what it is about is broken, and no other does.

Many faults are made at once, in as few runs of the suite as show of each fault
what it alone does: see `rounds`.

Guards against tests that can't fail, and against those that fail with
whatever is wrong somewhere else.
"""

import itertools
import json
import pathlib
import shutil
import sysconfig

import glance_wsgi_faults
import pytest
import toolkit
from glance import policies
from glance_wsgi_faults import ELSEWHERE
from glance_wsgi_faults import FAULTS
from glance_wsgi_faults import OTHER
from glance_wsgi_faults import POLICIES
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

ROUNDS = 8
"""Enough for 70 faults: so many halves do 8 rounds have."""


def rounds(names: list[str]) -> list[set[str]]:
    """Which faults are made at once, each time the suite is run.

    Each is in half of the rounds, and no two in the same ones. So of any two
    there is a round with this one and without that. If in each round just
    those tests fail whose fault is made, then

    * a fault makes no other test fail: that one passes in a round in which
      this fault is made, and its own isn't;
    * a test fails by its own fault, not by any other: it passes in a round in
      which the other is made, and its own isn't.
    """
    halves = itertools.combinations(range(ROUNDS), ROUNDS // 2)
    found: list[set[str]] = [set() for _ in range(ROUNDS)]
    for name, half in zip(names, halves, strict=False):
        for number in half:
            found[number].add(name)
    return found


RULES = {rule.name: rule.check_str for rule in policies.list_rules()}
"""Glance's own policy."""

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
        self.fault.write_text('')
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

    def take(self, tests: set[str]) -> None:
        """Serve with what is wrong for these tests, and nothing else."""
        self.fault.write_text('\n'.join(tests & set(FAULTS)))
        # With Glance's own where nothing is wrong: that a rule is gone from
        # the file is not seen by oslo.policy, unlike that it has changed.
        rules = {
            name: RULES[name]
            for broken in POLICIES.values()
            for name in broken
        }
        for test in tests & set(POLICIES):
            rules |= POLICIES[test]
        self.policy.write_text(json.dumps(rules))

    def smoke(self, uri: str) -> dict[str, str]:
        """Why each test has failed, or was skipped; empty where it passed."""
        result = self(
            'smoke',
            f'--web-download-uri={uri}',
            '--format=json',
            check=False,
        )
        assert result.returncode in (Exit.OK, Exit.SMOKE_FAILED), result.stderr
        return {
            row['Test'].rpartition('.')[2]: (row['Reason'] or row['Result'])
            if row['Result'] != 'passed'
            else ''
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
    (web.directory / f'file{OTHER}').write_bytes(WEB[::-1])
    return f'{web.url}/file'


TESTS = [*FAULTS, *POLICIES]


def test_each_fault_is_made_without_any_other_one():
    made = rounds(TESTS)
    places = {
        test: {number for number in range(ROUNDS) if test in made[number]}
        for test in TESTS
    }
    for one, other in itertools.permutations(TESTS, 2):
        assert places[one] - places[other]


def test_all_pass_while_nothing_is_wrong_and_each_has_a_fault(faulty, uri):
    faulty.take(set())
    results = faulty.smoke(uri)
    assert not any(results.values()), results
    assert set(TESTS) | ELSEWHERE == set(results)


@pytest.mark.parametrize('number', range(ROUNDS))
def test_faults_make_just_their_tests_fail(faulty, uri, number):
    made = rounds(TESTS)[number]
    faulty.take(made)
    results = faulty.smoke(uri)
    failed = {test for test, why in results.items() if why}
    assert not made - failed, 'these pass, whatever is wrong'
    others = {test: results[test] for test in failed - made}
    assert not others, 'these fail by what is wrong elsewhere'
