"""The stop file: the one by which Glance's health check takes a node out.

oslo.middleware's plugin looks for it, with the settings of the section of
Glance's Paste file first, then with those of [healthcheck] in glance-api.conf.
The first ones come into oslo.config only with the first request to
/healthcheck, so they are read here as Paste reads them.
https://docs.openstack.org/oslo.middleware/latest/reference/healthcheck_plugins.html
"""

import configparser
import contextlib
import os
import pathlib
from collections.abc import Mapping

from oslo_config import cfg
from oslo_middleware.healthcheck import disable_by_file
from oslo_middleware.healthcheck import opts
from paste.deploy import loadwsgi

from glance_wsgi import errors

BACKEND = 'disable_by_file'
SECTION = 'healthcheck'


class StopFile:
    """The file, as the health check looks for it.

    :param conf: Glance's configuration
    :param section: what its Paste file says of the health check
    """

    def __init__(self, conf: cfg.ConfigOpts, section: Mapping[str, str]):
        # Registers the options of [healthcheck].
        self._plugin = disable_by_file.DisableByFileHealthcheck(
            conf, dict(section)
        )
        configured = conf.healthcheck.disable_by_file_path
        self.path = section.get('disable_by_file_path', configured)
        backends = section.get('backends')
        self.watched = BACKEND in (
            conf.healthcheck.backends
            if backends is None
            else [name.strip() for name in backends.split(',')]
        )
        """Whether the health check looks for a file at all."""

    def exists(self) -> bool:
        """Whether this node is to begin nothing; asks the plugin."""
        return bool(self.path) and not self._plugin.healthcheck(0).available


def find(conf: cfg.ConfigOpts) -> StopFile:
    """The stop file of this configuration; it may have no path.

    :raises errors.StopFileUnknown: its Paste file can't be read
    """
    _register(conf)
    return StopFile(conf, _section(_paste_file(conf)))


def required(conf: cfg.ConfigOpts) -> StopFile:
    """The stop file, which has a path that is looked for, and found.

    :raises errors.StopFileUnknown: it isn't
    """
    found = find(conf)
    what = _problem(found)
    if what is not None:
        raise errors.StopFileUnknown(
            f'No file is known by which this node can be taken out. {what}',
            f'Set "backends = {BACKEND}" and "disable_by_file_path", an '
            f'absolute path, in the section [app:{SECTION}] of its Paste '
            'file, and reload.',
        )
    return found


def _problem(found: StopFile) -> str | None:
    if not found.path:
        return "Glance's health check has no disable_by_file_path."
    if not found.watched:
        return f"The backends of Glance's health check do not have {BACKEND}."
    if not os.path.isabs(found.path):
        # Where it is depends on the directory that a server was started in.
        return f'{found.path} is no absolute path.'
    return None


def _register(conf: cfg.ConfigOpts) -> None:
    # Glance itself registers it, where Glance is loaded.
    with contextlib.suppress(cfg.DuplicateOptError):
        conf.register_opt(cfg.StrOpt('config_file'), 'paste_deploy')
    conf.register_opts(opts.HEALTHCHECK_OPTS, SECTION)


def _paste_file(conf: cfg.ConfigOpts) -> str | None:
    """As ``glance.common.config`` finds it: by name, or beside the last."""
    if conf.paste_deploy.config_file:
        return os.path.abspath(conf.paste_deploy.config_file)
    if not conf.config_file:
        return None
    last = pathlib.Path(conf.config_file[-1])
    name = last.name.replace('.conf', '-paste.ini')
    return conf.find_file(name) or str(last.with_name(name))


def _section(file: str | None) -> dict[str, str]:
    if file is None:
        return {}
    try:
        context = loadwsgi.appconfig(f'config:{file}', name=SECTION)
    except (FileNotFoundError, LookupError):  # it has no such section
        return {}
    except (
        *(configparser.Error, OSError, ValueError),
        *(AttributeError, ImportError, SyntaxError),
    ) as error:
        # The text of most of them quotes a line, which may have a password.
        why = getattr(error, 'strerror', None) or type(error).__name__
        raise errors.StopFileUnknown(
            f'No file is known by which this node can be taken out. {file} '
            f"can't be read as a Paste file: {why}.",
            'Correct it, or run this as who may read it.',
        ) from error
    return dict(context.local_conf)
