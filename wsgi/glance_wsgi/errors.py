"""What can go wrong, each with its cause, outcome, action and exit code.

One line of each error reaches the person: the cause (what was found), the
outcome (what was, or was not, done about it) and the action (what to type or
change). doc/source/errors.rst explains every one of them.
"""

import enum


class Exit(enum.IntEnum):
    """Exit codes of ``glance-wsgi``; a number is never used twice.

    3, 4 and 5 are no errors but what ``db check`` found; they are the codes of
    ``glance-manage db check``.
    """

    OK = 0
    NOT_SERVING = 1
    USAGE = 2
    EXPAND_PENDING = 3
    MIGRATE_PENDING = 4
    CONTRACT_PENDING = 5
    BAD_ADDRESS = 10
    PORT_IN_USE = 11
    PORT_NOT_ALLOWED = 12
    STATE_NOT_WRITABLE = 13
    STATE_NOT_REACHABLE = 14
    STATE_FOREIGN = 15
    STATE_MISSING = 16
    STATE_BUSY = 17
    PYTHON_NOT_READABLE = 18
    DISK_FULL = 19
    GLANCE_UNSUPPORTED = 20
    SERVER_UNKNOWN = 21
    SERVER_MISSING = 22
    STORE_UNKNOWN = 23
    BAD_OPTION = 24
    BAD_CERTIFICATE = 28
    SERVER_REFUSES = 29
    CHECK_WARNINGS = 25
    CHECK_ERRORS = 26
    FILE_NOT_CHECKED = 27
    DATABASE_UNSUPPORTED = 30
    DATABASE_UNREACHABLE = 31
    DATABASE_REFUSED = 32
    DATABASE_NEWER = 33
    DATABASE_EMPTY = 34
    DATABASE_LEGACY = 35
    DATABASE_BRANCHED = 36
    DATABASE_OFFLINE_ONLY = 37
    DATABASE_BUSY = 38
    MIGRATION_FAILED = 39
    KEYSTONE_UNREACHABLE = 40
    KEYSTONE_REFUSED = 41
    CLOUD_UNKNOWN = 42
    CERTIFICATE_UNTRUSTED = 43
    IMAGES_MISSING = 44
    IMAGES_UNREACHABLE = 45
    IMAGES_FOREIGN = 46
    SMOKE_FAILED = 47
    SMOKE_NOT_RUN = 48
    STEP_FAILED = 50
    NOT_READY = 51
    NOT_STOPPED = 52
    USER_NOT_MADE = 53
    TEMPLATE_INCOMPLETE = 54
    NOT_ROOT = 55
    SITE_FOREIGN = 56
    INSTALL_FAILED = 57
    NOT_INSTALLED = 58
    GATE_UNSUITABLE = 60
    STOP_FILE_UNKNOWN = 61
    NOT_DRAINED = 62
    TASKS_ORPHANED = 63
    SIZE_IMPOSSIBLE = 64
    UNEXPECTED = 70
    INTERRUPTED = 130


class GlanceWSGIError(Exception):
    """The root of all errors that a person can meet.

    :param cause: what was found, with the value that was found
    :param action: what the person can do about it
    :param outcome: what has happened to the deployment because of it
    """

    code = Exit.UNEXPECTED
    outcome = 'Nothing was changed.'

    def __init__(
        self, cause: str, action: str, outcome: str | None = None
    ) -> None:
        self.cause = cause
        self.action = action
        if outcome is not None:
            self.outcome = outcome
        super().__init__(self.line())

    def line(self) -> str:
        """The whole error as one line."""
        parts = (self.cause, self.outcome, self.action)
        return ' '.join(' '.join(parts).split())


class NotServing(GlanceWSGIError):
    """Nothing runs, or what runs does not answer."""

    code = Exit.NOT_SERVING


class BadAddress(GlanceWSGIError):
    """An address is not HOST:PORT."""

    code = Exit.BAD_ADDRESS


class PortInUse(GlanceWSGIError):
    """Something else listens on an address that we need."""

    code = Exit.PORT_IN_USE


class PortNotAllowed(GlanceWSGIError):
    """The address can't be bound: not ours, or a privileged port."""

    code = Exit.PORT_NOT_ALLOWED


class StateNotWritable(GlanceWSGIError):
    """The state directory can't be made or written."""

    code = Exit.STATE_NOT_WRITABLE


class StateNotReachable(GlanceWSGIError):
    """The service user can't reach the state directory."""

    code = Exit.STATE_NOT_REACHABLE


class StateForeign(GlanceWSGIError):
    """The state directory holds something that this version can't use."""

    code = Exit.STATE_FOREIGN


class StateMissing(GlanceWSGIError):
    """There is no deployment in the state directory."""

    code = Exit.STATE_MISSING


class StateBusy(GlanceWSGIError):
    """Another glance-wsgi works on the same state directory."""

    code = Exit.STATE_BUSY


class PythonNotReadable(GlanceWSGIError):
    """The service user can't run the Python that we run under."""

    code = Exit.PYTHON_NOT_READABLE


class DiskFull(GlanceWSGIError):
    """There is too little free space for images."""

    code = Exit.DISK_FULL


class GlanceUnsupported(GlanceWSGIError):
    """The installed Glance is missing, too old or too new."""

    code = Exit.GLANCE_UNSUPPORTED


class ServerUnknown(GlanceWSGIError):
    """``--server`` names no way to host that we know."""

    code = Exit.SERVER_UNKNOWN


class ServerMissing(GlanceWSGIError):
    """The web server's program is not installed."""

    code = Exit.SERVER_MISSING


