"""Makes images, and looks whether what comes back is what was sent."""

import hashlib
import pathlib
import random
import subprocess
import uuid
from collections.abc import Callable, Iterator

import pytest
import toolkit

from glance_wsgi.data import tickets

KIB, MIB, GIB = 2**10, 2**20, 2**30

ISO = pathlib.Path('/usr/lib/grub-rescue/grub-rescue-cdrom.iso')
"""A bootable CD: the real image that Debian's grub-rescue-pc ships."""


def sha256(data: bytes) -> str:
    """The digest that bodies are compared by."""
    return hashlib.sha256(data).hexdigest()


def tiny_iso() -> bytes:
    """The least that Glance's inspector takes for an ISO 9660 file system.

    For the smoke tests, which run where Debian's packages are not installed.
    """
    sectors = bytearray(100 * KIB)
    sectors[0x8000:0x8007] = b'\x01CD001\x01'
    sectors[0x8800:0x8807] = b'\xffCD001\x01'
    return bytes(sectors)


class Digests:
    """Both digests of what is too large to be held."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()
        self.sha512 = hashlib.sha512()

    def update(self, piece: bytes) -> None:
        """Take in the next piece."""
        self.sha256.update(piece)
        self.sha512.update(piece)


def random_bytes(size: int) -> bytes:
    """The same bytes for the same size, and none that compress."""
    return random.Random(size).randbytes(size)


def converted(source: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    """`source` in the format that the suffix of `target` names."""
    subprocess.run(
        ['qemu-img', 'convert', '-O', target.suffix[1:], source, target],
        check=True,
    )
    return target


class Frames:
    """A body in frames of `size`; without a length requests sends chunks."""

    def __init__(self, data: bytes, size: int) -> None:
        self.data = data
        self.size = size

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self.data), self.size):
            yield self.data[start : start + self.size]


class SizedFrames(Frames):
    """The same with a length, which requests sends as Content-Length."""

    def __len__(self) -> int:
        return len(self.data)


BODIES = {'fixed-length': SizedFrames, 'chunked': Frames}

framings = pytest.mark.parametrize('framing', list(BODIES))
"""For tests of both ways to send a body."""


def create(cloud, **properties):
    """A queued image; use the fixture `image` where one will do."""
    return cloud.image.create_image(
        **{
            'name': f'test-{uuid.uuid4()}',
            'disk_format': 'raw',
            'container_format': 'bare',
            **properties,
        }
    )


def url(cloud, path: str) -> str:
    """The URL of a path of the Images API, for clients other than the SDK."""
    return cloud.image.get_endpoint().rstrip('/') + path


def upload(cloud, image, data, action='file') -> None:
    """Send `data` as requests sends it: bytes, a file or `Frames`."""
    response = cloud.image.put(
        f'/images/{image.id}/{action}',
        data=data,
        headers={'Content-Type': 'application/octet-stream'},
        timeout=60,
    )
    assert response.status_code == 204, response.text


def upload_by_curl(cloud, image, file, framing, *options: str):
    """Have curl upload a file; it announces large ones itself (``Expect``).

    :param framing: 'fixed-length' or 'chunked'
    :return: the finished process; its ``stderr`` has all headers, with "> "
        before what was sent and "< " before what came back
    """
    # What comes from "-" has no length that curl knows.
    source = file if framing == 'fixed-length' else '-'
    with open(file, 'rb') as stdin:
        result = subprocess.run(
            [
                *('curl', '--verbose', '--silent', '--show-error', '--fail'),
                *('--header', f'X-Auth-Token: {cloud.auth_token}'),
                *('--header', 'Content-Type: application/octet-stream'),
                *options,
                *('--upload-file', source),
                url(cloud, f'/images/{image.id}/file'),
            ],
            stdin=stdin,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert result.returncode == 0, result.stderr
    assert '> Expect: 100-continue' in result.stderr
    return result


def download(cloud, image, **options):
    """The answer to a request for the image's data."""
    return cloud.image.get(f'/images/{image.id}/file', timeout=60, **options)


def handed_off(file: pathlib.Path) -> bool:
    """Whether Apache has got a ticket for a file a moment ago."""
    return bool(tickets_of(file))


def tickets_of(file: pathlib.Path) -> set[pathlib.Path]:
    """Those that Apache has got for a file in the last minute."""
    folder = file.parent / tickets.DIRECTORY
    if not folder.exists():
        return set()
    return {ticket for ticket in folder.iterdir() if file.samefile(ticket)}


def assert_holds(cloud, image, data: bytes) -> None:
    """The image is active, `data` comes back, and its record agrees."""
    image = cloud.image.get_image(image.id)
    assert image.status == 'active'
    assert image.size == len(data)
    assert image.hash_algo == 'sha512'
    assert image.hash_value == hashlib.sha512(data).hexdigest()
    response = download(cloud, image)
    assert response.status_code == 200, response.text
    assert sha256(response.content) == sha256(data)


def wait_for(cloud, image, status: str, within: float = 60):
    """The image, as soon as it has that status.

    :param within: seconds
    """
    toolkit.until(
        lambda: cloud.image.get_image(image.id).status == status,
        f'image {image.id} is {status}',
        within=within,
    )
    return cloud.image.get_image(image.id)


def files_of(deployed, image) -> list[pathlib.Path]:
    """What the stores and the staging area keep of an image."""
    data = deployed.state_dir / 'data'
    return sorted(data.glob(f'*/*{image.id}*'))


def openstack(deployed, *words: str, sink: Callable | None = None) -> bytes:
    """Run the ``openstack`` command.

    :param sink: gets its output piece by piece, for what is too large
    """
    with subprocess.Popen(
        [toolkit.BIN / 'openstack', *words],
        stdout=subprocess.PIPE,
        env=deployed.environment(),
    ) as process:
        output = b''
        for piece in iter(lambda: process.stdout.read(MIB), b''):
            if sink:
                sink(piece)
            else:
                output += piece
    assert process.returncode == 0, words
    return output


def create_by_command(deployed, cloud, file: pathlib.Path, disk_format: str):
    """An image made and uploaded by ``openstack image create``."""
    identifier = openstack(
        deployed,
        *('image', 'create', 'test', '--file', str(file)),
        *('--disk-format', disk_format, '--container-format', 'bare'),
        *('-f', 'value', '-c', 'id'),
    )
    return cloud.image.get_image(identifier.decode().strip())
