"""What the configuration says of a Glance that others have configured.

Of one that "up" configures, `Deployment` knows the same.
"""

import pathlib

from oslo_config import cfg

from glance_wsgi.db import settings
from glance_wsgi.deployment import Deployment

AUTHTOKEN = 'keystone_authtoken'

# The one that clients are told, and the one that tokens are checked at.
_KEYSTONE = [cfg.StrOpt('www_authenticate_uri'), cfg.StrOpt('auth_url')]


def database(deployment: Deployment) -> str:
    """The URL of Glance's database, whoever has configured it.

    :raises errors.BadOption: others have, and the file can't be read
    :raises errors.DatabaseUnsupported: what they have is no URL
    """
    if deployment.hosted is None:
        return deployment.database
    url = settings.database(_read(deployment.hosted))
    return url.render_as_string(hide_password=False)


def keystone(deployment: Deployment) -> str:
    """The URL of the Keystone that Glance asks, whoever has configured it.

    Empty where others have configured none.

    :raises errors.BadOption: others have, and the file can't be read
    """
    if deployment.hosted is None or deployment.hosts_keystone:
        return deployment.keystone_url
    found = _read(deployment.hosted)[AUTHTOKEN]
    return found.www_authenticate_uri or found.auth_url or ''


def files(deployment: Deployment) -> list[pathlib.Path]:
    """The configuration files of others that are there."""
    places = [
        directory / name
        for directory in deployment.configured_by_others
        for name in ('glance-api.conf', 'keystone.conf')
    ]
    return [place for place in places if place.exists()]


def _read(directory: pathlib.Path) -> cfg.ConfigOpts:
    conf = settings.new()
    conf.register_opts(_KEYSTONE, group=AUTHTOKEN)
    file = directory / 'glance-api.conf'
    settings.read(conf, [f'--config-file={file}'], 'glance-wsgi')
    return conf
