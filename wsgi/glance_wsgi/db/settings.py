"""Where Glance's own configuration says that its database is."""

from collections.abc import Sequence

import sqlalchemy
from oslo_config import cfg
from oslo_db import options
from sqlalchemy import exc

from glance_wsgi import errors
from glance_wsgi import upstream

# The first Glance whose glance-manage also reads glance-api.conf.d/.
_READS_DIRECTORIES_OF_API = 33

ACTION = 'Write mysql+pymysql://USER:PASSWORD@HOST/NAME or sqlite:////PATH.'


def new() -> cfg.ConfigOpts:
    """What there is to know of Glance's configuration: its database."""
    conf = cfg.ConfigOpts()
    register_opts(conf)
    return conf


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make what is known of the database known to `conf`."""
    conf.register_opts(options.database_opts, group='database')


def read(conf: cfg.ConfigOpts, words: Sequence[str], prog: str) -> None:
    """Read `words` and the files that they name, or else the usual ones.

    The usual ones are those of ``glance-manage``.

    :param prog: what the person has typed, for messages
    :raises errors.BadOption: a file can't be read
    """
    files: list[str] = []
    for name in ('glance-api', 'glance-manage'):
        files += cfg.find_config_files('glance', name)
    directories: list[str] = []
    if int(upstream.version().split('.')[0]) >= _READS_DIRECTORIES_OF_API:
        directories += cfg.find_config_dirs('glance', 'glance-api')
    directories += cfg.find_config_dirs('glance', 'glance-manage')
    _read(conf, words, prog, files, directories)


def read_as_server(
    conf: cfg.ConfigOpts, words: Sequence[str], prog: str
) -> None:
    """The same, but the usual ones are those of a Glance that serves.

    It names its files; the directories are those that oslo.config finds for
    it, with every Glance (``glance.common.wsgi_app``).
    """
    _read(
        conf,
        words,
        prog,
        cfg.find_config_files('glance', 'glance-api'),
        cfg.find_config_dirs('glance', 'glance-api'),
    )


def _read(
    conf: cfg.ConfigOpts,
    words: Sequence[str],
    prog: str,
    files: list[str],
    directories: list[str],
) -> None:
    try:
        conf(
            args=words,
            project='glance',
            prog=prog,
            default_config_files=files,
            default_config_dirs=directories,
        )
    except cfg.ConfigFileParseError as error:
        # Its text quotes the line, which may have a password in it.
        raise errors.BadOption(
            f'{error.config_file} is no configuration file.', 'Correct it.'
        ) from error
    except (cfg.Error, OSError, UnicodeDecodeError) as error:
        raise errors.BadOption(
            f"Glance's configuration can't be read: {error}.",
            'Give its file: --config-file /etc/glance/glance-api.conf.',
        ) from error


def database(conf: cfg.ConfigOpts) -> sqlalchemy.URL:
    """The database of Glance's configuration.

    :raises errors.BadOption: it has none
    :raises errors.DatabaseUnsupported: what it has is no URL of a database
    """
    try:
        text = conf.database.connection
        parameters = conf.database.connection_parameters
    except cfg.Error as error:
        raise errors.BadOption(
            f"[database] of Glance's configuration can't be used: {error}.",
            'Correct it.',
        ) from error
    if not text:
        raise errors.BadOption(
            "There is no [database] connection in Glance's configuration "
            f'({", ".join(conf.config_file) or "no file was found"}).',
            'Give its file: --config-file /etc/glance/glance-api.conf.',
        )
    try:
        url = sqlalchemy.make_url(text)
        return url.update_query_string(parameters or '', append=True)
    except (exc.ArgumentError, ValueError) as error:
        # SQLAlchemy's text quotes the whole URL, its password too.
        raise errors.DatabaseUnsupported(
            'The value of [database] connection is not a database URL.',
            ACTION,
        ) from error
