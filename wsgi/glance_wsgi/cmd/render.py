"""``glance-wsgi render``: the server configuration, printed or written."""

import argparse
import difflib
import os
import pathlib
import sys

from glance_wsgi import applications
from glance_wsgi import errors
from glance_wsgi import install
from glance_wsgi import servers
from glance_wsgi import state
from glance_wsgi.cmd import base
from glance_wsgi.deployment import Deployment
from glance_wsgi.render import File


class Render(base.Verb):
    """Print or write the configuration of a web server for a deployment.

    What it writes is what "up" runs; or, where "install" has installed one,
    what the system's services run. Nothing is written when a variable of a
    template is missing. Each file is said to be changed or unchanged.
    """

    prefers_installed = True

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The parser with every option of a deployment."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--output',
            metavar='DIR',
            type=pathlib.Path,
            help='Write the files below this directory, each by the path '
            'that it has. Without it they are printed.',
        )
        parser.add_argument(
            '--diff',
            action='store_true',
            help='Show how the files differ from those that are there, in '
            '--output or in the deployment, instead of the files themselves; '
            'nothing is written.',
        )
        base.add_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Render everything first, then print or write it."""
        # No secret is printed, and none is made for the digest of files that
        # are yet to be written.
        deployment = self._wanted(parsed_args).imagined()
        server = servers.load(deployment)
        server.check()
        wanted = applications.of(deployment)
        files = [
            *(application.files[-1] for application in wanted),
            *server.files(wanted),
        ]
        # All of them first: a variable that is missing writes nothing.
        texts = [file.text() for file in files]
        for file, text in zip(files, texts, strict=True):
            place = _place(file, parsed_args.output)
            if parsed_args.output and not parsed_args.diff:
                print(_word(_write(place, text, file.mode)), place)
                continue
            before = _text(place)
            print(_word(text != before), place, file=sys.stderr)
            if parsed_args.diff:
                sys.stdout.writelines(_diff(place, before, text))
            else:
                print(f'# {file.path}\n{text}')
        return int(errors.Exit.OK)

    def _wanted(self, parsed_args: argparse.Namespace) -> Deployment:
        """What the person names, with the options that it would have."""
        wanted = base.overrides(parsed_args)
        # What would be installed is root's to see: so are its options.
        known = None if os.geteuid() else install.facts()
        if known is None or not self.means_installed(parsed_args):
            place, file = parsed_args.state_dir, parsed_args.config_file
            return self.find(place, file, wanted)
        return install.in_system(
            self.find(
                known['state_dir'],
                parsed_args.config_file,
                wanted,
                install.options_file(),
            )
        )


def _word(changed: bool) -> str:
    return 'changed  ' if changed else 'unchanged'


def _place(file: File, output: pathlib.Path | None) -> pathlib.Path:
    return output / file.path.relative_to('/') if output else file.path


def _write(place: pathlib.Path, text: str, mode: int) -> bool:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        return state.write_file(place, text, state.Owner.myself(), mode)
    except OSError as error:
        raise errors.StateNotWritable(
            f"{place} can't be written: {error}.",
            'Choose another --output.',
            'Files before it may have been written.',
        ) from error


def _text(place: pathlib.Path) -> str | None:
    try:
        return place.read_text(errors='replace')
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise errors.StateNotWritable(
            f"{place}, which it is compared with, can't be read: {error}.",
            'Run this as who may read it, or choose another --output.',
        ) from error


def _diff(place: pathlib.Path, before: str | None, text: str) -> list[str]:
    return list(
        difflib.unified_diff(
            (before or '').splitlines(keepends=True),
            text.splitlines(keepends=True),
            str(place),
            str(place),
        )
    )
