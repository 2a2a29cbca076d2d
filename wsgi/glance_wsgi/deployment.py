"""One deployment: its options and everything that follows from them."""

import copy
import os
import pathlib
import re
import sys
import urllib.parse
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from oslo_config import cfg

from glance_wsgi import addresses
from glance_wsgi import conf as options
from glance_wsgi import errors
from glance_wsgi import places
from glance_wsgi import programs
from glance_wsgi import size as sizes
from glance_wsgi import state

EMBEDDED = 'embedded'
GATE = 'gate'
CLOUD = 'glance-wsgi'
MEMBER_CLOUD = f'{CLOUD}-member'

# Two, so that one can be replaced while the other serves. The embedded
# Keystone only issues and checks tokens; a gate's second node and its source
# have few clients.
FEW_PROCESSES = 2

# Mozilla's "intermediate" recommendation for TLS 1.2, version 5.7; those of
# TLS 1.3 are all good. https://wiki.mozilla.org/Security/Server_Side_TLS
CIPHERS = ':'.join(
    [
        'ECDHE-ECDSA-AES128-GCM-SHA256',
        'ECDHE-RSA-AES128-GCM-SHA256',
        'ECDHE-ECDSA-AES256-GCM-SHA384',
        'ECDHE-RSA-AES256-GCM-SHA384',
        'ECDHE-ECDSA-CHACHA20-POLY1305',
        'ECDHE-RSA-CHACHA20-POLY1305',
    ]
)

SECRETS = ('admin_password', 'glance_password', 'member_password')


ROOTS_STATE_DIR = pathlib.Path('/var/lib/glance-wsgi')


def default_state_dir() -> pathlib.Path:
    """/var/lib for root, the XDG state directory for everybody else."""
    if os.geteuid() == 0:
        return ROOTS_STATE_DIR
    home = os.environ.get('XDG_STATE_HOME') or '~/.local/state'
    return pathlib.Path(home).expanduser() / 'glance-wsgi'


