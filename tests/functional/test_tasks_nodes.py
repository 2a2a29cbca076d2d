"""Two nodes on one MariaDB, each with its own staging; and that database away.

The second node is that of a gate deployment, which shares the database and the
stores with the first one.
"""

import concurrent.futures
import re

import images
import interrupted
import openstack
import pytest
import toolkit
from images import MIB

pytestmark = pytest.mark.tasks


@pytest.fixture(scope='module')
def work(workspace, mariadb):
    """Both nodes."""
    deployment = toolkit.Deployed(workspace / 'nodes')
    deployment.write_own_settings(interrupted.SETTINGS)
    file = workspace / 'nodes.conf'
    with mariadb.database() as (_, url):
        quoted = url.replace('$', '$$')
        file.write_text(f'[deployment]\ndatabase = {quoted}\n')
        options = toolkit.gate_options()
        deployment.up(f'--config-file={file}', '--workers=2', *options)
        work = interrupted.MariaWork(deployment, url)
        work.remote = options[1].partition('=')[2]
        yield work
        deployment.purge()


@pytest.fixture(scope='module')
def nodes(work):
    """openstacksdk on each node."""
    with (
        work.deployment.connect() as first,
        openstack.connect(
            load_envvars=False,
            image_endpoint_override=f'http://{work.remote}/v2',
            **work.deployment.account(),
        ) as second,
    ):
        yield first, second


def begun_in(work, image, node) -> bool:
    """Whether one of the image's tasks was begun by a process of that node.

    All nodes may write to one log, and each line names its process.
    """
    logs = (work.deployment.state_dir / 'log').glob('*.log')
    text = '\n'.join(log.read_text() for log in logs)
    ours = {
        str(process.pid)
        for process in work.deployment.processes(f'{node} worker')
    }
    return any(
        pid in ours
        for task_id, _, _ in work.tasks(image)
        for pid in re.findall(
            rf' (\d+) INFO glance\.domain .* Task \[{task_id}\] status '
            'changing from pending to processing',
            text,
        )
    )


def runs_on_both(work) -> bool:
    """Whether each node has claimed a task."""
    found = work.query('SELECT DISTINCT node FROM glance_wsgi_jobs')
    return len({node for (node,) in found if node}) == 2


def test_one_is_drained_while_imports_arrive_on_both(work, nodes):
    body = images.random_bytes(2 * MIB)
    direct = {0: [], 1: []}
    downloads = {0: [], 1: []}

    def arrive(web) -> None:
        """Three imports of either kind on each node."""
        for node, cloud in 3 * list(enumerate(nodes)):
            image = images.create(cloud)
            images.upload(cloud, image, body, action='stage')
            cloud.image.import_image(
                image, method='glance-direct', stores=['fast']
            )
            direct[node].append(image)
            downloads[node].append(interrupted.download(cloud, web))

    with (
        interrupted.GatedWeb(body) as held,
        interrupted.GatedWeb(body) as web,
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        web.gate.set()
        arrive(web)
        for image in direct[0] + direct[1] + downloads[0] + downloads[1]:
            work.over(image)
        # As many as there are slots on both.
        running = [interrupted.download(nodes[0], held) for _ in range(4)]
        toolkit.until(lambda: runs_on_both(work), 'both nodes run some')
        drain = pool.submit(work.deployment, 'drain', '--wait', '-f', 'json')
        toolkit.until(work.stop.exists, 'it is drained')
        arrive(web)
        assert not drain.done()
        held.gate.set()
        assert drain.result().stdout == '[]\n'
        for image in running:
            work.assert_whole(nodes[0], image, body, stores=['fast'])
            nodes[0].image.delete_image(image)
        waiting, ready = direct[0][3:], direct[1] + downloads[1]
        for image in [*ready, *downloads[0], *direct[0][:3]]:
            work.assert_whole(nodes[0], image, body, stores=['fast'])
        for image in downloads[0][3:]:
            assert begun_in(work, image, 'glance-api-remote')
        for image in waiting:
            ((_, status, _),) = work.tasks(image)
            assert status == 'pending'
        work.deployment('resume')
        for image in waiting:
            work.assert_whole(nodes[0], image, body, stores=['fast'])
    for node, name in enumerate(('glance-api', 'glance-api-remote')):
        assert all(begun_in(work, image, name) for image in direct[node])
    for image in direct[0] + direct[1] + downloads[0] + downloads[1]:
        assert len(work.tasks(image)) == 1
        nodes[0].image.delete_image(image)


def test_the_database_is_killed_while_tasks_run_and_wait(work, nodes, mariadb):
    """Every task ends, and every image is whole or can be imported again."""
    cloud, body = nodes[0], images.random_bytes(8 * MIB)
    with interrupted.GatedWeb(body) as web:
        made = [images.create(cloud) for _ in range(6)]
        for image in made:
            cloud.image.import_image(
                image, method='web-download', uri=web.url, stores=['fast']
            )
        work.runner(made[0])
        with mariadb.away():
            web.gate.set()
            interrupted.let_it_be_missed(cloud, made[0])
        whole = 0
        for image in made:
            work.over(image)
            if work.tasks(image)[-1][1] == 'success':
                whole += 1
                work.assert_whole(cloud, image, body, stores=['fast'])
            else:
                work.assert_usable(cloud, image)
            cloud.image.delete_image(image)
        # Those that waited have met nothing at all.
        assert whole >= 2
