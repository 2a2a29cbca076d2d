"""The stop file on a real server, whoever names it and asks it first.

Guards against a path that is known only when /healthcheck was asked once: the
plugin writes what Paste says of it into oslo.config with its first request.
"""

import beside
import images
import interrupted
import kills
import pytest
import requests
import toolkit

from glance_wsgi import upstream


@pytest.fixture
def node(deployed, workspace):
    """Makes another node of the deployment: its address, and its API.

    Its configuration is the deployment's, but for its own name and stop file.
    """

    def make(where, stop):
        port = toolkit.free_port()
        place = workspace / f'node-{port}'
        place.mkdir()
        paste = upstream.shipped('glance-api-paste.ini').read_text()
        shipped = 'disable_by_file_path = /etc/glance/healthcheck_disable'
        assert shipped in paste
        named = f'disable_by_file_path = {stop}'
        file = kills.write_like_glance(
            place / 'glance-api-paste.ini',
            paste.replace(shipped, named if where == 'Paste' else '').encode(),
        )
        file.chmod(0o644)
        # Paste's comes first, where it has one.
        more = '[healthcheck]\n' + (named if where == 'oslo.config' else '')
        beside.configure(deployed, place, port, file, more)
        return port, beside.started(
            deployed,
            beside.GUNICORN,
            port,
            place,
            place / 'log',
            patience=90,
            asked='/',
        )

    return make


@pytest.mark.parametrize('where', ['Paste', 'oslo.config'])
@pytest.mark.parametrize('asked', [False, True], ids=['not_asked', 'asked'])
def test_a_node_that_starts_with_its_stop_file_begins_nothing(
    deployed, node, workspace, where, asked
):
    """It has looked when another node has run what it was given later."""
    stop = workspace / 'stop'
    stop.touch()
    body = images.random_bytes(images.MIB)
    work = interrupted.Work(deployed)
    port, started = node(where, stop)
    with started as (_, cloud), interrupted.GatedWeb(body) as web:
        if asked:
            found = requests.get(f'http://127.0.0.1:{port}/healthcheck')
            assert found.status_code == 503
        bound, free = images.create(cloud), images.create(cloud)
        images.upload(cloud, bound, body, action='stage')
        cloud.image.import_image(bound, method='glance-direct')
        web.gate.set()
        cloud.image.import_image(free, method='web-download', uri=web.url)
        work.over(free)
        assert work.tasks(free)[-1][1] == 'success', work.tasks(free)
        images.assert_holds(cloud, free, body)
        assert [status for _, status, _ in work.tasks(bound)] == ['pending']
        stop.unlink()
        work.over(bound)
        images.assert_holds(cloud, bound, body)
        for image in (bound, free):
            cloud.image.delete_image(image)
