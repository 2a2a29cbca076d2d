"""HOST:PORT, as people write it and as sockets want it."""

import dataclasses
import errno
import ipaddress
import os
import pathlib
import re
import socket

from glance_wsgi import errors

_SPLIT = re.compile(
    r'(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^\[\]:]+)):(?P<port>\d{1,5})'
)


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a server listens.

    :param host: a numeric IPv4 or IPv6 address
    :param port: 1 to 65535
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, option: str) -> 'Address':
        """Read HOST:PORT; a name is resolved to its first address.

        :param option: the option that `text` is the value of
        :raises errors.BadAddress: it is none
        """
        match = _SPLIT.fullmatch(text.strip())
        port = int(match['port']) if match else 0
        if match is None or not 0 < port < 65536:
            raise errors.BadAddress(
                f'"{text}" is not an address.',
                f'Give {option} HOST:PORT, for example 127.0.0.1:9292 or '
                '[::1]:9292, with a port from 1 to 65535.',
            )
        name = match['v6'] or match['host']
        try:
            found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        except (OSError, ValueError) as error:
            raise errors.BadAddress(
                f'The host "{name}" of {option} has no address ({error}).',
                'Give an address of this machine, for example 127.0.0.1.',
            ) from error
        return cls(str(found[0][4][0]), port)

    def __str__(self) -> str:
        return f'{bracketed(self.host)}:{self.port}'

    @property
    def wildcard(self) -> bool:
        """Whether this listens everywhere, so nobody can connect to it."""
        return ipaddress.ip_address(self.host).is_unspecified

    @property
    def reachable(self) -> 'Address':
        """An address under which this machine itself can connect to it."""
        if not self.wildcard:
            return self
        version = ipaddress.ip_address(self.host).version
        return Address('127.0.0.1' if version == 4 else '::1', self.port)

    def check_free(self, option: str, privileged: bool = False) -> None:
        """Bind it, and let it go.

        :param privileged: whether the server may use the ports below 1024
        :raises errors.PortInUse: something else listens there
        :raises errors.PortNotAllowed: it isn't this machine's, or privileged
        """
        family = socket.AF_INET6 if ':' in self.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
                probe.listen(1)
            except OSError as error:
                raise _cannot_bind(self, option, error) from error
        # We may be root, who may bind everything; the services never are.
        if not privileged and self.port < _first_port_for_everybody():
            denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            raise _cannot_bind(self, option, denied)


_PREFIX = re.compile(r'(/[A-Za-z0-9._~-]+)*/?')


def prefix(text: str, option: str) -> str:
    """Read the path that an application is served below.

    :param option: the option that `text` is the value of
    :return: the path without a slash at its end: empty for the root
    :raises errors.BadAddress: it is none
    """
    dots = {'.', '..'} & set(text.split('/'))
    if not text.startswith('/') or not _PREFIX.fullmatch(text) or dots:
        raise errors.BadAddress(
            f'"{text}" is not a path of a URL.',
            f'Give {option} something like /image: letters, digits and '
            '"._~-" between slashes.',
        )
    return text.rstrip('/')


_NAME = re.compile(r'(?!-)[A-Za-z0-9-]{1,63}(?<!-)')


def is_host(text: str) -> bool:
    """Whether it is an IP address or a host name (RFC 1123, section 2.1)."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        labels = text.rstrip('.').split('.')
        return all(_NAME.fullmatch(label) for label in labels)
    return True


def bracketed(host: str) -> str:
    """A host as a URL has it: an IPv6 address in brackets."""
    return f'[{host}]' if ':' in host else host


def _first_port_for_everybody() -> int:
    # https://docs.kernel.org/networking/ip-sysctl.html
    setting = pathlib.Path('/proc/sys/net/ipv4/ip_unprivileged_port_start')
    try:
        return int(setting.read_text())
    except (OSError, ValueError):
        return 1024


def _cannot_bind(
    address: Address, option: str, error: OSError
) -> errors.GlanceWSGIError:
    kind: type[errors.GlanceWSGIError] = errors.PortNotAllowed
    action = f'Give {option} an address of this machine.'
    if error.errno == errno.EADDRINUSE:
        kind = errors.PortInUse
        action = f'Stop what listens there, or choose another {option}.'
    if error.errno == errno.EACCES:
        first = _first_port_for_everybody()
        action = f'Give {option} a port from {first} on: lower ones need root.'
    return kind(f"{address} can't be listened on: {error.strerror}.", action)
