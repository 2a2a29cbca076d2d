"""Where the files of a web server are: in a state directory, or the system's.

https://refspecs.linuxfoundation.org/FHS_3.0/fhs/index.html
"""

import dataclasses
import pathlib

from glance_wsgi import platforms
from glance_wsgi import programs
from glance_wsgi import state


@dataclasses.dataclass(frozen=True)
class Places:
    """The directories of one set of configuration files.

    :param etc: configuration
    :param run: pid files, sockets and locks
    :param log: logs
    :param socket_group: the group of an Apache that is another user than the
        applications; None where they are the same
    :param daemon_user: whom mod_wsgi's daemon processes run as, where Apache
        is started by root; None where Apache is the service user itself
    :param system: whether the services are the system's: systemd starts them,
        and Apache is the one that the distribution has set up
    """

    etc: pathlib.Path
    run: pathlib.Path
    log: pathlib.Path
    socket_group: str | None = None
    daemon_user: str | None = None
    system: bool = False

    @property
    def stopping(self) -> pathlib.Path:
        """The file that is locked while the server is being stopped."""
        return self.run / 'stopping'

    @property
    def vassals(self) -> pathlib.Path:
        """The directory that uWSGI's Emperor watches.

        It acts on what is written there at once, without being told.
        """
        return self.etc / 'vassals'

    def is_vassal(self, path: pathlib.Path) -> bool:
        """Whether a file is one of those that the Emperor watches."""
        return path.parent == self.vassals

    @classmethod
    def of(cls, directory: state.StateDir) -> 'Places':
        """Those in a state directory."""
        return cls(directory.etc, directory.run, directory.log)

    @classmethod
    def of_system(cls, user: str = programs.SERVICE_USER) -> 'Places':
        """The system's own, which "install" writes to.

        :param user: whom the services run as
        """
        return cls(
            etc=pathlib.Path('/etc/glance-wsgi'),
            run=pathlib.Path('/run/glance-wsgi'),
            log=pathlib.Path('/var/log/glance-wsgi'),
            socket_group=platforms.current().apache.system.group,
            daemon_user=user,
            system=True,
        )
