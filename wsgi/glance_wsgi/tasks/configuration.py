"""What the command line has to know of a Glance node's configuration.

Glance itself is not loaded for it: these are the few options that matter.
"""

import pathlib
from collections.abc import Sequence

from oslo_config import cfg

from glance_wsgi.conf import task_engine
from glance_wsgi.data import halves
from glance_wsgi.db import settings

OPTS = [
    cfg.StrOpt('worker_self_reference_url'),
    cfg.DictOpt('enabled_backends', default={}),
    cfg.StrOpt('node_staging_uri', default='file:///tmp/staging/'),
]


def read(words: Sequence[str], prog: str) -> cfg.ConfigOpts:
    """Read the files that `words` name, and else what the node itself reads.

    :raises errors.BadOption: a file can't be read
    """
    conf = settings.new()
    conf.register_opts(OPTS)
    conf.register_opt(
        cfg.StrOpt(
            'filesystem_store_datadir', default='/var/lib/glance/staging'
        ),
        halves.STAGING,
    )
    task_engine.register_opts(conf)
    settings.read_as_server(conf, words, prog)
    return conf


def staging(conf: cfg.ConfigOpts) -> pathlib.Path:
    """Where uploads for an import wait, on this node."""
    if conf.enabled_backends:
        return pathlib.Path(conf[halves.STAGING].filesystem_store_datadir)
    return pathlib.Path(conf.node_staging_uri.removeprefix('file://'))
