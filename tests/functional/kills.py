"""Kills workers that receive an image, and looks at what is left."""

import contextlib
import fcntl
import os
import pathlib
import subprocess
import sys

import images
import psutil
import rawhttp
import requests
import toolkit
from images import MIB

from glance_wsgi import programs

BODY = images.random_bytes(9 * MIB)


@contextlib.contextmanager
def half_sent(deployed, cloud, image, action='file', framing='fixed-length'):
    """An upload that stalls in the middle; its client and what is to come."""
    headers, sent = rawhttp.framed(BODY, framing)
    middle = len(sent) // 2
    with contextlib.closing(
        rawhttp.Client.upload(cloud, image, headers, action)
    ) as client:
        client.send(sent[:middle])
        toolkit.until(
            lambda: sum(
                file.stat().st_size
                for file in images.files_of(deployed, image)
            ),
            'data has been written',
        )
        yield client, sent[middle:]


def workers(deployed) -> list[psutil.Process]:
    """All workers; one that has just died is not among them."""
    found = []

    def look() -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            found[:] = deployed.processes('glance-api worker')
        return bool(found)

    toolkit.until(look, 'there are workers')
    return found


def receiver(deployed, image) -> psutil.Process:
    """The worker that writes an image's data."""
    (file,) = images.files_of(deployed, image)
    (worker,) = (
        worker
        for worker in workers(deployed)
        if str(file) in {opened.path for opened in worker.open_files()}
    )
    return worker


def kill(worker: psutil.Process) -> None:
    """SIGKILL, and wait until it does nothing any more."""
    worker.kill()
    toolkit.until(lambda: not toolkit.alive(worker), f'{worker} is dead')


def kill_half_sent(deployed, cloud, image, action='file', **options) -> None:
    """Kill the worker that has received half of an image."""
    with half_sent(deployed, cloud, image, action, **options):
        kill(receiver(deployed, image))


def journal(deployed) -> pathlib.Path:
    """The directory with an entry for each upload."""
    return deployed.state_dir / 'run' / 'locks' / 'uploads'


def entries(deployed, image) -> list[pathlib.Path]:
    """The image's entries in the journal."""
    return list(journal(deployed).glob(f'{image.id}.*'))


def assert_mended(deployed, cloud, image) -> None:
    """The image is queued, nothing of it is left, and it can be uploaded."""
    images.wait_for(cloud, image, 'queued')
    toolkit.until(
        lambda: not entries(deployed, image), 'the journal has no entry'
    )
    assert not images.files_of(deployed, image)
    images.upload(cloud, image, BODY)
    images.assert_holds(cloud, image, BODY)


@contextlib.contextmanager
def nobody_settles(deployed):
    """Keep whoever would settle waiting for a turn."""
    path = journal(deployed) / '.lock'
    if not path.exists():
        write_like_glance(path)
    with path.open('r+') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def settle(deployed, image) -> None:
    """Have a worker settle an image's entries; it returns when that's done.

    By a request for an import, which Glance refuses for want of a token.
    """
    response = requests.post(
        f'{deployed.endpoint}/v2/images/{image.id}/import', timeout=30
    )
    assert response.status_code == 401, response.text


def write_like_glance(path: pathlib.Path, data: bytes = b'') -> pathlib.Path:
    """A file whose owner is that of its directory."""
    path.write_bytes(data)
    owner = path.parent.stat()
    os.chown(path, owner.st_uid, owner.st_gid)
    return path


def leave_entry(deployed, image) -> pathlib.Path:
    """An entry as a killed upload leaves it."""
    return write_like_glance(journal(deployed) / f'{image.id}.{"0" * 32}')


ANOTHER = """
import os, threading
from glance_wsgi import app
from glance_wsgi.data import uploads

step = uploads.outlive_kills

def shown(application):
    made = step(application)
    print('built', type(made).__name__, flush=True)
    return made

uploads.outlive_kills = shown
app.build()
for thread in threading.enumerate():
    if thread.name == uploads.THREAD:
        thread.join()
os._exit(0)  # Glance's hook for a server's end expects that it has served
"""


def another_process(deployed, config=None) -> subprocess.Popen:
    """Another process that loads the application and ends when it has settled.

    Like a worker that starts, but there is no need to guess when it is done.

    :param config: the directory of its configuration
    """
    config = config or deployed.state_dir / 'etc' / 'glance'
    return subprocess.Popen(
        [sys.executable, '-c', ANOTHER],
        env=programs.environment(
            deployed.state_dir / 'run', {'OS_GLANCE_CONFIG_DIR': str(config)}
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd='/',
        **toolkit.as_user(None if os.geteuid() else programs.SERVICE_USER),
    )


def log_of(process: subprocess.Popen) -> str:
    """What another process has logged, as soon as it has ended well."""
    log = process.communicate(timeout=60)[0]
    assert process.returncode == 0, log
    return log
