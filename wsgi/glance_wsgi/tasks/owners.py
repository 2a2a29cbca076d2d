"""Which process owns a job, told so that its death can be seen.

A process id alone is used again after a while, and means nothing in another
container. So an owner is a process id, when that process began, and where:
the boot of the machine and the namespace that its id belongs to (proc(5),
pid_namespaces(7)).
"""

import dataclasses
import functools
import os
import pathlib
import socket

from oslo_config import cfg


@dataclasses.dataclass(frozen=True)
class Owner:
    """A process.

    :param node: the Glance node that it belongs to
    :param place: what its process id is unique in
    :param started: when it began, in clock ticks since the boot
    """

    node: str
    place: str
    pid: int
    started: int

    @classmethod
    def myself(cls, node: str) -> 'Owner':
        """This process, as one of that node."""
        return cls(node, place(), os.getpid(), _started(os.getpid()) or 0)

    @classmethod
    def parse(cls, node: str, text: str) -> 'Owner':
        """What `str` made of one; a stranger if it was something else."""
        try:
            pid, started, where = text.split(':', 2)
            return cls(node, where, int(pid), int(started))
        except ValueError:
            return cls(node, text, 0, 0)

    def __str__(self) -> str:
        return f'{self.pid}:{self.started}:{self.place}'

    def is_dead(self) -> bool:
        """Whether it is known to be: False where it can't be seen."""
        if self.place != place() or self.pid <= 0:
            return False
        started = _started(self.pid)
        if started is None:
            return not _exists(self.pid)
        return started != self.started


def node(conf: cfg.ConfigOpts) -> str:
    """The name of this Glance node: its own address, or else its host's.

    What is staged for an import lies on one node, and Glance finds it by
    ``worker_self_reference_url``.
    """
    return conf.worker_self_reference_url or socket.gethostname()


@functools.cache
def place() -> str:
    """The boot and the namespace that process ids of ours belong to."""
    boot = pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip()
    return f'{boot}:{os.stat("/proc/self/ns/pid").st_ino}'


def _started(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None if it can't be read.

    0 for a zombie: it does nothing any more, whoever still has to wait for it.
    """
    try:
        text = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return None
    # The second field, in parentheses, may have anything in it.
    fields = text.rpartition(')')[2].split()
    return 0 if fields[0] in 'ZX' else int(fields[19])


def _exists(pid: int) -> bool:
    """Whether there is a process, which /proc may hide (proc(5), hidepid)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # of another user
    return True
