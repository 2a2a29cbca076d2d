"""The web server in the system's places: all of it, or nothing changed.

What was there before a command is kept in a checkpoint until the command has
shown that the API serves; whatever goes wrong puts it back. What was there
before the first of them is kept in another one, for "uninstall".
"""

import contextlib
import dataclasses
import difflib
import errno
import functools
import importlib.metadata
import json
import os
import pathlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from glance_wsgi import applications
from glance_wsgi import checkpoint
from glance_wsgi import errors
from glance_wsgi import keystone
from glance_wsgi import platforms
from glance_wsgi import preflight
from glance_wsgi import probe
from glance_wsgi import programs
from glance_wsgi import servers
from glance_wsgi import state
from glance_wsgi import steps
from glance_wsgi import systemd
from glance_wsgi.deployment import Deployment
from glance_wsgi.places import Places
from glance_wsgi.render import File

HOME = pathlib.Path('/var/lib/glance-wsgi-installed')
"""Where both checkpoints are, and the lock."""

GLANCE = pathlib.Path('/etc/glance')
"""The Glance that is hosted where "up" has configured none."""

BY_US = 'Written by glance-wsgi'

NEW, CHANGED, UNCHANGED, REMOVED = 'new', 'changed', 'unchanged', 'removed'


class Plain(File):
    """A file whose text is made here, not by a template."""

    def text(self) -> str:
        return str(self.variables['text'])


def _plain(path: pathlib.Path, text: str, mode: int = 0o644) -> Plain:
    return Plain(path, '', {'text': text}, state.Owner.myself(), mode)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What has happened, or would happen, to a file."""

    word: str
    path: pathlib.Path
    diff: tuple[str, ...] = ()


def options_file() -> pathlib.Path:
    """The options of what is installed."""
    return Places.of_system().etc / 'glance-wsgi.conf'


def _marker() -> pathlib.Path:
    return Places.of_system().etc / 'installation.json'


def lasting() -> checkpoint.Checkpoint:
    """What was there before the first "install"."""
    return checkpoint.Checkpoint(HOME / 'before')


def _tentative() -> checkpoint.Checkpoint:
    return checkpoint.Checkpoint(HOME / 'checkpoint')


def facts() -> dict[str, Any] | None:
    """What is known of the installation; None where there is none.

    :raises errors.StateForeign: the file is not as we write it
    """
    try:
        known = json.loads(_marker().read_text())
        return {'state_dir': known['state_dir'], 'files': known['files']}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise errors.StateForeign(
            f'{_marker()} is damaged ({error}).',
            'Remove it and run "glance-wsgi install" again.',
        ) from error


def installed() -> Deployment | None:
    """The deployment that is installed; None where there is none.

    :raises errors.NotRoot: its options are for root alone to read
    """
    known = facts()
    if known is None:
        return None
    if options_file().exists() and not os.access(options_file(), os.R_OK):
        raise errors.NotRoot(
            f"{options_file()} can't be read, and the user is not root.",
            'Run it as root, for example with sudo.',
        )
    found = Deployment(known['state_dir'], installed=options_file())
    return in_system(found)


def in_system(deployment: Deployment) -> Deployment:
    """A deployment with its server in the system's places."""
    deployment.places = Places.of_system(deployment.user.name)
    options = deployment.conf.deployment
    if deployment.marker is None and not options.glance_config_dir:
        deployment.conf.set_override(
            'glance_config_dir', str(GLANCE), 'deployment'
        )
    return deployment


