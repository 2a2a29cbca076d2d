"""What a gate has beside the API: a second Glance node, a source of images."""

from oslo_config import cfg

from glance_wsgi.conf import groups

GROUP = cfg.OptGroup('gate', title='What --profile gate adds')

OPTS = [
    cfg.StrOpt(
        'remote_listen',
        default='127.0.0.1:9293',
        metavar='HOST:PORT',
        help='Address of the second Glance node, which Tempest asks for what '
        'the first one has staged or cached. Whoever runs Tempest has to '
        'reach it. Only with --profile gate or --remote-config-dir.',
    ),
    cfg.StrOpt(
        'remote_config_dir',
        metavar='DIR',
        help='Host the second Glance node that is configured in this '
        'directory, by whomever, at --remote-listen. Only together with '
        '--glance-config-dir; its worker_self_reference_url has to lead '
        'there.',
    ),
    cfg.StrOpt(
        'source_listen',
        default='127.0.0.1:9294',
        metavar='HOST:PORT',
        help='Address of a small web server with the images that Tempest has '
        'Glance download. Glance is allowed to download from its host, which '
        'it otherwise is not where that is a loopback address. Only with '
        '--profile gate.',
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options of this group known to `conf`."""
    groups.register(conf, GROUP, OPTS)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """This group's name and options."""
    return [(GROUP.name, OPTS)]
