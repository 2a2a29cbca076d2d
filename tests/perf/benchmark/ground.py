"""What all contenders stand on: one Keystone, one MariaDB, one file of bytes.

Each contender has a database and a store of its own, with the same images in
them; the large one of all is the same file of the disk.
"""

import contextlib
import hashlib
import os
import pathlib
import random

import databases
import toolkit

from glance_wsgi import applications
from glance_wsgi import programs
from glance_wsgi import servers
from glance_wsgi.deployment import Deployment

BLOCK = 16 * 2**20  # bytes
MERCY = 30  # seconds that what is to stop may take


class Ground(contextlib.ExitStack):
    """See the module. Everything is gone when the block ends.

    :param place: the directory below which everything is made
    :param size: bytes of the large image
    """

    def __init__(self, place: pathlib.Path, size: int) -> None:
        super().__init__()
        self.place = place
        self.size = size
        self.user = programs.ServiceUser.find().make()
        self.file = place / 'image.raw'

    def __enter__(self) -> 'Ground':
        super().__enter__()
        try:
            self._database = self.enter_context(databases.MariaDB(self.place))
            # Each contender's threads have connections of their own.
            self._database.execute('SET GLOBAL max_connections = 1000')
            self._start_keystone()
            self._write_file()
        except BaseException:
            self.close()
            raise
        return self

    def _start_keystone(self) -> None:
        """The embedded one of a deployment, without the Glance of that."""
        self._made = toolkit.Deployed(self.place / 'ground')
        self.callback(self._made.purge)
        self._made.up()
        deployment = Deployment(self._made.state_dir)
        self.glance_password = deployment.passwords['glance_password']
        self.keystone = deployment.keystone_url
        server = servers.load(deployment)
        server.stop(MERCY)
        first, *_ = applications.of(deployment)
        assert first.name == applications.KEYSTONE
        server.start((first,))
        toolkit.until(self._issues_tokens, 'Keystone answers')

    def _issues_tokens(self) -> bool:
        with contextlib.suppress(Exception):
            return bool(self.token())
        return False

    def token(self) -> str:
        """A new token of the administrator; it is good for an hour."""
        with self._made.connect() as cloud:
            return cloud.auth_token

    def administrator(self) -> dict[str, str]:
        """The environment by which "up" finds the administrator."""
        return self._made.environment()

    def _write_file(self) -> None:
        """Bytes that do not compress and look like no format of an image."""
        block = random.Random(self.size).randbytes(min(BLOCK, self.size))
        digests = hashlib.md5(), hashlib.sha512(), hashlib.sha256()
        with self.file.open('wb') as file:
            for _ in range(self.size // len(block)):
                file.write(block)
                for digest in digests:
                    digest.update(block)
        if self.file.stat().st_size != self.size:
            raise ValueError(f'{self.size} is no multiple of {BLOCK} bytes')
        self.md5, self.sha512, self.sha256 = (d.hexdigest() for d in digests)
        self.file.chmod(0o640)
        self.give(self.file)

    def give(self, path: pathlib.Path) -> pathlib.Path:
        """Let it belong to whoever runs the services."""
        if not os.geteuid():
            os.chown(path, self.user.owner.uid, self.user.owner.gid)
        return path

    def database(self) -> tuple[str, str]:
        """An empty database, for the rest of the run: its name and URL."""
        return self.enter_context(self._database.database())

    def forget(self, database: str, name: str) -> None:
        """Remove the images of that name, whatever has become of them."""
        images = f"SELECT id FROM {database}.images WHERE name = '{name}'"
        for table in ('properties', 'locations', 'members', 'tags'):
            self._database.execute(
                f'DELETE FROM {database}.image_{table} '
                f'WHERE image_id IN ({images})'
            )
        self._database.execute(
            f"DELETE FROM {database}.images WHERE name = '{name}'"
        )
        self._database.execute('COMMIT')

    def keep_once(self, copy: pathlib.Path) -> None:
        """Put the one file in the place of a copy of it.

        So every contender, and the limit, send the same pages of memory.
        """
        digest = hashlib.sha256()
        with copy.open('rb') as file:
            while piece := file.read(BLOCK):
                digest.update(piece)
        if digest.hexdigest() != self.sha256:
            raise ValueError(f'{copy} is not what was uploaded')
        copy.unlink()
        os.link(self.file, copy)
