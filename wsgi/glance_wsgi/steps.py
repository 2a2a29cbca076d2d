"""What ``up`` does, as an ordered list of steps.

A step looks first whether its work is done already, so ``up`` can be run
again at any time: after success it changes nothing, after an interruption it
goes on, after a crash it repairs.
"""

import dataclasses
import functools
import importlib.metadata
from collections.abc import Callable

import yaml

from glance_wsgi import applications
from glance_wsgi import checkpoint
from glance_wsgi import db
from glance_wsgi import errors
from glance_wsgi import gate
from glance_wsgi import keystone
from glance_wsgi import nodes
from glance_wsgi import preflight
from glance_wsgi import probe
from glance_wsgi import programs
from glance_wsgi import servers
from glance_wsgi import state
from glance_wsgi import upstream
from glance_wsgi.db import own
from glance_wsgi.db import plan
from glance_wsgi.deployment import Deployment
from glance_wsgi.render import File


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of ``up``.

    :param name: what the person sees
    :param work: does it; True if it changed anything
    :param awaited: what it has to wait for, for people
    """

    name: str
    work: Callable[[], bool]
    awaited: Callable[[], list[str]] = list


class Up:
    """The steps for one deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.state = deployment.state
        self.server = servers.load(deployment)

    def steps(self) -> list[Step]:
        """All of them in their order, after `check`."""
        keystone_steps = [
            Step('keystone keys', self.keystone_keys),
            Step('keystone database', self.keystone_database),
            Step('keystone bootstrap', self.keystone_bootstrap),
        ]
        gate_steps = [Step('images to download', self.images_to_download)]
        return [
            Step('state directory', self.state_directory),
            *(gate_steps if self.deployment.gate else ()),
            Step('secrets', self.secrets),
            Step('configuration', self.configuration),
            Step('db sync', self.db_sync),
            Step('metadefs', self.metadefs),
            *(keystone_steps if self.deployment.embedded_keystone else ()),
            Step('start', self.start, self.delays),
            Step('service and endpoints', self.register),
            Step('ready', self.ready),
        ]

    def check(self) -> bool:
        """Refuse what can't work, before anything is changed."""
        preflight.check(self.deployment, self.server)
        return False

    def state_directory(self) -> bool:
        """The service user, the directories, and the marker."""
        # First of all, so that what follows is known to be ours.
        if self.deployment.marker is None:
            self._remember(complete=False)
        made = self.deployment.user.owner is None
        self.deployment.user = self.deployment.user.make()
        service = applications.service(self.deployment)
        changed = self.state.make(service)
        wanted = nodes.of(self.deployment)
        for path in (
            *gate.directories(self.deployment),
            *(path for node in wanted for path in node.directories()),
            *self.deployment.file_stores.values(),
        ):
            changed |= state.make_directory(path, service, 0o700)
        for node in wanted:
            changed |= state.make_directory(
                node.conf.parent, state.Owner.myself()
            )
        return made or changed

    def _remember(self, **facts: object) -> None:
        known = self.deployment.marker or {}
        self.deployment.marker = {
            **known,
            'glance_wsgi': importlib.metadata.version('glance-wsgi'),
            'glance': upstream.version(),
            **facts,
        }
        self.state.write_marker(self.deployment.marker)

    def _remembers(self, **facts: object) -> bool:
        marker = self.deployment.marker or {}
        return all(marker.get(name) == fact for name, fact in facts.items())

    def check_running(self) -> None:
        """Something runs that could be reloaded.

        :raises errors.NotServing: nothing does
        """
        if not self.server.processes():
            raise errors.NotServing(
                f'Nothing of {self.state.path} runs.',
                'Run "glance-wsgi up", which starts it with what is new.',
            )

    def images_to_download(self) -> bool:
        """What a gate's source serves."""
        return gate.write_images(self.deployment)

    def secrets(self) -> bool:
        """The passwords, made once."""
        there = self.state.secrets.exists()
        made = bool(self.deployment.passwords) and not there
        if made:
            # Tell Keystone too, if it had others.
            self._remember(keystone_bootstrap=None)
        return made

    def configuration(self, try_unchanged: bool = False) -> bool:
        """Every file that the applications and the server read.

        Where something serves already, the new ones are tried before they
        stay: a worker that dies must find files that it can start with.

        :param try_unchanged: try them also where they are what they were,
            since code or certificates may be new
        """
        me = state.Owner.myself()
        options = self.deployment.options_text()
        with checkpoint.tentatively(self.state.checkpoint) as files:
            vassals, others = self._configuration_files()
            changed = not all(item.is_right() for item in vassals)
            changed |= _write(files, others)
            if (changed or try_unchanged) and self.server.processes():
                self._try_configuration()
            _write(files, vassals)
        changed |= state.write_file(self.state.options, options, me)
        return changed | self._tell_clients()

    def _tell_clients(self) -> bool:
        me = state.Owner.myself()
        clouds = yaml.safe_dump(
            keystone.clouds(self.deployment), sort_keys=False
        )
        changed = state.write_file(self.state.clouds, clouds, me)
        if self.deployment.gate:
            return changed | gate.tempest_file(self.deployment).write()
        # It would say what is not so any more.
        told = self.state.tempest.exists()
        self.state.tempest.unlink(missing_ok=True)
        return changed | told

    def _configuration_files(self) -> tuple[list[File], list[File]]:
        """Those that the Emperor acts on as soon as they are there, and all
        others.
        """
        is_vassal = self.deployment.places.is_vassal
        vassals: list[File] = []
        others: list[File] = []
        for file in self.server.all_files(applications.of(self.deployment)):
            (vassals if is_vassal(file.path) else others).append(file)
        return vassals, others

    def _try_configuration(self) -> None:
        wanted = applications.of(self.deployment)
        preflight.check_certificate(self.deployment)
        self.server.test(wanted)
        for application in wanted:
            applications.check_loads(self.deployment, application)

    def db_sync(self) -> bool:
        """Glance's tables and ours, brought to their newest revision."""
        url = self.deployment.database
        found = db.current_revisions(url)
        mine = own.pending(db.parse(url))
        if found and preflight.known_current(self.deployment, found):
            if mine:
                self._manage('db', plan.EXPAND)
            return bool(mine)
        changed = self._upgrade(mine) if found else self._make_tables()
        if changed:
            db.prepare_sqlite(url)
        self._remember(database_revision=list(db.current_revisions(url)))
        if not found:
            self._remember(metadefs=None)
        return changed

    def _make_tables(self) -> bool:
        self._manage('db', 'sync')
        return True

    def _upgrade(self, mine: plan.Plan) -> bool:
        """Run each phase that is pending by the time of its turn."""
        url = db.parse(self.deployment.database)
        changed = False
        for phase in plan.PHASES:
            pending = (*mine, *plan.make(url))
            mine = ()
            if plan.next_phase(pending) == phase:
                self._run_phase(phase)
                changed = True
        return changed

    def _run_phase(self, phase: str) -> None:
        if phase == plan.MIGRATE:
            # glance-manage passes over those of older releases.
            config = applications.glance_conf(self.deployment)
            self._run(
                'glance-wsgi', 'db', 'migrate', f'--config-file={config}'
            )
        else:
            self._manage('db', phase)

    def _manage(self, *words: str) -> None:
        # glance-manage, with our tables before Glance's.
        config = applications.glance_conf(self.deployment)
        self._run('glance-wsgi-manage', '--config-file', str(config), *words)

    def _run(self, program: str, *words: str) -> None:
        programs.run(
            [programs.program(program), *words],
            self.deployment.user,
            self.state,
        )

    def metadefs(self) -> bool:
        """The metadata definitions that Glance ships."""
        if self._remembers(metadefs=upstream.version()):
            return False
        place = upstream.shipped('metadefs')
        self._manage('db', 'load_metadefs', str(place))
        self._remember(metadefs=upstream.version())
        return True

    def keystone_keys(self) -> bool:
        """The keys that tokens and credentials are encrypted with."""
        return keystone.make_keys(self.deployment)

    def keystone_database(self) -> bool:
        """Keystone's tables."""
        version = importlib.metadata.version('keystone')
        file = keystone.database_file(self.deployment)
        if file.exists() and self._remembers(keystone=version):
            return False
        self._remember(keystone_bootstrap=None)
        keystone.set_up_database(self.deployment)
        db.prepare_sqlite(f'sqlite:///{file}')
        self._remember(keystone=version)
        return True

    def keystone_bootstrap(self) -> bool:
        """Keystone's administrator and its own endpoints."""
        facts = [
            self.deployment.keystone_url,
            self.deployment.conf.deployment.region,
        ]
        if self._remembers(keystone_bootstrap=facts):
            return False
        keystone.bootstrap(self.deployment)
        self._remember(keystone_bootstrap=facts)
        return True

    def start(
        self,
        told: Callable[[str, int], None] = lambda name, left: None,
        timeout: float | None = None,
    ) -> bool:
        """Start what does not run, and wait for Keystone.

        :param told: see `reload`
        :param timeout: see `reload`; the mercy where nothing is given
        """
        wanted = applications.of(self.deployment)
        self._remember_server()
        changed = self.server.start(wanted, told, timeout)
        for application in wanted[:-1]:
            self.wait_for(application)
        return changed

    def awaited(self) -> list[str]:
        """What the next `start` has to wait for, for people."""
        return self.server.awaited(applications.of(self.deployment))

    def delays(self) -> list[str]:
        """What the next `start` has to wait for, and what it replaces."""
        outdated = {
            application.name: self.server.outdated(application)
            for application in applications.of(self.deployment)
        }
        return [
            *self.awaited(),
            *(
                f'{name}: {number} to be replaced, each when it has finished '
                'what it has begun'
                for name, number in outdated.items()
                if number
            ),
        ]

    def reload(
        self, since: float, timeout: float, told: Callable[[str, int], None]
    ) -> None:
        """New processes for every application, one after the other.

        :param since: seconds, as files' times are: what has begun later has
            been replaced by `start`
        :param timeout: seconds that each application may take
        :param told: is told the name of an application and how many of its
            processes are yet to be replaced
        """
        for application in applications.of(self.deployment):
            self.server.reload(
                application,
                since,
                timeout,
                functools.partial(told, application.name),
            )
            self.wait_for(application)

    def _remember_server(self) -> None:
        # Before it starts: what an interrupted start has left is its, too.
        if not self._remembers(server=self.server.name):
            self._remember(server=self.server.name)

    def wait_for(self, application: applications.Application) -> None:
        """Wait until an application serves with its files as they are.

        :raises errors.NotReady: it does not
        """
        probe.wait_until(
            ready=lambda: (
                self.server.settled(application)
                and probe.answers(application.health)
            ),
            complaint=lambda: self.server.complaint(application),
            what=application.name,
            where=str(self.server.log(application)),
            # By transfers of old processes, for as long as these may take.
            held=lambda: bool(self.server.awaited((application,))),
            patience=self.deployment.conf.server.task_mercy,
        )

    def register(self) -> bool:
        """Glance's user, service and endpoints in Keystone."""
        if keystone.is_registered(self.deployment):
            return False
        # Before it: what an interrupted registration made is ours too.
        self._remember(registered=keystone.place(self.deployment))
        keystone.register(self.deployment)
        return True

    def ready(self) -> bool:
        """Wait until the API answers, then until it accepts a token."""
        for application in applications.of(self.deployment):
            self.wait_for(application)
        probe.list_images(
            self.deployment,
            self.server.log(applications.of(self.deployment)[-1]),
        )
        if not self._remembers(complete=True):
            self._remember(complete=True)
        return False


def _write(checked: checkpoint.Checkpoint, files: list[File]) -> bool:
    return any([checked.write(file) for file in files])
