"""The entry point ``tempest.test_plugins``.

https://docs.openstack.org/tempest/latest/plugins/plugin.html
"""

import pathlib
from typing import Any

from oslo_config import cfg
from tempest.test_discover import plugins

from glance_wsgi.smoke import config

DIRECTORY = pathlib.Path(__file__).parent
TOP = DIRECTORY.parents[1]
"""Where the names of the tests begin."""


class Plugin(plugins.TempestPlugin):
    """What Tempest asks a plugin for."""

    def load_tests(self) -> tuple[str, str]:
        """Where the tests are, and where their names begin."""
        return str(DIRECTORY), str(TOP)

    def register_opts(self, conf: cfg.ConfigOpts) -> None:
        """Add our options to Tempest's."""
        conf.register_group(config.GROUP)
        conf.register_opts(config.OPTIONS, config.GROUP)

    def get_opt_lists(self) -> list[tuple[str, list[Any]]]:
        """Our options, for a sample tempest.conf."""
        return [(config.GROUP.name, config.OPTIONS)]
