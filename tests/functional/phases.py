"""Imports that are held in a phase: their process is stopped there."""

import contextlib
import dataclasses
import pathlib
import re
import signal
from collections.abc import Callable, Iterator

import images
import interrupted
import psutil
import toolkit
from images import MIB

TRIES = 10
"""How often an import may be faster than who wants to stop it."""


def is_signalled(process: psutil.Process) -> bool:
    """Whether a signal waits for a process that is stopped.

    https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
    """
    status = pathlib.Path(f'/proc/{process.pid}/status').read_text()
    (pending,) = re.findall(r'^ShdPnd:\s*(\w+)$', status, re.M)
    return int(pending, 16) != 0


@dataclasses.dataclass
class Held:
    """An import whose process is stopped.

    :param body: what its image has to hold in the end
    :param runner: its process
    :param release: lets what it waits for happen, but for the process
    """

    image: object
    body: bytes
    runner: psutil.Process
    release: Callable[[], None]

    def go_on(self) -> None:
        """Let it go on as if nothing had been."""
        self.release()
        self.runner.send_signal(signal.SIGCONT)


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of an import.

    :param begin: begins an import; the image, and what it has to hold
    :param reached: waits until the import is there
    :param stores: those that have the image then
    :param status: the image's then
    """

    begin: Callable[..., contextlib.AbstractContextManager]
    reached: Callable[[interrupted.Work, object], object]
    stores: frozenset[str] = frozenset()
    status: str = 'importing'

    def lasts(self, work: interrupted.Work, image) -> bool:
        """Whether the import is still there, and holds nobody else up."""
        return (
            work.is_free()
            and work.location_stores(image) == self.stores
            and _status(work, image) == self.status
            and work.tasks(image)[-1][1] == 'processing'
        )


def _status(work: interrupted.Work, image) -> str:
    ((status,),) = work.query(
        'SELECT status FROM images WHERE id = ?', image.id
    )
    return status


@contextlib.contextmanager
def _download(cloud, place, body):
    with interrupted.GatedWeb(body[: 8 * MIB]) as web:
        image = images.create(cloud)
        cloud.image.import_image(
            image, method='web-download', uri=web.url, stores=['fast', 'cheap']
        )
        yield image, web.body, web.gate.set


@contextlib.contextmanager
def _staged(cloud, place, body, **properties):
    image = images.create(cloud, **properties)
    data = body
    if properties:
        raw, qcow2 = place / 'disk.raw', place / 'disk.qcow2'
        raw.write_bytes(body)
        images.converted(raw, qcow2)
        data = qcow2.read_bytes()
    images.upload(cloud, image, data, action='stage')
    cloud.image.import_image(
        image, method='glance-direct', stores=['fast', 'cheap']
    )
    yield image, body, lambda: None


def _qcow2(cloud, place, body):
    return _staged(cloud, place, body, disk_format='qcow2')


def _writing(suffix: str, folder: str):
    return lambda work, image: work.writing_to(image, suffix, folder)


def _active(work, image) -> None:
    toolkit.until(lambda: _status(work, image) == 'active', 'it is active')


BOTH = frozenset({'fast', 'cheap'})
PHASES = {
    'staging': Phase(_download, _writing('', 'staging')),
    'conversion': Phase(_qcow2, _writing('.raw', 'staging')),
    'the_first_store': Phase(_staged, _writing('', 'fast')),
    'the_second_store': Phase(
        _staged, _writing('', 'cheap'), frozenset({'fast'})
    ),
    'the_end': Phase(_staged, _active, BOTH, 'active'),
}


@contextlib.contextmanager
def held(work, cloud, name: str, place, body: bytes) -> Iterator[Held]:
    """An import that is stopped in a phase; its image is removed after.

    :param place: a directory for files
    """
    phase = PHASES[name]
    for _ in range(TRIES):
        with phase.begin(cloud, place, body) as (image, whole, release):
            runner = work.runner(image)
            try:
                phase.reached(work, image)
                runner.send_signal(signal.SIGSTOP)
                if phase.lasts(work, image):
                    yield Held(image, whole, runner, release)
                    return
            finally:
                with contextlib.suppress(psutil.NoSuchProcess):
                    runner.send_signal(signal.SIGCONT)
                release()
                work.over(image)
                cloud.image.delete_image(image)
    raise AssertionError(f'{name} was missed {TRIES} times')
