"""Runs the smoke tests without a tempest.conf of the person's own.

By stestr, in a process of its own: Tempest keeps its configuration in globals
and is no guest for a process that goes on.
https://stestr.readthedocs.io/en/latest/MANUAL.html
"""

import configparser
import contextlib
import dataclasses
import io
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import psutil
import subunit
import testtools
import yaml

from glance_wsgi import errors
from glance_wsgi import processes
from glance_wsgi import state
from glance_wsgi.smoke import cloud
from glance_wsgi.smoke import leftovers

DIRECTORY = pathlib.Path(__file__).parent
TOP = DIRECTORY.parents[1]

PASSED, FAILED, SKIPPED = 'passed', 'FAILED', 'skipped'

_WORDS = {'success': PASSED, 'skip': SKIPPED}

_PATIENCE = 30.0  # seconds in which tests that are interrupted clean up
_BUILD_TIMEOUT = 60  # seconds for an import


@dataclasses.dataclass(frozen=True)
class Result:
    """What has become of a test.

    :param test: its name, without the package's
    :param outcome: PASSED, FAILED or SKIPPED
    :param seconds: how long it took
    :param reason: why it was skipped, or what has failed, in one line
    :param details: all that is known of a failure
    """

    test: str
    outcome: str
    seconds: float
    reason: str
    details: str


class Run:
    """One run of the smoke tests.

    :param member: whoever uses images
    :param admin: an administrator of the same cloud
    :param web_download_uri: see `config`
    :param given: the URL that is tested; else that of the catalogue
    :ivar left: what could not be removed or looked for, a sentence each
    """

    def __init__(
        self,
        member: cloud.Cloud,
        admin: cloud.Cloud,
        web_download_uri: str | None = None,
        given: str | None = None,
    ) -> None:
        self.member, self.admin = member, admin
        self.given = given
        self.prefix = f'glance-wsgi-smoke-{uuid.uuid4().hex[:8]}'
        self.web_download_uri = web_download_uri
        self.endpoint = ''
        self.left: list[str] = []

    def check(self) -> None:
        """Look at what the tests need.

        :raises errors.GlanceWSGIError: the first thing that is not there
        """
        self.member.check_keystone()
        self.member.log_in()
        access = self.admin.log_in()
        self.admin.check_is_beside(self.member)
        if cloud.ADMIN_ROLE not in access.role_names:
            raise errors.CloudUnknown(
                f'The cloud "{self.admin.name}" has no role '
                f'"{cloud.ADMIN_ROLE}".',
                "Name an administrator's with --os-admin-cloud.",
                cloud.NOTHING,
            )
        # Not asked for again: it may be gone when the tests have ended.
        self.endpoint = self.member.endpoint(self.given)

    def results(
        self,
        pattern: str,
        told: Callable[[Result], None],
        cleaning: Callable[[], None],
    ) -> list[Result]:
        """Run the tests, and remove what they leave, also when interrupted.

        `check` comes before.

        :param pattern: regular expression: those whose names it is found in
        :param told: is told each result as soon as it is there
        :param cleaning: called before cleaning up, which nothing may interrupt
        :raises errors.SmokeNotRun: there is no such test
        """
        collected = _Collected(told)
        with tempfile.TemporaryDirectory(prefix='glance-wsgi-') as place:
            directory = pathlib.Path(place)
            self._configure(directory)
            try:
                said = _run(directory, pattern, collected, cleaning)
            finally:
                cleaning()
                self.left = self._leftovers().remove()
        if not collected.results:
            raise errors.SmokeNotRun(
                f'No test was run: {said or "stestr has said nothing"}.',
                f'Is there a test whose name has "{pattern}" in it?'
                if pattern
                else 'Install glance-wsgi[smoke] again.',
            )
        return collected.results

    def _leftovers(self) -> leftovers.Leftovers:
        return leftovers.Leftovers(
            self.member, self.admin, self.endpoint, self.prefix
        )

    def _configure(self, directory: pathlib.Path) -> None:
        accounts = [
            {**self.member.account, 'roles': self.member.log_in().role_names},
            {**self.admin.account, 'types': ['admin']},
        ]
        _write(directory / 'accounts.yaml', yaml.safe_dump(accounts))
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_dict(self._options(directory))
        text = io.StringIO()
        parser.write(text)
        _write(directory / 'tempest.conf', text.getvalue())

    def _options(self, directory: pathlib.Path) -> dict[str, dict[str, Any]]:
        verify = self.member.verify
        authority = (
            {'ca_certificates_file': verify} if isinstance(verify, str) else {}
        )
        interface = f'{self.member.interface}URL'
        return {
            'DEFAULT': {'log_file': directory / 'tempest.log'},
            'oslo_concurrency': {'lock_path': directory},
            'auth': {
                'use_dynamic_credentials': False,
                'test_accounts_file': directory / 'accounts.yaml',
                'admin_role': cloud.ADMIN_ROLE,
            },
            'identity': {
                'auth_version': 'v3',
                'uri_v3': self.member.auth_url,
                'region': self.member.region_name,
                'v3_endpoint_type': interface,
                'disable_ssl_certificate_validation': not verify,
                **authority,
            },
            'image': {
                'region': self.member.region_name,
                'endpoint_type': interface,
                'build_timeout': _BUILD_TIMEOUT,
            },
            'service_available': {
                'glance': True,
                **dict.fromkeys(('cinder', 'neutron', 'nova', 'swift'), False),
            },
            'glance-wsgi': {
                'name_prefix': self.prefix,
                **_set(
                    web_download_uri=self.web_download_uri,
                    endpoint=self.given and self.endpoint,
                ),
            },
        }


