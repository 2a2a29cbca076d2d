"""What several unit tests are made of: a deployment, a certificate."""

import datetime
import ipaddress
import pathlib
import shutil

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from glance_wsgi import applications
from glance_wsgi import platforms
from glance_wsgi import programs
from glance_wsgi import servers
from glance_wsgi import state
from glance_wsgi.deployment import Deployment

ME = programs.ServiceUser('me', state.Owner.myself())
"""Serves where a test makes files: pytest's directories are closed to
others."""


DEAF = """
import signal, sys, time
number = signal.Signals[sys.argv[1]]
signal.signal(number, lambda *words: signal.signal(number, signal.SIG_DFL))
print('ready', flush=True)
time.sleep(60)
"""
"""Does not hear the first signal of the name that it is given, as a process
that has just been forked; prints when it can be sent."""


def deployment(directory, **options):
    """A deployment whose directories are there, with us as its user."""
    made = Deployment(directory, None, options)
    made.user = ME
    made.state.make(ME.owner)
    return made


def rendered(directory, **options):
    """A server, and its applications, with all their files written."""
    server = servers.load(deployment(directory, **options))
    wanted = applications.of(server.deployment)
    write(server, wanted)
    return server, wanted


def write(server, wanted):
    """Write the files of a server and its applications."""
    for file in server.all_files(wanted):
        file.write()


def certificate(directory: pathlib.Path, name: str = 'one'):
    """A certificate for this machine and its key, as two PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    here = x509.IPAddress(ipaddress.ip_address('127.0.0.1'))
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([here]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, key_pem = directory / f'{name}.pem', directory / f'{name}.key'
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_pem.write_bytes(private(key, serialization.NoEncryption()))
    return pem, key_pem


def private(key, encryption):
    """A private key as PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption,
    )


def need_apache(*modules):
    """Skip a test where Apache, or a module of it, is not installed."""
    installed = platforms.current().apache
    install = platforms.current().install
    if not installed.program.exists():
        pytest.skip(f'no {installed.program}: {install} {installed.package}')
    for module in modules:
        if not (installed.modules / module).exists():
            pytest.skip(f'no {module}: {install} {installed.mod_wsgi}')


def need_uwsgi():
    """Skip a test where uWSGI is not installed."""
    if shutil.which(programs.program('uwsgi')) is None:
        pytest.skip('no uwsgi in this virtualenv: pip install uWSGI')
