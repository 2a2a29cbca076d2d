"""What tempest.conf can say to the smoke tests, in [glance-wsgi]."""

from oslo_config import cfg

GROUP = cfg.OptGroup('glance-wsgi', title='Smoke tests of the Images v2 API')

OPTIONS = [
    cfg.StrOpt(
        'name_prefix',
        default='glance-wsgi-smoke',
        help='What the names of all that the tests make begin with.',
    ),
    cfg.URIOpt(
        'web_download_uri',
        schemes=['http', 'https'],
        help='A small file that Glance may import by "web-download", and that '
        'the tests can read, too. By default the healthcheck of Glance '
        'itself, which every Glance can reach.',
    ),
    cfg.URIOpt(
        'endpoint',
        schemes=['http', 'https'],
        help='The URL of the Images API, without its version: one node of '
        'many, or one that no catalogue leads to yet. By default the '
        "catalogue's.",
    ),
]