class Deployment:
    """What is deployed in a state directory.

    The options come, the first found wins, from `overrides` (the command
    line), `config_file`, what was installed before, and what the deployment
    was made with.

    :param installed: the file with the options that "install" has kept
    :raises errors.BadOption: a value or a file can't be used
    """

    def __init__(
        self,
        state_dir: str | os.PathLike[str] | None = None,
        config_file: str | None = None,
        overrides: Mapping[str, object] | None = None,
        installed: pathlib.Path | None = None,
    ) -> None:
        self.state = state.StateDir(state_dir or default_state_dir())
        self.marker = self.state.read_marker()
        self.user = programs.ServiceUser.find()
        self.places = places.Places.of(self.state)
        self.conf = self._load(config_file, overrides or {}, installed)
        if self.conf.deployment.run_as:
            self.user = programs.ServiceUser.named(self.conf.deployment.run_as)

    def _load(
        self,
        config_file: str | None,
        overrides: Mapping[str, object],
        installed: pathlib.Path | None,
    ) -> cfg.ConfigOpts:
        conf = options.new()
        # Without it, "up" was interrupted before it came to write it.
        saved = self.marker is not None and self.state.options.exists()
        if saved and not os.access(self.state.options, os.R_OK):
            raise state.not_readable(self.state.options)
        files = [str(self.state.options)] if saved else []
        if installed is not None and installed.exists():
            files.append(str(installed))
        if config_file:
            files.append(str(pathlib.Path(config_file).absolute()))
        try:
            conf(
                args=[],
                default_config_files=files,
                default_config_dirs=[],
                # Three places are enough, and a deployment must not change
                # with the environment of who looks at it.
                use_env=False,
            )
            if config_file:
                _check_names(config_file)
        except (cfg.Error, OSError, ValueError) as error:
            raise _bad_option(f'The file {files[-1]}', error) from error
        for group, opts in options.list_opts():
            for opt in opts:
                _take(conf, group, opt, overrides.get(opt.dest))
        return conf

    def options_text(self) -> str:
        """The options that differ from their defaults, as a file."""
        lines = ['# Written by "glance-wsgi up", read by every other verb.']
        for group, opts in options.list_opts():
            lines.append(f'[{group}]')
            for opt in opts:
                value = self.conf[group][opt.dest]
                if value != opt.default:
                    lines.append(f'{opt.dest} = {_text(value)}')
        return '\n'.join(lines) + '\n'

    @cached_property
    def listen(self) -> addresses.Address:
        """Where the Images API listens."""
        return addresses.Address.parse(self.conf.deployment.listen, '--listen')

    @cached_property
    def keystone_listen(self) -> addresses.Address:
        """Where the embedded Keystone listens."""
        return addresses.Address.parse(
            self.conf.deployment.keystone_listen, '--keystone-listen'
        )

    @cached_property
    def remote_listen(self) -> addresses.Address:
        """Where a gate's second Glance node listens."""
        return addresses.Address.parse(
            self.conf.gate.remote_listen, '--remote-listen'
        )

    @cached_property
    def source_listen(self) -> addresses.Address:
        """Where a gate's source of images listens."""
        return addresses.Address.parse(
            self.conf.gate.source_listen, '--source-listen'
        )

    def listening(self) -> list[tuple[str, addresses.Address]]:
        """Every address that is listened on, with its option."""
        found = [('--listen', self.listen)]
        if self.hosts_keystone:
            found.append(('--keystone-listen', self.keystone_listen))
        if self.redirect_listen:
            found.append(('--redirect-listen', self.redirect_listen))
        if self.has_remote:
            found.append(('--remote-listen', self.remote_listen))
        if self.gate:
            found.append(('--source-listen', self.source_listen))
        return found

    def hosts(self) -> list[str]:
        """The hosts of this deployment's own addresses, as URLs have them."""
        listening = [self.listen]
        if self.embedded_keystone:
            listening.append(self.keystone_listen)
        if self.has_remote:
            listening.append(self.remote_listen)
        if self.gate:
            listening.append(self.source_listen)
        hosts = [address.reachable.host for address in listening]
        public = self.conf.deployment.public_host
        return [*hosts, public] if public else hosts

    @property
    def encrypted(self) -> bool:
        """Whether everything is served over HTTPS."""
        tls = self.conf.tls
        if bool(tls.tls_certificate) != bool(tls.tls_key):
            raise errors.BadCertificate(
                'A certificate and its key belong together, and only one of '
                'them is given.',
                'Give both --tls-certificate and --tls-key, or neither.',
            )
        return bool(tls.tls_certificate)

    @property
    def scheme(self) -> str:
        """``https`` or ``http``."""
        return 'https' if self.encrypted else 'http'

    @property
    def tls(self) -> Mapping[str, Any] | None:
        """What the servers' templates need to encrypt; None if they don't."""
        if not self.encrypted:
            return None
        return {
            'certificate': pathlib.Path(self.conf.tls.tls_certificate),
            'key': pathlib.Path(self.conf.tls.tls_key),
            'ciphers': CIPHERS,
            'hsts_max_age': self.conf.tls.hsts_max_age,
        }

    @property
    def certificate_files(self) -> list[pathlib.Path]:
        """The certificate and its key; empty where it serves plain HTTP."""
        tls = self.tls
        return [] if tls is None else [tls['certificate'], tls['key']]

    @property
    def verify(self) -> bool | str:
        """How HTTPS is verified, as requests wants it: a file, or True."""
        return self.conf.tls.tls_ca or True

    @cached_property
    def redirect_listen(self) -> addresses.Address | None:
        """Where people are sent on to HTTPS from; None if nowhere."""
        text = self.conf.tls.redirect_listen
        if not text:
            return None
        if not self.encrypted:
            raise errors.BadCertificate(
                'There is no encrypted address that --redirect-listen could '
                'lead to.',
                'Give --tls-certificate and --tls-key too.',
            )
        return addresses.Address.parse(text, '--redirect-listen')

    @cached_property
    def path(self) -> str:
        """The path before the Images API's own; empty for the root."""
        return addresses.prefix(self.conf.deployment.path, '--path')

    @cached_property
    def keystone_path(self) -> str:
        """The path before the embedded Keystone's own; empty for the root."""
        return addresses.prefix(
            self.conf.deployment.keystone_path, '--keystone-path'
        )

    def public_url(self, address: addresses.Address, path: str) -> str:
        """The URL that clients are told for what listens there.

        :raises errors.BadAddress: there is none that could be told
        """
        host = self.conf.deployment.public_host
        if host and not addresses.is_host(host):
            raise errors.BadAddress(
                f'"{host}" is neither a name nor an address.',
                'Give --public-host a host alone, without a port.',
            )
        if not host and address.wildcard:
            raise errors.BadAddress(
                f'{address} listens everywhere, which tells no client where '
                'to connect to.',
                'Give --public-host the name or address that clients use.',
            )
        host = addresses.bracketed(host or address.host)
        return f'{self.scheme}://{host}:{address.port}{path}'

    @property
    def endpoint(self) -> str:
        """The URL of the Images API that clients are told."""
        return self.public_url(self.listen, self.path)

    @property
    def local_endpoint(self) -> str:
        """A URL of the Images API that this machine itself can use."""
        return f'{self.scheme}://{self.listen.reachable}{self.path}'

    @property
    def embedded_keystone(self) -> bool:
        """Whether Keystone is a part of this deployment."""
        return self.conf.deployment.keystone == EMBEDDED

    @property
    def gate(self) -> bool:
        """Whether it has what Tempest needs: see `glance_wsgi.gate`.

        Never where others have configured Glance.
        """
        return self.conf.deployment.profile == GATE and self.hosted is None

    @property
    def has_remote(self) -> bool:
        """Whether there is a second Glance node."""
        if self.hosted is not None:
            return bool(self.conf.gate.remote_config_dir)
        return self.gate

    @property
    def hosts_keystone(self) -> bool:
        """Whether the web server has a Keystone beside Glance."""
        if self.hosted is not None:
            return bool(self.conf.deployment.keystone_config_dir)
        return self.embedded_keystone

    @property
    def keystone_url(self) -> str:
        """The URL of Keystone's v3 API."""
        if self.embedded_keystone:
            return (
                self.public_url(self.keystone_listen, self.keystone_path)
                + '/v3'
            )
        url = str(self.conf.deployment.keystone).rstrip('/')
        if not is_http(url):
            raise errors.BadOption(
                f'"{url}" is neither "{EMBEDDED}" nor a URL.',
                'Give --keystone a URL like https://keystone.example.org/v3.',
            )
        return url if url.endswith('/v3') else f'{url}/v3'

    @property
    def hosted(self) -> pathlib.Path | None:
        """The directory of a Glance that others have configured.

        None where "up" configures it.
        """
        directory = self.conf.deployment.glance_config_dir
        return pathlib.Path(directory).absolute() if directory else None

    @property
    def configured_by_others(self) -> list[pathlib.Path]:
        """Every directory with the configuration of something hosted."""
        if self.hosted is None:
            return []
        beside = (
            self.conf.deployment.keystone_config_dir,
            self.conf.gate.remote_config_dir,
        )
        found = (pathlib.Path(item).absolute() for item in beside if item)
        return [self.hosted, *found]

    @property
    def database(self) -> str:
        """The URL of Glance's database."""
        # SQLite answers "database is locked" to a writer after 5 seconds
        # where nothing is set; under load on one disk that is soon.
        path = self.state.data / 'glance.sqlite'
        return self.conf.deployment.database or f'sqlite:///{path}?timeout=60'

    @property
    def workers(self) -> int:
        """How many processes serve the API."""
        return self.size.workers

    @cached_property
    def size(self) -> sizes.Size:
        """How large it is on this machine.

        :raises errors.SizeImpossible: the machine is too small
        """
        return self.size_on(sizes.Machine.here())

    def size_on(self, machine: sizes.Machine) -> sizes.Size:
        """How large it should be on a machine; see `size`."""
        others = FEW_PROCESSES if self.has_remote else 0
        return sizes.recommend(machine, self.conf.server, others)

    @property
    def file_stores(self) -> dict[str, pathlib.Path]:
        """The directories of the file stores, by the stores' names."""
        stores = self.conf.deployment.stores
        return {
            name: self.state.data / name
            for name, kind in stores.items()
            if kind == 'file'
        }

    def imagined(self) -> 'Deployment':
        """Another one, whose files can be rendered before anything is made.

        Where there are no passwords yet it has empty ones, and where there is
        no service user yet the one who runs us stands in.
        """
        made = copy.copy(self)
        made.user = self.user.stand_in()
        if not self.state.secrets.exists():
            made.passwords = dict.fromkeys(SECRETS, '')
        return made

    @cached_property
    def passwords(self) -> dict[str, str]:
        """The passwords of this deployment's accounts."""
        return self.state.load_secrets(SECRETS)

    @property
    def python(self) -> pathlib.Path:
        """The Python that everything runs under."""
        beside = pathlib.Path(sys.prefix, 'bin')
        # Debian's own has no "python" beside it.
        named = beside / 'python'
        return named if named.exists() else beside / 'python3'


