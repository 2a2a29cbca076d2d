"""Options of all tests."""


def pytest_addoption(parser):
    parser.addoption(
        '--server',
        default='uwsgi',
        help='the --server of the deployments that the tests make',
    )
