"""``glance-wsgi-manage``: ``glance-manage``, our tables, and ``--check``."""

import argparse
import itertools
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from glance_wsgi import errors

PROG = 'glance-wsgi-manage'
FORMATS = ('table', 'json', 'yaml', 'value')


def main(argv: Sequence[str] | None = None) -> int:
    """The console script: a check is ours, all else is Glance's.

    What makes Glance's tables makes ours first.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if _is_check(words):
            return _check(words)
        if _makes_tables(words):
            _sync_own(words)
        return _delegate(words)
    except errors.GlanceWSGIError as error:
        print(f'{PROG}: {error.line()}', file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print(f'{PROG}: Interrupted.', file=sys.stderr)
        return errors.Exit.INTERRUPTED


def _is_check(words: Sequence[str]) -> bool:
    pairs = itertools.pairwise(words)
    syncs = 'db_sync' in words or ('db', 'sync') in pairs
    return syncs and '--check' in words


def _makes_tables(words: Sequence[str]) -> bool:
    pairs = list(itertools.pairwise(words))
    wanted = ('sync', 'expand')
    return not {'-h', '--help'}.intersection(words) and any(
        f'db_{name}' in words or ('db', name) in pairs for name in wanted
    )


def _sync_own(words: Sequence[str]) -> None:
    from glance_wsgi.db import own
    from glance_wsgi.db import settings

    conf = settings.new()
    settings.read(conf, _config_words(words), PROG)
    for operation in own.sync(settings.database(conf)):
        print(f'{PROG}: {operation.revision}: {operation.summary}')


def _config_words(words: Sequence[str]) -> list[str]:
    """Those of the words that name configuration files."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ('--config-file', '--config-dir'):
        parser.add_argument(flag, action='append', default=[])
    found, _ = parser.parse_known_args(list(words))
    return [
        *(f'--config-file={file}' for file in found.config_file),
        *(f'--config-dir={folder}' for folder in found.config_dir),
    ]


def _delegate(words: Sequence[str]) -> int:
    # In our place: its output, its exit code and what it does with signals
    # are ours then.
    from glance_wsgi import programs

    program = programs.program('glance-manage')
    try:
        os.execv(program, [str(program), *words])  # noqa: S606
    except OSError as error:
        raise errors.GlanceUnsupported(
            f"{program} can't be run: {error.strerror}.",
            'Install Glance from PyPI into the same virtualenv.',
        ) from error


def _check(words: Sequence[str]) -> int:
    from glance_wsgi.cmd import main
    from glance_wsgi.db import settings

    conf = settings.new()
    _understand(conf)
    settings.read(conf, words, PROG)
    settings.database(conf)  # for its errors
    # All that were given, or else the usual ones: two lists of oslo.config.
    folders = dict.fromkeys([*conf.config_dirs, *conf.config_dir])
    return main.main(
        [
            *('db', 'check', '--format', conf.command.format),
            *(f'--config-file={file}' for file in conf.config_file),
            *(f'--config-dir={folder}' for folder in folders),
        ]
    )


def _understand(conf: Any) -> None:
    """Every word that ``glance-manage`` takes, with ours."""
    from oslo_config import cfg
    from oslo_log import log

    # Settings of logs are understood, and no log is kept: oslo.log would
    # write to the standard error where nobody else does yet.
    logging.getLogger().addHandler(logging.NullHandler())
    log.register_options(conf)
    conf.register_cli_opt(cfg.SubCommandOpt('command', handler=_add_parsers))


def _add_parsers(subparsers: Any) -> None:
    actions = subparsers.add_parser('db').add_subparsers()
    for parser in (
        actions.add_parser('sync'),
        subparsers.add_parser('db_sync'),
    ):
        _add_arguments(parser)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        'List every pending operation in the order of its execution; change '
        'nothing. The exit code says what is next: 3 expand, 4 migrate, 5 '
        'contract, 0 nothing.'
    )
    parser.add_argument('--check', action='store_true', required=True)
    parser.add_argument(
        '-f',
        '--format',
        choices=FORMATS,
        default='table',
        help='How the operations are printed.',
    )
