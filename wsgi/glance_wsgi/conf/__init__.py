"""The options of glance-wsgi: declared here once, used everywhere.

The command line's flags, the saved configuration of a deployment, the sample
file and the reference in the documentation all come from these modules.
"""

from oslo_config import cfg

from glance_wsgi.conf import admission
from glance_wsgi.conf import deployment
from glance_wsgi.conf import gate
from glance_wsgi.conf import server
from glance_wsgi.conf import task_engine
from glance_wsgi.conf import tls
from glance_wsgi.conf import transfers

GROUPS = (
    deployment,
    server,
    admission,
    transfers,
    task_engine,
    tls,
    gate,
)


def new() -> cfg.ConfigOpts:
    """An own set of options; never the global one, which is Glance's."""
    conf = cfg.ConfigOpts()
    for group in GROUPS:
        group.register_opts(conf)
    return conf


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Every option by group, for oslo.config's generators."""
    return [pair for group in GROUPS for pair in group.list_opts()]
