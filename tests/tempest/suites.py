"""Runs the published suites against a deployment, as a person would."""

import configparser
import os
import pathlib
import socket
import subprocess

import subunit
import testtools
import toolkit
import verdict

EVERYTHING = r'^(tempest\.api\.image|glance_tempest_plugin)\.'

# One test has a slow source of its own, at this machine's outgoing address,
# and makes do with a fast one where Glance refuses that.
SLOW_SOURCE = """
[import_filtering_opts]
allowed_hosts = [127.0.0.1,{address}]
allowed_ports = []
"""

# Two settings of Glance keep some tests from being run, whichever value they
# have. So there is a second pass, with their opposites, for those.
OPPOSITE = """
[DEFAULT]
do_secure_hash = false

[image_format]
require_image_format_match = false
"""
OPPOSITE_TOLD = {
    'do_secure_hash': 'false',
    'image_format_enforcement': 'false',
}
OPPOSITE_TESTS = (
    r'^tempest\.api\.image\.v2\.test_images\.'
    r'(ListUserImagesTest\.|.*_with_do_secure_hash_false)'
)


def outgoing_address() -> str:
    """The address that this machine has on its way to others.

    :raises OSError: it has no way; then the suite skips the test
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(('198.51.100.1', 80))  # which sends nothing
        return probe.getsockname()[0]


class Run:
    """A place for one run of Tempest, and its results."""

    def __init__(self, config: pathlib.Path, directory: pathlib.Path) -> None:
        self.config = config
        self.directory = directory
        directory.mkdir()

    def run(self, pattern: str, concurrency: int = 2) -> list[verdict.Result]:
        """Run the tests whose names begin with a regular expression."""
        with (self.directory / 'output.log').open('w') as output:
            code = self._tempest(
                'run',
                f'--config-file={self.config}',
                f'--regex={pattern}',
                f'--concurrency={concurrency}',
                stdout=output,
                stderr=subprocess.STDOUT,
            ).returncode
        results = self._results()
        # It exits with 1 where tests have failed, which the results show. A
        # program that did not come that far has none, and none is too few.
        if code and not any(one.failed for one in results):
            tail = (self.directory / 'output.log').read_text()[-2000:]
            results.append(verdict.Result('tempest run', f'exit {code}', tail))
        return results

    def _tempest(self, *words: str, **options) -> subprocess.CompletedProcess:
        return subprocess.run(
            [toolkit.BIN / 'tempest', *words],
            cwd=self.directory,
            # Everything is on this machine, never behind a proxy.
            env={**os.environ, 'no_proxy': '*', 'NO_PROXY': '*'},
            stdin=subprocess.DEVNULL,
            timeout=3000,
            **options,
        )

    def _results(self) -> list[verdict.Result]:
        stream = subprocess.Popen(
            [toolkit.BIN / 'stestr', 'last', '--subunit'],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        found: list[verdict.Result] = []
        collect = testtools.StreamToDict(
            lambda test: found.append(_result(test))
        )
        with stream:
            collect.startTestRun()
            subunit.ByteStreamToStreamResult(stream.stdout).run(collect)
            collect.stopTestRun()
        return found


def _result(test: dict) -> verdict.Result:
    # Not the log that it captured: whatever it says is nobody's to read.
    said = [
        test['details'][name].as_text()
        for name in ('reason', 'traceback')
        if name in test['details']
    ]
    return verdict.Result(
        verdict.named(test['id']), test['status'], '\n'.join(said)
    )


def told_otherwise(
    config: pathlib.Path, path: pathlib.Path, told: dict[str, str]
) -> pathlib.Path:
    """A copy of a tempest.conf that says something else of Glance."""
    parser = configparser.RawConfigParser()
    parser.read(config)
    parser['image-feature-enabled'].update(told)
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), 'w') as file:
        parser.write(file)
    return path