def _check_names(config_file: str) -> None:
    # oslo.config passes over what it doesn't know, a misspelt option too.
    sections: dict[str, dict[str, list[str]]] = {}
    cfg.ConfigParser(config_file, sections).parse()
    known = {
        (group, opt.dest)
        for group, opts in options.list_opts()
        for opt in opts
    }
    for section, names in sections.items():
        for name in names:
            if (section, name.replace('-', '_')) not in known:
                raise ValueError(f'[{section}] {name} is no option')


def _take(
    conf: cfg.ConfigOpts, group: str, opt: cfg.Opt, value: object
) -> None:
    name = f'--{opt.name.replace("_", "-")}'
    shown = '' if value is None or opt.secret else f' "{value}"'
    try:
        if re.search(r'[\r\n]', str(value)):
            raise ValueError('it has a line break, which no file can keep')
        if value is not None:
            conf.set_override(opt.dest, _literal(value), group)
        # Reading it is what checks a value from a file.
        conf[group][opt.dest]
    except (cfg.Error, ValueError) as error:
        raise _bad_option(f'The option {name}{shown}', error) from error


def _bad_option(what: str, error: Exception) -> errors.GlanceWSGIError:
    # oslo.config says where a value comes from by way of an object's repr.
    why = re.sub(r"LocationInfo\(.*?detail='(.*?)'\)", r'\1', str(error))
    return errors.BadOption(
        f"{what} can't be used: {why.rstrip('.')}.",
        'Correct it; "glance-wsgi help up" describes every option.',
    )


def is_http(url: str) -> bool:
    """Whether it is a whole URL of HTTP or HTTPS."""
    try:
        parsed = urllib.parse.urlsplit(url)
        return bool(
            parsed.scheme in ('http', 'https')
            and parsed.hostname
            and parsed.port != 0
        )
    except ValueError:  # a port that is none, or half an IPv6 address
        return False


def _text(value: object) -> object:
    """A value as oslo.config reads it from a file."""
    if isinstance(value, dict):
        return ','.join(f'{key}:{item}' for key, item in value.items())
    # Quoted, since it takes off one pair of quotes, and blanks outside them.
    return f'"{_literal(value)}"' if isinstance(value, str) else value


def _literal(value: object) -> object:
    """A value whose $ is a $: oslo.config would take it for a reference."""
    # Not "$$": behind a backslash that would be something else.
    return value.replace('$', r'\$') if isinstance(value, str) else value
