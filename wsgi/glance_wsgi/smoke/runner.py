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
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree

import subunit
import testtools
import yaml

from glance_wsgi import errors
from glance_wsgi import state
from glance_wsgi.smoke import cloud

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
    """

    def __init__(
        self,
        member: cloud.Cloud,
        admin: cloud.Cloud,
        web_download_uri: str | None = None,
    ) -> None:
        self.member, self.admin = member, admin
        self.prefix = f'glance-wsgi-smoke-{uuid.uuid4().hex[:8]}'
        self.web_download_uri = web_download_uri

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
        self.member.endpoint()

    def results(
        self, pattern: str, told: Callable[[Result], None]
    ) -> list[Result]:
        """Run the tests, and remove what they leave, also when interrupted.

        :param pattern: regular expression: those whose names it is found in
        :param told: is told each result as soon as it is there
        :raises errors.BadOption: there is no such test
        """
        found: list[Result] = []

        def note(test: dict[str, Any]) -> None:
            if test['status'] not in ('exists', 'inprogress'):
                found.append(_result(test))
                told(found[-1])

        with tempfile.TemporaryDirectory(prefix='glance-wsgi-') as place:
            directory = pathlib.Path(place)
            self._configure(directory)
            try:
                said = _run(directory, pattern, note)
            finally:
                self.remove_rest()
        if not found:
            raise errors.SmokeNotRun(
                f'No test was run: {said or "stestr has said nothing"}.',
                f'Is there a test whose name has "{pattern}" in it?'
                if pattern
                else 'Install glance-wsgi[smoke] again.',
            )
        return found

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
                **(
                    {'web_download_uri': self.web_download_uri}
                    if self.web_download_uri
                    else {}
                ),
            },
        }

    def remove_rest(self) -> None:
        """Remove everything whose name begins as this run's names do.

        Tests remove what they make; those that were killed could not.
        """
        root = self.member.endpoint()
        for url in (*self._images(root), *self._namespaces(root)):
            _ask(self.admin, 'DELETE', url)
        for url in self._credentials():
            _ask(self.member, 'DELETE', url)

    def _images(self, root: str) -> Iterator[str]:
        for hidden in ('false', 'true'):
            path: Any = f'/v2/images?limit=100&os_hidden={hidden}'
            while path:
                page = _ask(self.admin, 'GET', root + path)
                for image in page.get('images', ()):
                    if self._is_ours(image.get('name')):
                        url = f'{root}/v2/images/{image["id"]}'
                        if image['protected']:
                            _ask(self.admin, 'PATCH', url, UNPROTECTED)
                        yield url
                path = page.get('next')

    def _namespaces(self, root: str) -> Iterator[str]:
        url = f'{root}/v2/metadefs/namespaces'
        for item in _ask(self.admin, 'GET', url).get('namespaces', ()):
            if self._is_ours(item['namespace']):
                yield f'{url}/{item["namespace"]}'

    def _credentials(self) -> Iterator[str]:
        user = self.member.log_in().user_id
        url = f'{self.member.auth_url}/users/{user}/application_credentials'
        for item in _ask(self.member, 'GET', url).get(
            'application_credentials', ()
        ):
            if self._is_ours(item['name']):
                yield f'{url}/{item["id"]}'

    def _is_ours(self, name: str | None) -> bool:
        return (name or '').startswith(self.prefix)


UNPROTECTED = [{'op': 'replace', 'path': '/protected', 'value': False}]


def _ask(
    who: cloud.Cloud, method: str, url: str, patch: Any = None
) -> dict[str, Any]:
    """The answer's JSON; empty where there is none."""
    options: dict[str, Any] = {}
    if patch is not None:
        kind = 'application/openstack-images-v2.1-json-patch'
        options = {'json': patch, 'headers': {'Content-Type': kind}}
    answer = who.session.request(url, method, raise_exc=False, **options)
    try:
        return dict(answer.json())
    except ValueError:
        return {}


def _run(
    directory: pathlib.Path,
    pattern: str,
    note: Callable[[dict[str, Any]], None],
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
    collected = testtools.StreamToDict(note)
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
        collected.startTestRun()
        try:
            subunit.ByteStreamToStreamResult(
                process.stdout, non_subunit_name='said'
            ).run(_Tee(collected, said))
        finally:
            _end(process)
        collected.stopTestRun()
        complaints.seek(0)
        text = said.getvalue() + complaints.read()
    return ' '.join(text.decode(errors='replace').split())[-1000:]


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
    """Wait for the tests; those that have been interrupted clean up."""
    if sys.exc_info()[0] is not None:
        _tell(process, signal.SIGINT)
    try:
        process.wait(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        _tell(process, signal.SIGKILL)
        process.wait()


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
    # What goes wrong around a class is no test's.
    name = re.sub(r'^(\w+Class) \((.*)\)$', r'\2.\1', test['id'])
    return Result(
        test=re.sub(r'^glance_wsgi\.smoke\.|\[.*\]$', '', name),
        outcome=_WORDS.get(test['status'], FAILED),
        seconds=(ended - began).total_seconds() if began and ended else 0.0,
        reason=' '.join(reason.split()),
        details='\n'.join(details.values()),
    )


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