def check_root() -> None:
    """Only root may.

    :raises errors.NotRoot: it is somebody else
    """
    if os.geteuid():
        raise errors.NotRoot(
            "This changes what is the system's, and the user is not root.",
            'Run it as root, for example with sudo.',
        )


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Keep others away, and put back first what a killed command has left.

    :raises errors.StateBusy: another one is at work
    """
    with state.StateDir(HOME).lock():
        recover()
        yield


def recover() -> bool:
    """Put back what a command left that was killed; True if there was any.

    :raises errors.GlanceWSGIError: a service does not follow; all files are
        put back, and the next command tries no more
    """
    before = _tentative()
    if not before.exists:
        before.forget()
        return False
    for trouble in _put_back(before):
        trouble.outcome = 'The files are as before a command that was killed.'
        raise trouble
    return True


@dataclasses.dataclass(frozen=True)
class _Note:
    """What has to be known, besides the files, to put everything back.

    :param server: the name of the one that is installed
    :param at: when its first file was yet to be written, in nanoseconds
    :param active: the services that ran then
    :param registered: whether Keystone may have been told of it
    """

    server: str
    at: int
    active: tuple[str, ...]
    registered: bool = False

    def write(self, before: checkpoint.Checkpoint) -> None:
        """Keep it beside the files."""
        me = state.Owner.myself()
        state.make_directory(before.directory, me, 0o700)
        text = json.dumps(dataclasses.asdict(self))
        state.write_file(before.directory / 'note.json', text, me)

    @classmethod
    def read(cls, before: checkpoint.Checkpoint) -> '_Note | None':
        """What `write` has kept; None where no service could be concerned."""
        try:
            text = (before.directory / 'note.json').read_text()
        except FileNotFoundError:
            return None
        return cls(**json.loads(text))


def _put_back(
    before: checkpoint.Checkpoint,
) -> list[errors.GlanceWSGIError]:
    """Put files back, and have the services serve as these say.

    :return: what did not work, which keeps nothing else from being put back
    """
    note = _Note.read(before) if systemd.booted() else None
    # Of nobody's deployment: what is asked of them is the same for any.
    new = _parts(note.server) if note else ()
    troubles: list[errors.GlanceWSGIError] = []
    for part in new:
        if note and part.service not in note.active:
            with _collecting(troubles):
                systemd.stop(part.service)
    with _telling('put back', LATER):
        _reread_vassals(before.put_back())
    if note:
        with _collecting(troubles):
            _serve_again(note, new, troubles)
    before.forget()
    return troubles


def _parts(server: str) -> tuple[servers.Part, ...]:
    return servers.load(in_system(Deployment(HOME)), server).parts


def _serve_again(
    note: _Note,
    new: tuple[servers.Part, ...],
    troubles: list[errors.GlanceWSGIError],
) -> None:
    known = installed()
    old = () if known is None else servers.load(known).parts
    used = {part.service for part in old}
    systemd.call('systemctl', 'daemon-reload')
    # What is not used any more comes first: it has addresses to give back.
    for part in (*(item for item in new if item.service not in used), *old):
        if part.service in note.active and part.has_read_since(note.at):
            with _collecting(troubles):
                part.revert()
    if note.registered and known is not None and known.hosted is None:
        _wait_for_health(known)
        _register(steps.Up(known))


@contextlib.contextmanager
def _collecting(troubles: list[errors.GlanceWSGIError]) -> Iterator[None]:
    try:
        yield
    except errors.GlanceWSGIError as error:
        troubles.append(error)


def _wait_for_health(known: Deployment) -> None:
    programs.bypass_proxies(known.hosts())
    server = servers.load(known)
    for item in applications.of(known):
        probe.wait_until(
            ready=functools.partial(_is_healthy, item.health),
            # What its log has may be about what was tried meanwhile.
            complaint=lambda: None,
            what=item.name,
            where=str(server.log(item)),
        )


def _is_healthy(url: str) -> bool:
    return probe.answers(url)


def _register(up: steps.Up) -> None:
    """Have the catalogue lead to what is installed."""
    if up.deployment.embedded_keystone:
        up.keystone_bootstrap()
    up.register()


def _reread_vassals(changed: list[pathlib.Path]) -> None:
    # The Emperor may have seen the new file, and would take the old one for
    # an older state of it.
    places = Places.of_system()
    for path in changed:
        if places.is_vassal(path) and path.is_file():
            os.utime(path)


AS_BEFORE = 'Everything is as it was before.'
LATER = f'What was there is in {HOME}; the next command puts it back.'
GOES_ON = 'The next "glance-wsgi uninstall" goes on from there.'


@contextlib.contextmanager
def _telling(what: str, outcome: str = AS_BEFORE) -> Iterator[None]:
    """Say in our words what the system refuses."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        kind = errors.DiskFull if full else errors.StateNotWritable
        raise kind(
            f"{error.filename or 'A file'} can't be {what}: "
            f'{error.strerror or error}.',
            'Make room on that disk.'
            if full
            else 'Let root write there; "mount" shows what is read-only.',
            outcome,
        ) from error


