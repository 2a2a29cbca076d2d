"""``glance-wsgi smoke``: whether an Images v2 API does what it should."""

import argparse
import collections
import errno
import os
import pathlib
import re
import sys
import tempfile
import time
from typing import Any

from cliff import lister

from glance_wsgi import errors
from glance_wsgi import gate
from glance_wsgi import state
from glance_wsgi.cmd import base
from glance_wsgi.cmd import interrupts
from glance_wsgi.deployment import CLOUD
from glance_wsgi.deployment import MEMBER_CLOUD
from glance_wsgi.deployment import Deployment
from glance_wsgi.deployment import default_state_dir
from glance_wsgi.deployment import is_http


class Smoke(base.Verb, lister.Lister):
    """Test an Images v2 API, this machine's or any other.

    Needs a member's and an administrator's account, as clouds.yaml has them;
    by default those of the deployment. Ends with exit code 0 only when no test
    has failed. All that the tests make is removed.
    """

    interrupts = base.ENDS

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The parser with the options of this verb."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'pattern',
            metavar='PATTERN',
            nargs='?',
            default='',
            help='Only the tests whose full names have this regular '
            'expression in them, such as "test_imports" or "range". Around '
            'the name that the table shows, a full one has '
            '"glance_wsgi.smoke." and "[id-NUMBER,smoke]".',
        )
        parser.add_argument(
            '--os-cloud',
            metavar='CLOUD',
            help='The account of a member, in clouds.yaml. (default: '
            'OS_CLOUD, unless a --state-dir is given; without either the one '
            'of the deployment)',
        )
        parser.add_argument(
            '--os-admin-cloud',
            metavar='CLOUD',
            help='The account of an administrator of the same cloud, in '
            'another project. (default: CLOUD-admin, for the deployment its '
            'own)',
        )
        parser.add_argument(
            '--endpoint',
            metavar='URL',
            help='The Images API to test, instead of the one that the '
            'catalogue leads to: a single node behind a load balancer, such '
            'as http://192.0.2.11:9292. The links that it gives are not '
            'tested, since they lead to where clients come.',
        )
        parser.add_argument(
            '--web-download-uri',
            metavar='URI',
            help='A small file that Glance may import by "web-download", and '
            'that can be read from here, too. (default: an image of the '
            'deployment, if it was made with --profile gate; else the '
            'healthcheck of Glance itself, from whose port only Glances that '
            'are told so import)',
        )
        parser.add_argument(
            '--junit',
            metavar='FILE',
            type=pathlib.Path,
            help="Write the results as JUnit's XML, too.",
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Run the tests; a line for each on standard error, then the table."""
        try:
            from glance_wsgi.smoke import runner
        except ImportError as error:
            raise errors.SmokeNotRun(
                f'Tempest is not installed ({error}).',
                'Install glance-wsgi[smoke] from PyPI into this virtualenv.',
                'No test was run.',
            ) from error
        if parsed_args.junit:
            _check_writable(parsed_args.junit)
        run = self._run_of(parsed_args)
        run.check()
        began = time.monotonic()
        with interrupts.only_the_first(self.interrupts) as cleaning:
            try:
                results = run.results(parsed_args.pattern, _tell, cleaning)
            finally:
                for line in run.left:
                    self._warn(line)
        counts = collections.Counter(item.outcome for item in results)
        words = (runner.PASSED, runner.SKIPPED, runner.FAILED)
        said = ', '.join(f'{counts[word]} {word}' for word in words)
        print(f'{said} in {time.monotonic() - began:.1f} s.', file=sys.stderr)
        if counts[runner.FAILED] or run.left:
            self.code = errors.Exit.SMOKE_FAILED
        if parsed_args.junit:
            self._write(parsed_args.junit, runner.junit(results))
        return (
            ('Test', 'Result', 'Seconds', 'Reason'),
            [
                (item.test, item.outcome, round(item.seconds, 2), item.reason)
                for item in results
            ],
        )

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Show; the exit code tells whether a test has failed."""
        self.code = errors.Exit.OK
        return super().run(parsed_args) or self.code

    def _write(self, path: pathlib.Path, content: bytes) -> None:
        """Write the results; the table is worth showing without that."""
        try:
            state.write_file(path, content, state.Owner.myself(), mode=0o644)
        except OSError as error:
            found = _unwritable(path, error, 'The tests were run.')
            self._warn(found.line())
            self.code = self.code or found.code

    def _warn(self, line: str) -> None:
        print(f'glance-wsgi: {line}', file=sys.stderr)

    def _run_of(self, parsed_args: argparse.Namespace) -> Any:
        from glance_wsgi.smoke import cloud
        from glance_wsgi.smoke import runner

        uri = parsed_args.web_download_uri
        _check_pattern(parsed_args.pattern)
        _check_url('--web-download-uri', uri, 'http://HOST/FILE')
        _check_url('--endpoint', parsed_args.endpoint, 'http://HOST:9292')
        file, deployment = self._clouds(parsed_args)
        if uri is None and deployment and deployment.gate:
            uri = f'{gate.source_url(deployment)}/{gate.RAW}'
        names = _names(parsed_args, bool(deployment))
        member, admin = (cloud.Cloud(name, file) for name in names)
        return runner.Run(member, admin, uri, parsed_args.endpoint)

    def _clouds(
        self, parsed_args: argparse.Namespace
    ) -> tuple[pathlib.Path, Deployment | None]:
        """The file with the clouds, and the deployment that it is of."""
        from glance_wsgi.smoke import clouds_file

        if _named(parsed_args) is None:
            deployment = self.existing(parsed_args)
            return deployment.state.clouds, deployment
        named = os.environ.get('OS_CLIENT_CONFIG_FILE')
        file = pathlib.Path(named) if named else clouds_file.usual()
        # As "up" tells people to set it.
        deployment = self.find(file.resolve().parent)
        own = deployment.state.clouds == file.resolve()
        return file, deployment if own and deployment.marker else None


def _named(parsed_args: argparse.Namespace) -> str | None:
    """The cloud that the person has named."""
    name: str | None = parsed_args.os_cloud
    if name is None and parsed_args.state_dir == default_state_dir():
        return os.environ.get('OS_CLOUD') or None
    return name


def _names(parsed_args: argparse.Namespace, own: bool) -> tuple[str, str]:
    """The member's cloud and the administrator's.

    :param own: whether they are of a deployment, as "up" has written them
    """
    name = _named(parsed_args) or CLOUD
    if own and name in (CLOUD, MEMBER_CLOUD):
        name, admin = MEMBER_CLOUD, CLOUD
    else:
        admin = f'{name}-admin'
    return name, parsed_args.os_admin_cloud or admin


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise errors.BadOption(
            f'The pattern "{pattern}" is no regular expression: {error}.',
            'Write a \\ before what is meant as it is.',
            'No test was run.',
        ) from error


def _check_url(option: str, url: str | None, example: str) -> None:
    if url is not None and not is_http(url):
        raise errors.BadOption(
            f'{option} "{url}" is no URL of HTTP or HTTPS.',
            f'Write it like {example}.',
            'No test was run.',
        )


def _tell(result: Any) -> None:
    name = result.test.rpartition('.')[2].removeprefix('test_')
    line = f'{result.outcome:8} {result.seconds:5.1f} s  '
    print(line + name.replace('_', ' '), file=sys.stderr, flush=True)


def _check_writable(path: pathlib.Path) -> None:
    """See that a file can be written, without touching what it has.

    :raises errors.BadOption: it can't
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        # As it will be written: under another name, in the same place.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _unwritable(path, error, 'No test was run.') from error


def _unwritable(
    path: pathlib.Path, error: OSError, outcome: str
) -> errors.BadOption:
    return errors.BadOption(
        f"{path} can't be written: {error.strerror}.",
        'Give --junit a file in a directory that you may write.',
        outcome,
    )
