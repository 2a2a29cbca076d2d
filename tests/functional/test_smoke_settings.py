"""Settings that break Glance, and the smoke tests that say so.

Guards against a suite that passes on a set-up with a value that is known to
be bad.
"""

import contextlib
import dataclasses
import json
import re
import signal

import pytest
import toolkit
from glance_wsgi_faults import WEB

from glance_wsgi.errors import Exit

pytestmark = pytest.mark.faults

IMPORTS = {
    'test_glance_direct_imports_what_was_staged',
    'test_the_task_of_an_import_is_told_to_its_owner',
    'test_an_administrator_looks_up_the_task_of_an_import',
    'test_an_administrator_lists_tasks',
    'test_web_download_fetches_the_file',
    'test_glance_download_copies_an_image_of_the_region',
}
VASSAL = 'etc/vassals/glance-api.ini'
SITE = 'etc/apache/site.conf'
SECOND_STORE = 'cheap'


@dataclasses.dataclass(frozen=True)
class Setting:
    """A bad value in a file of the web server's.

    :param file: in the state directory
    :param right: regular expression for what is there
    :param catching: the tests that have to fail
    """

    file: str
    right: str
    wrong: str
    catching: set[str]


SHORT_TIMEOUT = Setting(
    VASSAL,
    r'\nsocket-timeout = \d+',
    '\nsocket-timeout = 4',
    {'test_an_upload_that_stalls_for_seconds_comes_back'},
)

SETTINGS = {
    'uwsgi': {
        'chunks_of_one_mebibyte_at_most': Setting(
            VASSAL,
            r'chunked-input-limit = \d+',
            'chunked-input-limit = 1048576',
            {'test_an_upload_in_chunks_of_two_mebibytes_comes_back'},
        ),
        'a_socket_timeout_of_four_seconds': SHORT_TIMEOUT,
    },
    # Nothing else applies: Apache passes uploads on in small chunks, and does
    # not limit what it passes on by LimitRequestBody.
    'apache-uwsgi': {
        'a_socket_timeout_of_four_seconds': SHORT_TIMEOUT,
    },
    'mod_wsgi': {
        'no_chunked_requests': Setting(
            SITE,
            'WSGIChunkedRequest On',
            'WSGIChunkedRequest Off',
            {
                'test_an_upload_in_small_chunks_comes_back',
                'test_an_upload_in_chunks_of_two_mebibytes_comes_back',
            },
        ),
        'no_authorization_header': Setting(
            SITE,
            'WSGIPassAuthorization On',
            'WSGIPassAuthorization Off',
            {'test_the_authorization_header_arrives'},
        ),
        'bodies_of_ten_mebibytes_at_most': Setting(
            SITE,
            'LimitRequestBody 0',
            'LimitRequestBody 10485760',
            {'test_an_image_of_many_mebibytes_comes_back'},
        ),
    },
}

of_the_server = pytest.mark.parametrize(
    ('server', 'name'),
    [(server, name) for server, names in SETTINGS.items() for name in names],
)


@pytest.fixture
def failing(breakable, web):
    """The smoke tests that fail."""
    (web.directory / 'file').write_bytes(WEB)

    def look(deployment=breakable) -> set[str]:
        result = deployment(
            'smoke',
            f'--web-download-uri={web.url}/file',
            '--format=json',
            check=False,
        )
        assert result.returncode in (Exit.OK, Exit.SMOKE_FAILED), result.stderr
        return {
            row['Test'].rpartition('.')[2]
            for row in json.loads(result.stdout)
            if row['Result'] == 'FAILED'
        }

    return look


@contextlib.contextmanager
def changed(deployment, setting: Setting):
    """Serve with a bad value, which "up" would put right."""
    file = deployment.state_dir / setting.file
    text = file.read_text()
    assert re.search(setting.right, text)
    before = set(deployment.processes('glance-api worker'))
    file.write_text(re.sub(setting.right, setting.wrong, text))
    for apache in deployment.processes('apache')[:1]:
        apache.send_signal(signal.SIGUSR1)

    def taken() -> bool:
        now = set(deployment.processes('glance-api worker'))
        return bool(now) and now.isdisjoint(before)

    try:
        toolkit.until(taken, 'the file is read again')
        toolkit.until(
            lambda: deployment.status()['serving'], 'the API serves again'
        )
        yield
    finally:
        deployment.up()


@contextlib.contextmanager
def set_in_glance(deployment, text: str):
    """Serve with other settings of Glance."""
    deployment.write_own_settings(toolkit.LOCAL_SETTINGS + text)
    try:
        deployment('reload')
        yield
    finally:
        deployment.write_own_settings(toolkit.LOCAL_SETTINGS)
        deployment('reload')


@of_the_server
def test_a_bad_value_of_the_server_is_caught(breakable, failing, server, name):
    if server != toolkit.SERVER:
        pytest.skip(f'{name} is a setting of {server}: --server={server}')
    with changed(breakable, SETTINGS[server][name]):
        assert failing() == SETTINGS[server][name].catching
    assert not failing()


def test_a_wrong_public_endpoint_behind_a_path_is_caught(breakable, failing):
    breakable.up('--path=/image')
    try:
        assert not failing()
        wrong = f'[DEFAULT]\npublic_endpoint = {breakable.endpoint}\n'
        with set_in_glance(breakable, wrong):
            assert failing() == {
                'test_the_links_of_the_versions_lead_back_here'
            }
    finally:
        breakable.up('--path=/')


def test_metadata_definitions_that_are_not_loaded_are_caught(fresh, failing):
    fresh.write_own_settings(toolkit.LOCAL_SETTINGS)
    fresh.up()
    url = '/metadefs/namespaces'
    with fresh.connect() as cloud:
        while spaces := cloud.image.get(url).json()['namespaces']:
            for space in spaces:
                place = f'{url}/{space["namespace"]}'
                patch = {**space, 'protected': False}
                cloud.image.put(place, json=_writable(patch))
                answer = cloud.image.delete(place)
                assert answer.status_code == 204, answer.text
    assert failing(fresh) == {
        'test_the_definitions_that_glance_ships_are_loaded'
    }


def _writable(space: dict) -> dict:
    known = (
        'namespace',
        'display_name',
        'description',
        'visibility',
        'protected',
        'owner',
    )
    return {key: space[key] for key in known if key in space}


@contextlib.contextmanager
def closed(deployment, name: str):
    """A directory for data in which nothing can be made any more."""
    deployment.up()
    place = deployment.state_dir / 'data' / name
    mode = place.stat().st_mode
    place.chmod(0o555)
    try:
        yield
    finally:
        place.chmod(mode)


def test_a_staging_directory_that_is_closed_is_caught(breakable, failing):
    with closed(breakable, 'staging'):
        assert failing() == IMPORTS | {
            'test_a_copy_is_made_in_another_store_and_removed_again'
        }


def test_a_store_that_has_stopped_is_caught(breakable, failing):
    with closed(breakable, SECOND_STORE):
        assert failing() == {
            'test_an_upload_goes_to_the_store_that_was_asked_for',
            'test_a_copy_is_made_in_another_store_and_removed_again',
        }


def test_image_conversion_without_an_interpreter_is_caught(breakable, failing):
    plugin = '[image_import_opts]\nimage_import_plugins = [image_conversion]\n'
    with set_in_glance(breakable, plugin):
        assert not failing()
    if toolkit.SERVER == 'mod_wsgi':
        return  # there sys.executable is Python
    with set_in_glance(breakable, f'{plugin}[wsgi]\npython_interpreter =\n'):
        assert failing() == IMPORTS