class Installation:
    """A deployment on its way into the system's places."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.before = installed()
        self.server = servers.load(deployment)
        self.outcomes: list[Outcome] = []

    def check(self) -> None:
        """Refuse what can't work, before anything is changed.

        :raises errors.GlanceWSGIError: the first thing that is wrong
        """
        preflight.check_paths(self.deployment)
        self.server.version()
        self.server.check()
        self._check_stopped()
        systemd.check_seen(self.deployment)
        preflight.check_python(self.deployment)
        preflight.check_certificate(self.deployment, self._by_root)
        # Computed for their errors: addresses that clients can't be told.
        _ = self.deployment.endpoint
        for part in self.server.parts:
            part.check_installable()
        self._check_ports()
        self._check_readable()

    @property
    def _by_root(self) -> bool:
        return any(part.started_by_root for part in self.server.parts)

    @property
    def applications(self) -> servers.Applications:
        """The applications that are to be served."""
        return applications.of(self.deployment)

    def _check_stopped(self) -> None:
        own = Deployment(self.deployment.state.path)
        if own.marker is None:
            return
        if servers.load(own).processes():
            raise errors.PortInUse(
                f'The deployment in {own.state.path} runs by itself, and has '
                'the addresses that the installed one needs.',
                'Stop it with "glance-wsgi down".',
            )

    def _check_foreign(self) -> None:
        """No file of somebody else's has the name of one of ours."""
        etc = self.deployment.places.etc
        for file in self._server_files():
            outside = not file.path.is_relative_to(etc)
            if (
                outside
                and os.path.lexists(file.path)
                and not _is_ours(file.path)
            ):
                raise errors.SiteForeign(
                    f'{file.path} is there, and glance-wsgi has not written '
                    'it.',
                    'Give it another name, or remove it.',
                )

    def _check_ports(self) -> None:
        held = set()
        for part in self.server.parts:
            held |= part.shared_ports()
        if self.before is not None and servers.load(self.before).processes():
            held |= {item.port for _, item in self.before.listening()}
        wanted = self.deployment.listening()
        for option, address in wanted:
            if address.port not in held:
                # The unit gives uWSGI what it needs for low ports.
                address.check_free(option, privileged=True)
        preflight.check_apart(dict(wanted))

    def _check_readable(self) -> None:
        """The service user reads the configuration that others have made."""
        for directory in self.deployment.configured_by_others:
            for file in sorted(directory.glob('*.conf')):
                if not preflight.may_read(self.deployment, file):
                    raise errors.BadOption(
                        f'The user {self.deployment.user.name}, who runs the '
                        f"services, can't read {file}.",
                        _how_to_let_read(self.deployment.user, file),
                    )

    def _server_files(self) -> list[File]:
        return [
            systemd.tmpfiles_file(self.deployment),
            *self.server.files(self.applications),
        ]

    def files(self) -> list[File]:
        """Every file, in the order in which they are written.

        The marker first: so it is the last one that "uninstall" puts back.
        """
        ours = [file for item in self.applications for file in item.files]
        options = self.deployment.options_text()
        everything = [
            _plain(options_file(), options, 0o600),
            *ours,
            *self._clouds(),
            *self._server_files(),
        ]
        known = {
            'glance_wsgi': importlib.metadata.version('glance-wsgi'),
            # For people and playbooks: which release it is that serves.
            'virtualenv': sys.prefix,
            'state_dir': str(self.deployment.state.path),
            'files': sorted(
                str(path)
                for path in (
                    *(file.path for file in everything),
                    *self._marks(),
                )
            ),
        }
        marker = json.dumps(known, indent=2) + '\n'
        return [_plain(_marker(), marker), *everything]

    def _clouds(self) -> list[File]:
        if self.deployment.hosted is not None:
            return []
        clouds = keystone.clouds(self.deployment)
        text = yaml.safe_dump(clouds, sort_keys=False)
        return [_plain(self.deployment.state.clouds, text, 0o600)]

    def _enabling(self) -> list[servers.Enabling]:
        return [item for part in self.server.parts for item in part.enabling()]

    def _marks(self) -> list[pathlib.Path]:
        """What enabling makes for our files."""
        return [
            mark
            for item in self._enabling()
            if item.ours
            for mark in item.marks
        ]

    def _stale(self) -> list[pathlib.Path]:
        """What was installed before, and is not wanted any more.

        Never what is in a state directory: it is the deployment's own.
        """
        known = facts() or {'files': [], 'state_dir': HOME}
        wanted = {str(file.path) for file in self.files()}
        wanted |= {str(mark) for mark in self._marks()}
        return [
            pathlib.Path(path)
            for path in sorted(set(known['files']) - wanted)
            if os.path.lexists(path)
            and not os.path.isdir(path)
            and not pathlib.Path(path).is_relative_to(known['state_dir'])
        ]

    def preview(self) -> list[Outcome]:
        """What would happen to each file; nothing is written."""
        # Whose files they will be is nobody yet, maybe.
        self.deployment.user = self.deployment.user.stand_in()
        self._check_foreign()
        return [
            *(_preview(file) for file in self.files()),
            *(Outcome(REMOVED, path) for path in self._stale()),
            *(
                Outcome(NEW, mark)
                for item in self._enabling()
                for mark in item.marks
                if not item.done() and not os.path.lexists(mark)
            ),
        ]

    def install(
        self, told: Callable[[list[str]], None] = lambda lines: None
    ) -> list[Outcome]:
        """Write, test, start, ask; and put everything back if one fails.

        :param told: is told what the start has to wait for
        :return: what has become of each file
        :raises errors.GlanceWSGIError: it did not work; all is as before
        """
        user = self.deployment.user
        # Which files there will be does not depend on whose they will be.
        self.deployment.user = user.stand_in()
        self._check_foreign()
        self.deployment.user = user.make()
        try:
            self._undoing(lambda before: self._install(before, told))
        except BaseException as error:
            if user.owner is None:
                _remove_user(user.name, error)
            raise
        return self.outcomes

    def _undoing(self, work: Callable[[checkpoint.Checkpoint], None]) -> None:
        """Do some work that changes files; all or nothing of it."""
        before = _tentative()
        try:
            work(before)
            with _telling('kept'):
                lasting().take_over(before)
        except errors.GlanceWSGIError as error:
            begun = before.directory.exists()
            troubles = _put_back(before)
            if begun:
                error.outcome = _outcome(troubles)
            raise
        except BaseException:
            _put_back(before)
            raise
        before.forget()

    def _install(
        self,
        before: checkpoint.Checkpoint,
        told: Callable[[list[str]], None],
    ) -> None:
        self._try_early()
        files, stale = self.files(), self._stale()
        self._begin(before)
        self._change(before, files, stale, vassals=False)
        for item in self._enabling():
            self._enable(before, item)
        self._try_late()
        self._make_directories(before)
        if systemd.booted():
            # What they have is what the vassals want.
            for part in self._leaving():
                part.leave()
        # The Emperor takes them at once, so all has to be well by now.
        self._change(before, files, stale, vassals=True)
        if systemd.booted():
            self._start(before, told)

    def _begin(self, before: checkpoint.Checkpoint) -> None:
        """Note what runs, before the first file is changed."""
        parts = (*self._leaving(), *self.server.parts)
        services = {part.service for part in parts}
        active = sorted(filter(systemd.is_active, services))
        self._note = _Note(self.server.name, time.time_ns(), tuple(active))
        self._note.write(before)

    def _try_early(self) -> None:
        # An Emperor that runs takes a file at once, good or bad: so it is
        # tried before it is written, which Apache's can't be.
        for part in self.server.parts:
            if not part.started_by_root:
                part.test(self.applications)
        if self.deployment.hosted is not None:
            self._try_loading()

    def _try_late(self) -> None:
        for part in self.server.parts:
            if part.started_by_root:
                part.test(self.applications)
        if self.deployment.hosted is None:
            self._try_loading()

    def _try_loading(self) -> None:
        for application in self.applications:
            applications.check_loads(self.deployment, application)

    def _change(
        self,
        before: checkpoint.Checkpoint,
        files: list[File],
        stale: list[pathlib.Path],
        vassals: bool,
    ) -> None:
        """Write and remove the files of vassals; or all others."""
        is_vassal = self.deployment.places.is_vassal
        with _telling('written'):
            self._write(
                before,
                [file for file in files if is_vassal(file.path) == vassals],
            )
            self._remove(
                before, [path for path in stale if is_vassal(path) == vassals]
            )

    def _write(self, before: checkpoint.Checkpoint, files: list[File]) -> None:
        places = self.deployment.places
        for directory in (places.etc, places.etc / 'wsgi', places.vassals):
            before.make_directory(directory)
        for file in files:
            existed = os.path.lexists(file.path)
            before.make_directory(file.path.parent)
            changed = before.write(file)
            word = (CHANGED if existed else NEW) if changed else UNCHANGED
            self.outcomes.append(Outcome(word, file.path))

    def _remove(
        self, before: checkpoint.Checkpoint, paths: list[pathlib.Path]
    ) -> None:
        for path in paths:
            before.remove(path)
            self.outcomes.append(Outcome(REMOVED, path))

    def _enable(
        self, before: checkpoint.Checkpoint, item: servers.Enabling
    ) -> None:
        if item.done():
            return
        with _telling('kept'):
            for mark in item.marks:
                before.keep(mark)
        systemd.call(*item.command)
        self.outcomes.extend(
            Outcome(NEW, mark) for mark in item.marks if mark.is_symlink()
        )

    def _make_directories(self, before: checkpoint.Checkpoint) -> None:
        for path in (self.deployment.places.run, self.deployment.places.log):
            before.keep(path)
        systemd.call('systemd-tmpfiles', '--create', systemd.TMPFILES)

    def _start(
        self,
        before: checkpoint.Checkpoint,
        told: Callable[[list[str]], None],
    ) -> None:
        try:
            systemd.call('systemctl', 'daemon-reload')
            told(self._up().delays())
            self.server.start(self.applications)
            self._ask(before)
        except (errors.NotReady, errors.StepFailed) as error:
            raise errors.InstallFailed(
                error.cause,
                'Correct that, and run "glance-wsgi install" again; the log '
                f'is {self.server.log(self.applications[-1])}.',
            ) from error

    def _up(self) -> steps.Up:
        up = steps.Up(self.deployment)
        up.server = self.server
        return up

    def _leaving(self) -> list[servers.Part]:
        """The parts of what was installed that are not used any more."""
        if self.before is None:
            return []
        used = {part.service for part in self.server.parts}
        old = servers.load(self.before)
        return [part for part in old.parts if part.service not in used]

    def _ask(self, before: checkpoint.Checkpoint) -> None:
        """Wait until everything serves; a list of images is the last word."""
        up = self._up()
        for application in self.applications:
            up.wait_for(application)
        if self.deployment.hosted is None:
            # Clients find it by the catalogue, under the address that it has.
            dataclasses.replace(self._note, registered=True).write(before)
            _register(up)
            up.ready()

    def reload(
        self,
        timeout: float,
        told: Callable[[str, int], None],
        told_awaited: Callable[[list[str]], None],
    ) -> bool:
        """New configuration and code for what is installed, nothing lost.

        :param timeout: seconds that each application may take
        :param told: see `steps.Up.reload`
        :param told_awaited: is told what is waited for before that
        :return: whether a file has changed that only "install" can take
        """
        since = time.time()
        later = self._start_files()
        files = self.files()
        self._undoing(
            lambda before: self._renew(
                before,
                [file for file in files if file.path not in later],
                timeout,
                told,
                told_awaited,
            )
        )
        self._up().reload(since, timeout, told)
        return any(not file.is_right() for file in files if file.path in later)

    def _start_files(self) -> set[pathlib.Path]:
        found = {systemd.TMPFILES}
        for part in self.server.parts:
            found |= part.start_files()
        return found

    def _renew(
        self,
        before: checkpoint.Checkpoint,
        files: list[File],
        timeout: float,
        told: Callable[[str, int], None],
        told_awaited: Callable[[list[str]], None],
    ) -> None:
        self._try_early()
        self._begin(before)
        self._change(before, files, [], vassals=False)
        self._try_late()
        self._change(before, files, [], vassals=True)
        told_awaited(self.server.awaited(self.applications))
        self.server.start(self.applications, told, timeout)


