"""``glance-wsgi``: the command line itself."""

import logging
import sys
import warnings

import pbr.version
from cliff import app
from cliff import commandmanager

QUIET = (
    'alembic',
    'keystoneauth',
    'openstack',
    'oslo_service',
    'stevedore',
    'urllib3',
)
"""Loggers of the libraries that this process itself calls."""


class App(app.App):
    """Finds the verbs as plugins of the namespace glance_wsgi.commands."""

    def __init__(self) -> None:
        super().__init__(
            description="OpenStack's Images v2 API behind a real web server.",
            version=pbr.version.VersionInfo('glance-wsgi').version_string(),
            command_manager=commandmanager.CommandManager(
                'glance_wsgi.commands'
            ),
            deferred_help=True,
        )

    def configure_logging(self) -> None:
        """Keep libraries quiet: what they tell is no help to the person."""
        super().configure_logging()
        if self.options.verbose_level < 2:
            for name in QUIET:
                logging.getLogger(name).setLevel(logging.CRITICAL)
            warnings.simplefilter('ignore')


def main(argv: list[str] | None = None) -> int:
    """The console script; without a verb it explains itself."""
    words = sys.argv[1:] if argv is None else argv
    return int(App().run(words or ['help']))
