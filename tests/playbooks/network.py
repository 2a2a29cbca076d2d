"""A network of the tests' own: a namespace with a bridge in it.

Nothing of it can be reached from outside, nor reaches anything.
https://man7.org/linux/man-pages/man8/ip-netns.8.html
"""

import os
import subprocess

BRIDGE = 'gw-bridge'
PREFIX = '10.213.7'
GATEWAY = f'{PREFIX}.1'
"""The address of what the tests themselves run in there."""
MAC = '02:00:0a:d5:07:01'
"""The bridge's own. Without one it takes the lowest of its ports', another one
when that host dies, and what is sent to the old one is lost for a while."""


class Network:
    """The namespace; its name has our process id."""

    def __init__(self) -> None:
        self.name = f'gw-playbooks-{os.getpid()}'
        self._ip('netns', 'add', self.name)
        try:
            for words in (
                ('link', 'set', 'lo', 'up'),
                ('link', 'add', BRIDGE, 'address', MAC, 'type', 'bridge'),
                ('address', 'add', f'{GATEWAY}/24', 'dev', BRIDGE),
                ('link', 'set', BRIDGE, 'up'),
            ):
                self._ip('-netns', self.name, *words)
        except subprocess.CalledProcessError:
            self.remove()
            raise

    @staticmethod
    def _ip(*words: str) -> None:
        subprocess.run(['ip', *words], check=True)

    @property
    def bridge(self) -> tuple[str, str]:
        """As `machine.Machine.boot` wants it."""
        return self.name, BRIDGE

    def command(self, *words) -> list[str]:
        """What runs a command in it."""
        return ['nsenter', f'--net=/run/netns/{self.name}', *map(str, words)]

    def remove(self) -> None:
        """Remove it; what runs in there has been stopped."""
        self._ip('netns', 'delete', self.name)
