"""``down`` lets what has begun finish, however long that takes.

The Emperor of uWSGI kills its vassals 30 seconds after it is told to stop,
where its reload-mercy does not say otherwise (core/emperor.c).
"""

import os
import signal
import threading
import time

import images
import load
import psutil
import pytest
import rawhttp
import tenacity
import toolkit
from images import MIB

from glance_wsgi import programs
from glance_wsgi.errors import Exit

pytestmark = pytest.mark.each_server

EMPEROR_PATIENCE = 30  # seconds
DATA = images.random_bytes(20)


def test_an_upload_that_outlasts_the_emperors_patience_is_finished(breakable):
    breakable.up()
    # The upload has a token that no worker knows: it has to be looked at
    # while there is a Keystone.
    with breakable.connect() as cloud, breakable.connect() as unknown:
        image = images.create(cloud)
        length = {'Content-Length': str(len(DATA))}
        with_body = rawhttp.Client.upload(unknown, image, length)
    results = []
    down = threading.Thread(
        target=lambda: results.append(breakable('down', check=False))
    )
    down.start()
    began = time.monotonic()
    for number in range(len(DATA)):
        with_body.send(DATA[number : number + 1])
        time.sleep((EMPEROR_PATIENCE + 8) / len(DATA))
    assert time.monotonic() - began > EMPEROR_PATIENCE
    assert with_body.getresponse().status == 204
    down.join()
    assert results[0].returncode == 0, results[0].stderr
    assert not breakable.status()['processes']
    breakable.up()
    with breakable.connect() as cloud:
        images.assert_holds(cloud, image, DATA)
        cloud.image.delete_image(image)


def test_what_does_not_finish_in_time_goes_on_and_can_be_waited_for(breakable):
    """An import, which no request waits for, and a download.

    The download goes on for longer than the import, and for longer than a
    server takes to end what was told to end twice.
    """
    breakable.up()
    body, large = (images.random_bytes(size * MIB) for size in (16, 64))
    with breakable.connect() as cloud, load.SlowWeb(body, 2 * MIB) as web:
        imported, stored = images.create(cloud), images.create(cloud)
        images.upload(cloud, stored, large)
        download = load.Download(cloud, stored, rate=2 * MIB)
        download.start()
        cloud.image.import_image(imported, method='web-download', uri=web.url)
        images.wait_for(cloud, imported, 'importing')
        assert download.begun.wait(30)
        for _ in range(2):
            result = breakable('down', '--timeout=1', check=False)
            assert result.returncode == Exit.NOT_STOPPED, result.stdout
            assert breakable.status()['processes']
        said = breakable('down').stdout
        download.join()
    assert 'Stopped' in said
    assert not breakable.status()['processes']
    assert download.error is None
    assert download.digest.hexdigest() == images.sha256(large)
    breakable.up()
    with breakable.connect() as cloud:
        for image, data in ((imported, body), (stored, large)):
            images.assert_holds(cloud, image, data)
            cloud.image.delete_image(image)


def test_what_does_not_finish_in_time_can_be_killed(breakable):
    breakable.up()
    with breakable.connect() as cloud:
        image = images.create(cloud)
        # More than Apache keeps to itself before it asks anybody.
        length = {'Content-Length': str(MIB)}
        client = rawhttp.Client.upload(cloud, image, length)
        client.send(bytes(MIB // 2))
        images.wait_for(cloud, image, 'saving')
        result = breakable('down', '--timeout=1', check=False)
        assert result.returncode == Exit.NOT_STOPPED
        running = breakable.processes('')
        assert running
        breakable('down', '--timeout=0')
        assert not [process for process in running if toolkit.alive(process)]
        client.close()
        breakable.up()
        images.wait_for(cloud, image, 'queued')
        cloud.image.delete_image(image)


@tenacity.retry(stop=tenacity.stop_after_attempt(5), reraise=True)
def stand_still_while_it_starts(
    deployment: toolkit.Deployed, master: psutil.Process
) -> None:
    """Have the master of Keystone start again, and stop it on the way.

    Once it has executed itself it has the words of its command line, until it
    gives itself a name.
    """
    os.utime(deployment.state_dir / 'etc' / 'vassals' / 'keystone.ini')
    toolkit.until(
        lambda: '--ini' in master.cmdline(), 'it starts again', 20, every=0.005
    )
    master.suspend()
    if '--ini' not in master.cmdline():
        master.resume()
        raise AssertionError('it was too late')


@pytest.mark.skipif(
    toolkit.SERVER == 'mod_wsgi', reason='Apache has no masters of its own'
)
def test_an_application_that_just_starts_again_hears_that_it_shall_end(
    breakable,
):
    breakable.up()
    (emperor,) = breakable.processes('emperor')
    (master,) = breakable.processes('keystone master')
    stand_still_while_it_starts(breakable, master)
    log = breakable.state_dir / 'log' / 'emperor.log'
    before = programs.size(log)
    emperor.send_signal(signal.SIGTERM)
    told = 'stop the uwsgi instance keystone.ini'
    toolkit.until(lambda: told in programs.read_from(log, before), told)
    master.resume()
    # Loading takes seconds, the mercy for what does not hear would be an hour.
    _, left = psutil.wait_procs([master, emperor], timeout=60)
    breakable('down', '--timeout=0')
    assert not left
