"""``down`` lets what has begun finish, however long that takes.

The Emperor of uWSGI kills its vassals 30 seconds after it is told to stop,
where its reload-mercy does not say otherwise (core/emperor.c).
"""

import threading
import time

import images
import rawhttp

EMPEROR_PATIENCE = 30  # seconds
DATA = images.random_bytes(20)


def test_an_upload_that_outlasts_the_emperors_patience_is_finished(breakable):
    breakable.up()
    with breakable.connect() as cloud:
        image = images.create(cloud)
        length = {'Content-Length': str(len(DATA))}
        with_body = rawhttp.Client.upload(cloud, image, length)
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
