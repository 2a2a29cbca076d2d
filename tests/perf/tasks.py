"""Measures imports through the engine beside Glance's own way, and idling.

    python tests/perf/tasks.py [--runs N]

Run it with the Python of the virtualenv that glance-wsgi is in. Both ways are
measured by turns, each by a deployment of its own: the second one has no table
for jobs, so that Glance runs its tasks itself. The queries of an idle engine
are counted by MariaDB.
"""

import argparse
import contextlib
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'functional'))

import databases
import images
import toolkit

SIZE = 64 * images.MIB
IDLE = 60  # seconds


def one(cloud, body: bytes) -> float:
    """Seconds from the request to the end of its import."""
    image = images.create(cloud)
    images.upload(cloud, image, body, action='stage')
    began = time.perf_counter()
    cloud.image.import_image(image, method='glance-direct', stores=['fast'])
    while cloud.image.get_image(image.id).status != 'active':
        time.sleep(0.01)
    took = time.perf_counter() - began
    # Glance answers 500 to whoever deletes it before the import has ended.
    url = f'/images/{image.id}'
    while 'os_glance_import_task' in cloud.image.get(url).json():
        time.sleep(0.01)
    cloud.image.delete_image(image)
    return took


@contextlib.contextmanager
def deployed(place: pathlib.Path, server, *statements: str):
    """A deployment on MariaDB with two processes; and its database."""
    deployment = toolkit.Deployed(place)
    file = place.with_suffix('.conf')
    with server.database() as (name, url):
        file.write_text(f'[deployment]\ndatabase = {url.replace("$", "$$")}\n')
        deployment.up(f'--config-file={file}', '--workers=2')
        for statement in statements:
            server.execute(statement.format(name=name))
        if statements:
            deployment('reload')
        try:
            with deployment.connect() as cloud:
                yield cloud
        finally:
            deployment.purge()


def questions(server) -> int:
    """How many statements the server has been sent."""
    ((_, number),) = server.execute("SHOW GLOBAL STATUS LIKE 'Questions'")
    return int(number)


def idle(server) -> float:
    """Queries per second while nothing is asked."""
    before, began = questions(server), time.monotonic()
    time.sleep(IDLE)
    return (questions(server) - before - 1) / (time.monotonic() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--runs', type=int, default=20)
    runs = parser.parse_args().runs
    body = images.random_bytes(SIZE)
    with toolkit.workspace() as place, databases.MariaDB(place) as server:
        with (
            deployed(place / 'engine', server) as engine,
            deployed(
                place / 'stock',
                server,
                'DROP TABLE {name}.glance_wsgi_jobs',
                'DROP TABLE {name}.glance_wsgi_alembic_version',
            ) as stock,
        ):
            one(engine, body), one(stock, body)
            print(f'idle, 2 processes: {idle(server):.2f} queries/s')
            times = {'engine': [], 'stock': []}
            for _ in range(runs):
                times['engine'].append(one(engine, body))
                times['stock'].append(one(stock, body))
        for name, seconds in times.items():
            print(
                f'{name:7} median {statistics.median(seconds):.3f} s, '
                f'mean {statistics.mean(seconds):.3f} s, '
                f'least {min(seconds):.3f} s of {runs}'
            )


if __name__ == '__main__':
    main()