def _how_to_let_read(user: programs.ServiceUser, file: pathlib.Path) -> str:
    """What a person can do about a file that the service user can't read."""
    let = f'"chgrp {user.name} {file}" and "chmod g+r {file}"'
    if user.owner is None:
        command = ' '.join(platforms.current().add_user_command(user.name))
        let = f'"{command}", {let}'
    return (
        'Give --run-as a user who may, for example the one whom Glance had '
        f'so far; or let this one: {let}.'
    )


def _remove_user(name: str, why: BaseException) -> None:
    """Remove the service user that was made for what has failed."""
    try:
        systemd.call(*platforms.current().remove_user_command(name))
    except errors.InstallFailed as error:
        if isinstance(why, errors.GlanceWSGIError):
            why.outcome += f' But the new user {name} is left: {error.cause}'


def _outcome(troubles: list[errors.GlanceWSGIError]) -> str:
    if not troubles:
        return AS_BEFORE
    causes = ' '.join(trouble.cause for trouble in troubles)
    return f'All files are as they were before, but this is not: {causes}'


def _is_ours(path: pathlib.Path) -> bool:
    try:
        return BY_US in path.read_text(errors='replace')
    except OSError:
        return False


def _preview(file: File) -> Outcome:
    if file.is_right():
        return Outcome(UNCHANGED, file.path)
    try:
        old = file.path.read_text(errors='replace')
    except FileNotFoundError:
        old = ''
    word = CHANGED if os.path.lexists(file.path) else NEW
    if not file.mode & 0o077:
        return Outcome(word, file.path, ('(secret: not shown)\n',))
    lines = difflib.unified_diff(
        old.splitlines(keepends=True),
        file.text().splitlines(keepends=True),
        str(file.path),
        str(file.path),
    )
    return Outcome(word, file.path, tuple(lines))


