"""``glance-wsgi render``: the server configuration, printed or written."""

import argparse
import difflib
import pathlib
import sys

from glance_wsgi import applications
from glance_wsgi import errors
from glance_wsgi import servers
from glance_wsgi import state
from glance_wsgi.cmd import base
from glance_wsgi.deployment import SECRETS
from glance_wsgi.render import File


class Render(base.Verb):
    """Print or write the configuration of a web server for a deployment.

    What it writes is what "up" runs. Nothing is written when a variable of a
    template is missing.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The parser with every option of a deployment."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--output',
            metavar='DIR',
            type=pathlib.Path,
            help='Write the files below this directory, each by the path '
            'that it has, and say which have changed. Without it they are '
            'printed.',
        )
        parser.add_argument(
            '--diff',
            action='store_true',
            help='Show how the files differ from those that are there, in '
            '--output or in the deployment, instead of the files themselves.',
        )
        base.add_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Render everything first, then print or write it."""
        deployment = self.find(
            parsed_args.state_dir,
            parsed_args.config_file,
            base.overrides(parsed_args),
        )
        if deployment.user.owner is None:
            # They are only told to whom their files will belong.
            deployment.user = deployment.user.stand_in()
        if not deployment.state.secrets.exists():
            # None is printed, and none is made for the digest of files that
            # are yet to be written.
            deployment.passwords = dict.fromkeys(SECRETS, '')
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
            if parsed_args.diff:
                sys.stdout.writelines(_diff(place, text))
            elif parsed_args.output is None:
                print(f'# {file.path}\n{text}')
            if parsed_args.output is not None:
                _write(place, text, file.mode)
        return int(errors.Exit.OK)


def _place(file: File, output: pathlib.Path | None) -> pathlib.Path:
    return output / file.path.relative_to('/') if output else file.path


def _write(place: pathlib.Path, text: str, mode: int) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        changed = state.write_file(place, text, state.Owner.myself(), mode)
    except OSError as error:
        raise errors.StateNotWritable(
            f"{place} can't be written: {error}.",
            'Choose another --output.',
            'Files before it may have been written.',
        ) from error
    print('changed  ' if changed else 'unchanged', place)


def _diff(place: pathlib.Path, text: str) -> list[str]:
    before = place.read_text(errors='replace') if place.exists() else ''
    return list(
        difflib.unified_diff(
            before.splitlines(keepends=True),
            text.splitlines(keepends=True),
            str(place),
            str(place),
        )
    )
