"""Encryption: the certificate, and what clients are told about it."""

from oslo_config import cfg

from glance_wsgi.conf import groups

GROUP = cfg.OptGroup('tls', title='Encryption')

OPTS = [
    cfg.StrOpt(
        'tls_certificate',
        metavar='FILE',
        help='Serve HTTPS with this certificate, a PEM file with the '
        'intermediate ones behind it. The default is plain HTTP, which shows '
        'tokens and images to whoever can read the network. The user who '
        'runs the services has to be able to read it.',
    ),
    cfg.StrOpt(
        'tls_key',
        metavar='FILE',
        help="The certificate's private key, a PEM file without a "
        'passphrase. The user who runs the services has to be able to read '
        'it, and nobody else should be.',
    ),
    cfg.StrOpt(
        'tls_ca',
        metavar='FILE',
        help='The certificates that clients verify ours with, where it is '
        'none that their systems know: told to them in clouds.yaml, and used '
        'by Glance itself when it asks Keystone.',
    ),
    cfg.StrOpt(
        'redirect_listen',
        metavar='HOST:PORT',
        help='Also listen here, without encryption, and send whoever comes '
        'to the encrypted address. For people and old links: a client that '
        'sends its token here has shown it already.',
    ),
    cfg.IntOpt(
        'hsts_max_age',
        default=0,
        min=0,
        metavar='SECONDS',
        help='Tell browsers to use HTTPS only for this host name, for that '
        'long (Strict-Transport-Security, RFC 6797). It concerns every port '
        'of the name and cannot be taken back before the time is over, so 0, '
        'the default, does not send it; 31536000 is a year.',
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options of this group known to `conf`."""
    groups.register(conf, GROUP, OPTS)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """This group's name and options."""
    return [(GROUP.name, OPTS)]
