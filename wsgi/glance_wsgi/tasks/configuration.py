"""What the command line has to know of a Glance node's configuration.

Glance itself is not loaded for it: these are the few options that matter.
"""

import pathlib
from collections.abc import Sequence

from oslo_config import cfg

from glance_wsgi.conf import task_engine
from glance_wsgi.data import halves
from glance_wsgi.db import settings
from glance_wsgi.tasks import tokens

OPTS = [
    cfg.StrOpt('worker_self_reference_url'),
    cfg.DictOpt('enabled_backends', default={}),
    cfg.StrOpt('node_staging_uri', default='file:///tmp/staging/'),
]

STORES_OPTS = [
    cfg.ListOpt('stores', default=['file', 'http']),
    cfg.StrOpt('default_store', default='file'),
    cfg.StrOpt('default_backend'),
]
STORE_OPTS = [
    cfg.StrOpt('filesystem_store_datadir', default='/var/lib/glance/images'),
    cfg.MultiStrOpt('filesystem_store_datadirs'),
    cfg.BoolOpt('swift_store_multi_tenant', default=False),
    *(
        cfg.StrOpt(f'cinder_store_{name}', secret=True)
        for name in sorted(
            {name for one in tokens.CREDENTIALS for name in one}
        )
    ),
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


def register_stores(conf: cfg.ConfigOpts) -> None:
    """Make known to what `read` has read what there is to know of stores."""
    conf.register_opts(STORES_OPTS, 'glance_store')
    for group in conf.enabled_backends or ['glance_store']:
        conf.register_opts(STORE_OPTS, group)


def staging(conf: cfg.ConfigOpts) -> pathlib.Path:
    """Where uploads for an import wait, on this node."""
    if conf.enabled_backends:
        return pathlib.Path(conf[halves.STAGING].filesystem_store_datadir)
    return pathlib.Path(conf.node_staging_uri.removeprefix('file://'))