def _set(**options: str | None) -> dict[str, str]:
    """Those that have a value."""
    return {name: value for name, value in options.items() if value}


class _Collected:
    """The results, of what is reported of each test.

    :param told: is told each result as soon as it is there
    """

    def __init__(self, told: Callable[[Result], None]) -> None:
        self.told = told
        self.results: list[Result] = []
        self._listed: list[str] = []

    def note(self, test: dict[str, Any]) -> None:
        """What has become of a test.

        All are said to exist before the first one begins.
        """
        if test['status'] == 'exists':
            self._listed.append(_name(test['id']))
        else:
            self._add(_result(test))

    def end(self, code: int, said: str) -> None:
        """Make it a failure if not all tests came to a result.

        :param code: the exit code of what ran the tests
        :param said: what it said beside their results
        """
        missing = self._missing()
        failed = any(item.outcome == FAILED for item in self.results)
        if not missing and (failed or not code or not self.results):
            return
        reason = (
            f'{len(missing)} of {len(self._listed)} tests were not run'
            if missing
            else f'stestr has ended with {code}'
        )
        self._add(
            Result(
                test='runner.test_every_test_is_run',
                outcome=FAILED,
                seconds=0.0,
                reason=f'{reason}: {said}' if said else reason,
                details='\n'.join([*missing, said]),
            )
        )

    def _missing(self) -> list[str]:
        known = {item.test for item in self.results}

        def has_result(name: str) -> bool:
            # What goes wrong before a class, or skips it, is told once.
            group = name.rpartition('.')[0]
            return bool({name, f'{group}.setUpClass'} & known)

        return [name for name in self._listed if not has_result(name)]

    def _add(self, result: Result) -> None:
        self.results.append(result)
        self.told(result)


def _run(
    directory: pathlib.Path,
    pattern: str,
    collected: _Collected,
    cleaning: Callable[[], None],
) -> str:
    """Run the tests; what was said beside their results."""
    command = [
        *(sys.executable, '-m', 'stestr.cli'),
        *('--test-path', str(DIRECTORY), '--top-dir', str(TOP)),
        *('--repo-url', str(directory)),
        # One after the other: a test has the member's account for itself.
        *('run', '--serial', '--subunit'),
        *([pattern] if pattern else ()),
    ]
    environment = {
        **os.environ,
        'TEMPEST_CONFIG_DIR': str(directory),
        'TEMPEST_CONFIG': 'tempest.conf',
        'PYTHONWARNINGS': 'ignore',
    }
    said = io.BytesIO()
    tests = testtools.StreamToDict(collected.note)
    with (directory / 'errors').open('w+b') as complaints:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            # A terminal's interrupt is for us; we hand it on.
            start_new_session=True,
        )
        tests.startTestRun()
        try:
            subunit.ByteStreamToStreamResult(
                process.stdout, non_subunit_name='said'
            ).run(_Tee(tests, said))
        finally:
            cleaning()
            _end(process)
        tests.stopTestRun()  # notes those that did not come to their end
        complaints.seek(0)
        raw = said.getvalue() + complaints.read()
    text = ' '.join(raw.decode(errors='replace').split())[-1000:]
    collected.end(process.returncode, text)
    return text


