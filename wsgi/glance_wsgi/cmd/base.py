"""What all verbs share: the options and how errors are shown."""

import argparse
import contextlib
import os
import pathlib
import signal
import sys
from collections.abc import Container, Iterator
from typing import Any

from cliff import command
from oslo_config import cfg

from glance_wsgi import conf
from glance_wsgi import errors
from glance_wsgi import install
from glance_wsgi import programs
from glance_wsgi import servers
from glance_wsgi.deployment import Deployment
from glance_wsgi.deployment import default_state_dir

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Everything by which people, terminals and systemd end a command."""

INTERRUPTED = 'Interrupted. The same command can be run again.'


def tell(lines: list[str]) -> None:
    """Lines that a person reads before what they are about has happened."""
    for line in lines:
        print(line, flush=True)


class Verb(command.Command):
    """A verb that works on a deployment; finds it by --state-dir alone."""

    interrupts: tuple[signal.Signals, ...] = (signal.SIGINT,)
    """What it does not just end by: it puts things in order first."""

    prefers_installed = False
    """Whether it means what is installed, if something is, where no
    --state-dir is given."""

    # Every error of ours is one line; cliff would make a log line of it and
    # always exit with 1.
    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run the verb; what goes wrong becomes a line and an exit code."""
        with self._noting_interrupts():
            return self._run(parsed_args)

    def _run(self, parsed_args: argparse.Namespace) -> int:
        try:
            return int(super().run(parsed_args) or 0)
        except errors.GlanceWSGIError as error:
            return self._fail(error.line(), error.code)
        except KeyboardInterrupt:
            return self._fail(INTERRUPTED, errors.Exit.INTERRUPTED)
        except BrokenPipeError:
            raise
        except Exception as error:
            # A library in whose middle it was raised may have made it this.
            if self._interrupted:
                return self._fail(INTERRUPTED, errors.Exit.INTERRUPTED)
            if self.app_args.debug:
                raise
            return self._fail(
                f'Unexpected: {type(error).__name__}: {error}. This is a '
                'mistake in glance-wsgi. "glance-wsgi --debug" and the rest '
                'of the command shows where; please report it.',
                errors.Exit.UNEXPECTED,
            )

    @contextlib.contextmanager
    def _noting_interrupts(self) -> Iterator[None]:
        # Raised inside a destructor or a callback of the garbage collector,
        # Python reports a KeyboardInterrupt and goes on. So it is noted too.
        self._interrupted = False

        def note(number: int, frame: object) -> None:
            self._interrupted = True
            raise KeyboardInterrupt

        def report(what: 'sys.UnraisableHookArgs') -> None:
            if not self._interrupted:
                sys.__unraisablehook__(what)

        # Whoever has nohup(1) ignore a signal wants no other answer to it.
        before = {
            number: signal.signal(number, note)
            for number in self.interrupts
            if number != signal.SIGHUP
            or signal.getsignal(number) != signal.SIG_IGN
        }
        hook, sys.unraisablehook = sys.unraisablehook, report
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            sys.unraisablehook = hook

    def go_on(self) -> None:
        """Between two steps: stop here if the person has asked for it."""
        if self._interrupted:
            raise KeyboardInterrupt

    def _fail(self, line: str, code: errors.Exit) -> int:
        # The text of an unexpected exception may have several lines.
        print(f'glance-wsgi: {" ".join(line.split())}', file=sys.stderr)
        return code

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The parser with the options of every verb."""
        parser = super().get_parser(prog_name)
        first = 'what is installed, or else ' if self.prefers_installed else ''
        parser.add_argument(
            '--state-dir',
            metavar='DIR',
            type=pathlib.Path,
            default=None if self.prefers_installed else default_state_dir(),
            help='Where the deployment is: its configuration, logs and data. '
            'Each directory is a deployment of its own. (default: '
            f'{first}/var/lib/glance-wsgi for root, for everybody else '
            'glance-wsgi in the XDG state directory, ~/.local/state)',
        )
        return parser

    def find(self, state_dir: pathlib.Path, *arguments: Any) -> Deployment:
        """The deployment of a state directory, made or to be made."""
        deployment = Deployment(state_dir, *arguments)
        # A name that has no address any more must not keep "down" from it;
        # where it matters the preflight says so.
        with contextlib.suppress(errors.BadAddress):
            programs.bypass_proxies(deployment.hosts())
        return deployment

    def existing(self, parsed_args: argparse.Namespace) -> Deployment:
        """The deployment that the person named.

        :raises errors.StateMissing: there is none
        """
        deployment = self.find(parsed_args.state_dir)
        if deployment.marker is None:
            raise errors.StateMissing(
                f'There is no deployment in {deployment.state.path}.',
                'Run "glance-wsgi up" first, or give the --state-dir that it '
                'was given.',
            )
        return deployment

    def meant(self, parsed_args: argparse.Namespace) -> Deployment:
        """The deployment that the person means, installed or not.

        :raises errors.StateMissing: there is none
        :raises errors.NotRoot: it is installed, and only root may read that
        """
        if self.means_installed(parsed_args):
            found = install.installed()
            if found is not None:
                with contextlib.suppress(errors.BadAddress):
                    programs.bypass_proxies(found.hosts())
                return found
        return self.existing(parsed_args)

    def means_installed(self, parsed_args: argparse.Namespace) -> bool:
        """Whether the person means what is installed.

        Not where "up" has started what is named, or would be without a
        --state-dir.
        """
        known = install.facts()
        if known is None:
            return False
        own = self.find(parsed_args.state_dir)
        if self._runs_itself(own):
            return False
        if known['state_dir'] == str(own.state.path):
            return True
        # Whoever is not root means the deployment of their own.
        theirs = own.marker is not None and os.geteuid() != 0
        return parsed_args.state_dir is None and not theirs

    def _runs_itself(self, deployment: Deployment) -> bool:
        """Whether something runs that "up" has started."""
        if deployment.marker is None:
            return False
        return bool(servers.load(deployment).processes())


def add_options(
    parser: argparse.ArgumentParser, names: Container[str] | None = None
) -> None:
    """Make a flag of each option that is declared in `glance_wsgi.conf`.

    And one for a file that has some of them.

    :param names: only of these
    """
    parser.add_argument(
        '--config-file',
        metavar='FILE',
        help='Read options from this file. Flags of the same name win.',
    )
    for group, opts in conf.list_opts():
        section = parser.add_argument_group(f'[{group}]')
        for opt in opts:
            if names is not None and opt.dest not in names:
                continue
            section.add_argument(
                f'--{opt.name.replace("_", "-")}',
                dest=opt.dest,
                metavar=opt.metavar,
                help=_help(opt),
            )


def _help(opt: cfg.Opt) -> str:
    text = opt.help
    if opt.default is not None:
        default = opt.default
        if isinstance(default, dict):
            default = ','.join(f'{k}:{v}' for k, v in default.items())
        text += f' (default: {default})'
    return text.replace('%', '%%')


def overrides(parsed_args: argparse.Namespace) -> dict[str, Any]:
    """What the person gave on the command line, by the options' names."""
    names = [opt.dest for _, opts in conf.list_opts() for opt in opts]
    return {name: getattr(parsed_args, name, None) for name in names}