class StoreUnknown(GlanceWSGIError):
    """``--stores`` names a kind of store that we can't set up."""

    code = Exit.STORE_UNKNOWN


class BadOption(GlanceWSGIError):
    """An option's value, or a configuration file, can't be used."""

    code = Exit.BAD_OPTION


class BadCertificate(GlanceWSGIError):
    """The certificate, its key or the two together can't be used."""

    code = Exit.BAD_CERTIFICATE


class ServerRefuses(GlanceWSGIError):
    """The web server can't do what is asked, or refuses its files."""

    code = Exit.SERVER_REFUSES


class FileNotChecked(GlanceWSGIError):
    """A file can't be read, or is none that ``check`` knows."""

    code = Exit.FILE_NOT_CHECKED


class DatabaseUnsupported(GlanceWSGIError):
    """The database URL is of a kind that Glance can't use here."""

    code = Exit.DATABASE_UNSUPPORTED


class DatabaseUnreachable(GlanceWSGIError):
    """No database answers at the URL."""

    code = Exit.DATABASE_UNREACHABLE


class DatabaseRefused(GlanceWSGIError):
    """The database refuses the user, the password or the schema's name."""

    code = Exit.DATABASE_REFUSED


class DatabaseNewer(GlanceWSGIError):
    """The database has a revision that the installed Glance doesn't know."""

    code = Exit.DATABASE_NEWER


class DatabaseEmpty(GlanceWSGIError):
    """The database has no tables of Glance yet."""

    code = Exit.DATABASE_EMPTY


class DatabaseLegacy(GlanceWSGIError):
    """The database has tables that Alembic knows no revision of."""

    code = Exit.DATABASE_LEGACY


class DatabaseBranched(GlanceWSGIError):
    """The database is at revisions that don't belong together."""

    code = Exit.DATABASE_BRANCHED


class DatabaseOfflineOnly(GlanceWSGIError):
    """Glance can't upgrade this kind of database phase by phase."""

    code = Exit.DATABASE_OFFLINE_ONLY


class DatabaseBusy(GlanceWSGIError):
    """Another program keeps the database locked."""

    code = Exit.DATABASE_BUSY


class MigrationFailed(GlanceWSGIError):
    """A data migration of Glance can't be asked, or does not work."""

    code = Exit.MIGRATION_FAILED


class KeystoneUnreachable(GlanceWSGIError):
    """No Keystone answers at the URL."""

    code = Exit.KEYSTONE_UNREACHABLE


class KeystoneRefused(GlanceWSGIError):
    """Keystone refuses the credentials, or there are none."""

    code = Exit.KEYSTONE_REFUSED


class CloudUnknown(GlanceWSGIError):
    """There is no such entry in clouds.yaml, or it is of no use here."""

    code = Exit.CLOUD_UNKNOWN


class CertificateUntrusted(GlanceWSGIError):
    """A server's certificate does not verify."""

    code = Exit.CERTIFICATE_UNTRUSTED


class ImagesMissing(GlanceWSGIError):
    """Keystone's catalogue has no Images API."""

    code = Exit.IMAGES_MISSING


class ImagesUnreachable(GlanceWSGIError):
    """Nothing answers where the catalogue has the Images API."""

    code = Exit.IMAGES_UNREACHABLE


class ImagesForeign(GlanceWSGIError):
    """What answers there is no Images v2 API."""

    code = Exit.IMAGES_FOREIGN


class SmokeNotRun(GlanceWSGIError):
    """The smoke tests can't be run, or there are none of that name."""

    code = Exit.SMOKE_NOT_RUN


class StepFailed(GlanceWSGIError):
    """A program that a step of ``up`` runs has failed."""

    code = Exit.STEP_FAILED
    outcome = 'Later steps were not begun.'


class NotReady(GlanceWSGIError):
    """What was started does not answer."""

    code = Exit.NOT_READY
    outcome = 'What was started is left as it is.'


class NotStopped(GlanceWSGIError):
    """A process that we started would not end."""

    code = Exit.NOT_STOPPED
    outcome = 'It still runs.'


class UserNotMade(GlanceWSGIError):
    """The system user for the service can't be made."""

    code = Exit.USER_NOT_MADE


class TemplateIncomplete(GlanceWSGIError):
    """A template is missing, broken, or needs what nobody gave."""

    code = Exit.TEMPLATE_INCOMPLETE


class NotRoot(GlanceWSGIError):
    """Only root may change what is the system's."""

    code = Exit.NOT_ROOT


class SiteForeign(GlanceWSGIError):
    """A file that we would write is somebody else's."""

    code = Exit.SITE_FOREIGN


class InstallFailed(GlanceWSGIError):
    """What was installed does not start, or does not serve."""

    code = Exit.INSTALL_FAILED
    outcome = 'Everything is as it was before.'


class NotInstalled(GlanceWSGIError):
    """There is nothing that "install" has installed."""

    code = Exit.NOT_INSTALLED


class GateUnsuitable(GlanceWSGIError):
    """An option does not go with ``--profile gate``."""

    code = Exit.GATE_UNSUITABLE


class StopFileUnknown(GlanceWSGIError):
    """No file is known by which a node can be taken out."""

    code = Exit.STOP_FILE_UNKNOWN


class NotDrained(GlanceWSGIError):
    """Tasks still run on a node that is being taken out."""

    code = Exit.NOT_DRAINED
    outcome = 'The node begins no others.'


class TasksOrphaned(GlanceWSGIError):
    """Tasks, images or files are left over from processes that have died."""

    code = Exit.TASKS_ORPHANED


class SizeImpossible(GlanceWSGIError):
    """The machine, or the database, is too small for what is wanted."""

    code = Exit.SIZE_IMPOSSIBLE
