"""Measures imports through the engine beside Glance's own way, and idling.

    python tests/perf/tasks.py [--runs N] [--size MiB]

Run it with the Python of the virtualenv that glance-wsgi is in. Both ways are
measured by turns, each by a deployment of its own: the second one has no table
for jobs, so that Glance runs its tasks itself. MariaDB counts the statements
of each one's user, so what is idle is counted for each alone.
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

IDLE = 60  # seconds
PROCESSES = 2  # of each deployment


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
    """A deployment on MariaDB: openstacksdk, and the name of its user."""
    deployment = toolkit.Deployed(place)
    file = place.with_suffix('.conf')
    with server.database() as (name, url):
        file.write_text(f'[deployment]\ndatabase = {url.replace("$", "$$")}\n')
        deployment.up(f'--config-file={file}', f'--workers={PROCESSES}')
        for statement in statements:
            server.execute(statement.format(name=name))
        if statements:
            deployment('reload')
        try:
            with deployment.connect() as cloud:
                yield cloud, name
        finally:
            deployment.purge()


def statements(server, user: str) -> int:
    """How many statements a user has sent."""
    ((number,),) = server.execute(
        'SELECT SELECT_COMMANDS + UPDATE_COMMANDS + OTHER_COMMANDS '
        f"FROM information_schema.USER_STATISTICS WHERE USER = '{user}'"
    )
    return int(number)


def idle(server, users: list[str]) -> list[float]:
    """Statements per second and process while nothing is asked."""
    began, before = time.monotonic(), [statements(server, u) for u in users]
    time.sleep(IDLE)
    took = time.monotonic() - began
    after = [statements(server, u) for u in users]
    seconds = took * PROCESSES
    return [
        (late - early) / seconds
        for early, late in zip(before, after, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--runs', type=int, default=20)
    parser.add_argument(
        '--size', type=int, default=256, help='MiB of an image'
    )
    arguments = parser.parse_args()
    runs = arguments.runs
    body = images.random_bytes(images.MIB) * arguments.size
    with toolkit.workspace() as place, databases.MariaDB(place) as server:
        server.execute('SET GLOBAL userstat = 1')
        with (
            deployed(place / 'engine', server) as (engine, its),
            deployed(
                place / 'stock',
                server,
                'DROP TABLE {name}.glance_wsgi_jobs',
                'DROP TABLE {name}.glance_wsgi_alembic_version',
            ) as (stock, stocks),
        ):
            one(engine, body), one(stock, body)
            rates = idle(server, [its, stocks])
            pairs = [
                (one(engine, body), one(stock, body)) for _ in range(runs)
            ]
    for name, rate, seconds in zip(
        ('engine', 'stock'), rates, zip(*pairs, strict=True), strict=True
    ):
        print(
            f'{name:7} idle {rate:.2f} statements/s and process; an import: '
            f'median {statistics.median(seconds):.3f} s, '
            f'least {min(seconds):.3f} s of {runs}'
        )
    ratios = sorted(mine / theirs for mine, theirs in pairs)
    longer = statistics.median(mine - theirs for mine, theirs in pairs)
    print(
        f'engine / stock, by pairs: median {statistics.median(ratios):.3f}, '
        f'from {ratios[0]:.3f} to {ratios[-1]:.3f}; '
        f'{1000 * longer:.0f} ms longer'
    )


if __name__ == '__main__':
    main()
