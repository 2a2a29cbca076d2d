"""``glance-wsgi up``: from nothing, or from anything, to a serving API."""

import argparse
import os
import time

from glance_wsgi import steps
from glance_wsgi.cmd import base
from glance_wsgi.deployment import CLOUD
from glance_wsgi.deployment import Deployment


class Up(base.Verb):
    """Stand up the Images v2 API on this machine.

    It can be run again at any time: what is right already stays untouched,
    what is missing, changed or has crashed is put right. Options that are not
    given keep the values that the deployment has.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The parser with every option of a deployment."""
        parser = super().get_parser(prog_name)
        base.add_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Run the steps, a line for each."""
        # The service user has to reach what we make; what nobody else may
        # read is closed file by file.
        os.umask(0o022)
        began = time.monotonic()
        deployment = self.find(
            parsed_args.state_dir,
            parsed_args.config_file,
            base.overrides(parsed_args),
        )
        up = steps.Up(deployment)
        self._take(steps.Step('preflight', up.check))
        changed = False
        with deployment.state.lock():
            for step in up.steps():
                changed |= self._take(step)
        self.go_on()
        seconds = time.monotonic() - began
        if changed:
            print(f'\nServing after {seconds:.1f} s.\n')
        else:
            print(f'\nNothing had to be changed ({seconds:.1f} s).\n')
        print(summary(deployment))
        return 0

    def _take(self, step: steps.Step) -> bool:
        self.go_on()
        base.tell(step.awaited())
        print(f'{step.name:24}', end='', flush=True)
        began = time.monotonic()
        try:
            changed = step.work()
        except BaseException:
            print('failed', flush=True)
            raise
        seconds = time.monotonic() - began
        word = 'done' if changed else 'ok'
        print(f'{word:6}{seconds:6.1f} s', flush=True)
        return changed


def summary(deployment: Deployment) -> str:
    """What the person needs to know now: where things are, what to try."""
    clouds = deployment.state.clouds
    tempest = [f'tempest.conf {deployment.state.tempest}']
    return '\n'.join(
        [
            f'Images API   {deployment.endpoint}',
            f'Keystone     {deployment.keystone_url}',
            f'clouds.yaml  {clouds} (cloud "{CLOUD}")',
            *(tempest if deployment.gate else ()),
            f'Logs         {deployment.state.log}',
            '',
            'Try:',
            f'  export PATH={deployment.python.parent}:$PATH OS_CLOUD={CLOUD} '
            f'OS_CLIENT_CONFIG_FILE={clouds}',
            '  openstack image create --file SOME.iso --disk-format iso first',
            '  openstack image list',
        ]
    )