class _Tee(testtools.StreamResult):
    """Passes events on, and keeps what is no test's."""

    def __init__(
        self, collected: testtools.StreamToDict, said: io.BytesIO
    ) -> None:
        super().__init__()
        self.collected, self.said = collected, said

    def status(self, *words: Any, **event: Any) -> None:
        if event.get('test_id') is None:
            self.said.write(event.get('file_bytes') or b'')
        else:
            self.collected.status(*words, **event)


def _end(process: 'subprocess.Popen[bytes]') -> None:
    """Wait until the tests have ended, and all that they have started.

    Those that have been interrupted clean up.
    """
    if sys.exc_info()[0] is not None:
        _tell(process, signal.SIGINT)
    deadline = time.monotonic() + _PATIENCE
    # The one that runs the tests may live longer than the one we know.
    while _group(process) and time.monotonic() < deadline:
        time.sleep(processes.INTERVAL)
    _tell(process, signal.SIGKILL)
    processes.wait(_group(process), _PATIENCE)
    process.wait()


def _group(process: 'subprocess.Popen[bytes]') -> list[psutil.Process]:
    """The processes that have not ended of those that it has started."""

    def is_one(other: psutil.Process) -> bool:
        with contextlib.suppress(ProcessLookupError):
            return os.getpgid(other.pid) == process.pid
        return False

    return [
        other
        for other in psutil.process_iter()
        if is_one(other) and processes.alive(other)
    ]


def _tell(process: 'subprocess.Popen[bytes]', number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _result(test: dict[str, Any]) -> Result:
    began, ended = test['timestamps']
    details = {
        name: content.as_text()
        for name, content in test['details'].items()
        if content.content_type.type == 'text'
    }
    trace = details.get('traceback', '').strip()
    # What follows the last line of code.
    reason = details.get('reason', '') or re.sub(
        r'(?s)^.*\n  .*?\n', '', trace
    )
    if test['status'] == 'inprogress':
        reason = 'It did not come to its end.'
    return Result(
        test=_name(test['id']),
        outcome=_WORDS.get(test['status'], FAILED),
        seconds=(ended - began).total_seconds() if began and ended else 0.0,
        reason=' '.join(reason.split()),
        details='\n'.join(details.values()),
    )


def _name(number: str) -> str:
    # What goes wrong around a class is no test's.
    name = re.sub(r'^(\w+Class) \((.*)\)$', r'\2.\1', number)
    return re.sub(r'^glance_wsgi\.smoke\.|\[.*\]$', '', name)


def junit(results: list[Result]) -> bytes:
    """The results as JUnit's XML, which CI systems read."""
    counts = {
        word: sum(item.outcome == outcome for item in results)
        for word, outcome in (('failures', FAILED), ('skipped', SKIPPED))
    }
    suite = ElementTree.Element(
        'testsuite',
        {word: str(count) for word, count in counts.items()},
        name='glance_wsgi.smoke',
        tests=str(len(results)),
        time=f'{sum(item.seconds for item in results):.3f}',
    )
    for item in results:
        group, _, name = item.test.rpartition('.')
        case = ElementTree.SubElement(
            suite,
            'testcase',
            classname=group,
            name=name,
            time=f'{item.seconds:.3f}',
        )
        if item.outcome != PASSED:
            word = 'skipped' if item.outcome == SKIPPED else 'failure'
            ElementTree.SubElement(
                case, word, message=_printable(item.reason)
            ).text = _printable(item.details)
    return ElementTree.tostring(suite, 'utf-8', xml_declaration=True)


def _printable(text: str) -> str:
    # XML has no place for control characters, not even escaped.
    return ''.join(c if c.isprintable() or c == '\n' else '?' for c in text)


def _write(path: pathlib.Path, text: str) -> None:
    state.write_file(path, text, state.Owner.myself(), mode=0o600)
