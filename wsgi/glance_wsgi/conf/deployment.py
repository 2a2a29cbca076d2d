"""Which deployment this is: where it listens and what it is made of."""

from oslo_config import cfg

from glance_wsgi.conf import groups

GROUP = cfg.OptGroup('deployment', title='What is deployed, and where')

OPTS = [
    cfg.StrOpt(
        'profile',
        default='plain',
        choices=['plain', 'gate'],
        metavar='plain|gate',
        help='What the deployment is for. plain: to serve images. gate: to be '
        "tested by OpenStack's own test suite, Tempest. That needs a second "
        'Glance node, a cache, locations that clients may set and a source '
        'of images on loopback; a tempest.conf is written that says so. It '
        'lets clients do more than a service should.',
    ),
    cfg.StrOpt(
        'listen',
        default='127.0.0.1:9292',
        metavar='HOST:PORT',
        help='Address of the Images API. The default can be reached from this '
        'machine only; choose the address of a network interface to serve '
        'others. An IPv6 host is written in brackets, [::1]:9292.',
    ),
    cfg.StrOpt(
        'public_host',
        metavar='HOST',
        help='The name or address by which clients reach this machine; the '
        'service catalogue and clouds.yaml tell it to them. The default is '
        'the host of --listen; it must be given where that is 0.0.0.0 or '
        '[::], which no client can connect to.',
    ),
    cfg.StrOpt(
        'path',
        default='/',
        metavar='/PATH',
        help='Path below which the Images API is served, such as /image. The '
        'default is the root of its port. Under Apache a path lets Keystone '
        'and the API share one port; it is a part of the endpoint, so change '
        'it only together with the catalogue.',
    ),
    cfg.StrOpt(
        'server',
        default='uwsgi',
        metavar='NAME',
        help='The web server that hosts the API. uwsgi: uWSGI alone, speaking '
        'HTTP itself, the fewest parts. apache-uwsgi: Apache in front, which '
        'passes requests on to uWSGI over a unix socket. mod_wsgi: Apache '
        'with the API in daemon processes of its own; a change of its vhost '
        'ends transfers that run (see "reload").',
    ),
    cfg.StrOpt(
        'database',
        secret=True,
        metavar='URL',
        help="Glance's database as an SQLAlchemy URL. The default, an SQLite "
        'file in the state directory, needs nothing and suits one host. '
        'mysql+pymysql://USER:PASSWORD@HOST/NAME is for everything larger; '
        'the database must exist. A password on the command line can be read '
        'by every user of this machine: give such a URL in --config-file.',
    ),
    cfg.StrOpt(
        'keystone',
        default='embedded',
        metavar='embedded|URL',
        help="embedded: run a Keystone of this deployment's own, which suits "
        'one host. A URL, such as https://keystone.example.org/v3: use that '
        'one; the administrator who registers Glance there is taken from the '
        'environment (OS_CLOUD, or OS_USERNAME and so on), as the openstack '
        'command does.',
    ),
    cfg.StrOpt(
        'service_user',
        default='glance',
        metavar='NAME',
        help="Glance's user in Keystone, which is made with a password of "
        'this deployment. It must not be the user of another Glance that the '
        'same Keystone has: that one would lose its password.',
    ),
    cfg.StrOpt(
        'keystone_listen',
        default='127.0.0.1:5000',
        metavar='HOST:PORT',
        help='Address of the embedded Keystone. Clients need it to get their '
        'tokens, so it has to be reachable by the same ones as the Images '
        'API.',
    ),
    cfg.StrOpt(
        'keystone_path',
        default='/',
        metavar='/PATH',
        help='Path below which the embedded Keystone is served, such as '
        '/identity. Where --keystone-listen is the same as --listen, it and '
        '--path have to differ; uWSGI alone needs a port for each.',
    ),
    cfg.StrOpt(
        'glance_config_dir',
        metavar='DIR',
        help='Host the Glance that is configured in this directory, such as '
        '/etc/glance, by whomever. Only for the verbs that render and '
        'install a web server: "up" configures a Glance of its own.',
    ),
    cfg.StrOpt(
        'keystone_config_dir',
        metavar='DIR',
        help='Host the Keystone that is configured in this directory, too. '
        'Only together with --glance-config-dir.',
    ),
    cfg.StrOpt(
        'run_as',
        metavar='USER',
        help='The user of this system who runs the Glance in '
        '--glance-config-dir, never root. The default is glance-wsgi, who is '
        'made where it is missing; give another one where the configuration, '
        'the stores and the staging area belong to that one already.',
    ),
    cfg.DictOpt(
        'stores',
        default={'fast': 'file', 'cheap': 'file', 'web': 'http'},
        metavar='NAME:KIND,...',
        help='Where image data is kept; the first one is the default store. '
        'file: a directory of the same name in the state directory. http: '
        'read-only, so that the location of an image can be a URL. Two file '
        'stores make copy-image useful; on one disk they hold two copies.',
    ),
    cfg.StrOpt(
        'region',
        default='RegionOne',
        metavar='NAME',
        help='Region of the endpoints in the service catalogue.',
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options of this group known to `conf`."""
    groups.register(conf, GROUP, OPTS)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """This group's name and options."""
    return [(GROUP.name, OPTS)]