def uninstall() -> tuple[Deployment | None, list[str]]:
    """Put back what was there before the first "install".

    :return: what was installed, as far as it is known; and the modules of
        Apache that stay, since another site needs some by now
    :raises errors.NotInstalled: there is nothing
    """
    deployment = installed()
    if deployment is None and not lasting().exists:
        raise errors.NotInstalled(
            'Nothing is installed.',
            '"glance-wsgi install" is what would be undone.',
        )
    parts = () if deployment is None else servers.load(deployment).parts
    for part in parts:
        part.wait_until_quiet()
    try:
        kept = _uninstall(lasting(), parts)
    except errors.GlanceWSGIError as error:
        error.outcome = GOES_ON
        raise
    if deployment is not None:
        shutil.rmtree(deployment.places.run, ignore_errors=True)
    return deployment, kept


def _uninstall(
    before: checkpoint.Checkpoint, parts: tuple[servers.Part, ...]
) -> list[str]:
    kept = []
    # Apache first, which asks the other one.
    for part in reversed(parts):
        with _telling('put back', GOES_ON):
            kept += part.withdraw(before)
        if systemd.booted():
            part.leave()
    # Until the services are left they have their files; and until the end it
    # is known which they are.
    with _telling('put back', GOES_ON):
        before.put_back(lambda path: path not in (_marker(), options_file()))
        if systemd.booted():
            systemd.call('systemctl', 'daemon-reload')
        before.restore()
    return kept
