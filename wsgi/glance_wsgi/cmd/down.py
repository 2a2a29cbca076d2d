"""``glance-wsgi down``: stop exactly what ``up`` started."""

import argparse
import math

from glance_wsgi import errors
from glance_wsgi import nodes
from glance_wsgi import probe
from glance_wsgi import servers
from glance_wsgi.cmd import base
from glance_wsgi.deployment import Deployment


def seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < math.inf:
        raise ValueError(text)
    return number


def _check_silent(deployment: Deployment) -> None:
    # Times tell which process is ours, and the clock may have been set since.
    # Better keep the data than take it from under a service.
    for node in nodes.of(deployment):
        if probe.answers(f'{node.url}/healthcheck'):
            raise errors.NotStopped(
                f'No process of ours is left, but {node.url} still answers.',
                'Stop what listens there, then try again.',
                'Nothing was removed.',
            )


class Down(base.Verb):
    """Stop the Images v2 API.

    Requests and imports that have begun may finish; nothing new is accepted.
    Only processes that "up" started are stopped, found by their pid files
    and start times.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The parser with the options of this verb."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--timeout',
            metavar='SECONDS',
            type=seconds,
            help='How long what has begun may take. 0 kills at once, which '
            'loses running uploads and imports. (default: the task_mercy of '
            'the deployment)',
        )
        parser.add_argument(
            '--purge',
            action='store_true',
            help='Remove the state directory too: configuration, databases '
            'and all images.',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Stop, then remove if that is wanted."""
        deployment = self.existing(parsed_args)
        timeout = parsed_args.timeout
        if timeout is None:
            timeout = float(deployment.conf.server.task_mercy)
        with deployment.state.lock():
            stopped = servers.load(deployment).stop(timeout)
            if parsed_args.purge:
                _check_silent(deployment)
                deployment.state.purge()
        print(
            f'Stopped {len(stopped)} processes.'
            if stopped
            else 'Nothing was running.'
        )
        if parsed_args.purge:
            print(f'Removed {deployment.state.path}.')
        return 0
