"""Certificates for the tests, made by openssl."""

import dataclasses
import pathlib
import subprocess


@dataclasses.dataclass(frozen=True)
class Pair:
    """A certificate for loopback that vouches for itself, and its key."""

    certificate: pathlib.Path
    key: pathlib.Path


def make(directory: pathlib.Path, name: str) -> Pair:
    """A new pair; everybody may read it."""
    pair = Pair(directory / f'{name}.pem', directory / f'{name}.key')
    subprocess.run(
        [
            *('openssl', 'req', '-x509', '-nodes', '-days', '2'),
            *('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'),
            *('-subj', f'/CN={name}'),
            *('-addext', 'subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost'),
            *('-keyout', str(pair.key), '-out', str(pair.certificate)),
        ],
        check=True,
        capture_output=True,
    )
    pair.key.chmod(0o644)
    return pair
