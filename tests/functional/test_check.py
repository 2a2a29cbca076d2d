"""``check`` on a real deployment, a real Apache and a real MariaDB."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest
import toolkit

from glance_wsgi.errors import Exit

APACHE = shutil.which('apache2', path=f'{os.environ["PATH"]}:/usr/sbin')
MODULES = pathlib.Path('/usr/lib/apache2/modules')

PASSWORD = 'as-secret-as-can-be'

SITE = """
ServerRoot {folder}
PidFile {folder}/pid
ErrorLog {folder}/log
ServerName image.example.org
Listen 127.0.0.1:{port}
Define HERE {folder}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule env_module {modules}/mod_env.so
LoadModule reqtimeout_module {modules}/mod_reqtimeout.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
Include ${{HERE}}/limits.conf
<VirtualHost *:{port}>
    <IfModule mod_proxy_http.c>
        SetEnv proxy-sendchunked 1
        Proxy100Continue Off
        ProxyPass /image \\
            "http://127.0.0.1:{backend}{slash}"
    </IfModule>
    <IfModule !proxy_http_module>
        WSGIScriptAlias / /usr/bin/glance-wsgi-api
    </IfModule>
</VirtualHost>
"""
LIMITS = """
LimitRequestBody 0
RequestReadTimeout header=20-40,MinRate=500 body={body}
"""


def findings(result) -> dict:
    """What was found, by rule."""
    assert 'Traceback' not in result.stderr
    return {row['rule']: row for row in json.loads(result.stdout)}


def worst(found: dict) -> set:
    return {row['severity'] for row in found.values()} - {'info'}


def test_a_deployment_of_ours_passes(deployed):
    before = toolkit.snapshot(deployed.state_dir / 'etc')
    result = deployed('check', '-f', 'json')
    assert result.returncode == Exit.OK
    assert not worst(findings(result))
    assert toolkit.snapshot(deployed.state_dir / 'etc') == before
    assert 'Checked 5 files' in result.stderr


def test_the_table_is_readable_and_has_no_secret(deployed):
    result = deployed('check')
    secrets = json.loads((deployed.state_dir / 'etc/secrets.json').read_text())
    assert (
        toolkit.leaked(secrets.values(), [result.stdout, result.stderr]) == []
    )


def test_a_file_of_a_deployment_that_somebody_has_changed_is_found(
    deployed, tmp_path
):
    ini = deployed.state_dir / 'etc' / 'vassals' / 'glance-api.ini'
    changed = tmp_path / 'glance-api.ini'
    changed.write_text(f'{ini.read_text()}harakiri = 60\nlisten = 99999\n')
    result = deployed('check', '-f', 'json', changed, check=False)
    assert result.returncode == Exit.CHECK_ERRORS
    assert {'harakiri', 'listen-queue'} <= findings(result).keys()


@pytest.fixture
def site(tmp_path):
    """Writes an Apache configuration that Apache itself accepts."""
    if APACHE is None:
        pytest.skip('no apache2: apt-get install apache2-bin')

    def write(body=0, slash=''):
        (tmp_path / 'limits.conf').write_text(LIMITS.format(body=body))
        file = tmp_path / 'apache2.conf'
        file.write_text(
            SITE.format(
                folder=tmp_path,
                modules=MODULES,
                port=toolkit.free_port(),
                backend=toolkit.free_port(),
                slash=slash,
            )
        )
        subprocess.run([APACHE, '-t', '-f', file], check=True)
        return file

    return write


def test_a_site_that_apache_accepts_and_that_is_right_passes(site):
    result = toolkit.glance_wsgi('check', '-f', 'json', site())
    assert findings(result) == {}


def test_a_site_that_apache_accepts_and_that_is_wrong_does_not_pass(site):
    file = site(body='10,MinRate=500', slash='/')
    result = toolkit.glance_wsgi('check', '-f', 'json', file, check=False)
    assert result.returncode == Exit.CHECK_ERRORS
    found = findings(result)
    assert found.keys() == {'proxy-slash', 'request-read-timeout'}
    assert found['proxy-slash']['where'] == f'{file}:19'
    limits = file.with_name('limits.conf')
    assert found['request-read-timeout']['where'] == f'{limits}:3'


def test_the_apache_of_this_machine_can_be_read():
    file = pathlib.Path('/etc/apache2/apache2.conf')
    if not file.exists():
        pytest.skip('no /etc/apache2/apache2.conf: apt-get install apache2')
    result = toolkit.glance_wsgi('check', '-f', 'json', file, check=False)
    assert result.returncode in (0, Exit.CHECK_WARNINGS, Exit.CHECK_ERRORS)
    assert 'include-apache' not in findings(result)


@pytest.fixture
def glance_conf(deployed, mariadb, tmp_path):
    """The deployment's files, with a MariaDB as the database."""
    etc = deployed.state_dir / 'etc'
    conf = tmp_path / 'glance-api.conf'
    with mariadb.database(PASSWORD) as (_, url):
        text = (etc / 'glance' / 'glance-api.conf').read_text()
        conf.write_text(f'{text}\n[database]\nconnection = {url}\n')
        conf.chmod(0o600)
        yield conf, etc / 'vassals' / 'glance-api.ini'


@pytest.fixture
def connections(mariadb):
    """Sets how many connections the MariaDB allows, for a while."""
    (before,) = mariadb.execute('SELECT @@max_connections')
    yield lambda number: mariadb.execute(
        f'SET GLOBAL max_connections = {number}'
    )
    mariadb.execute(f'SET GLOBAL max_connections = {before[0]}')


def test_a_mariadb_that_allows_enough_connections_passes(
    glance_conf, connections
):
    connections(5000)
    result = toolkit.glance_wsgi('check', '-f', 'json', *glance_conf)
    assert not {'db-connections', 'db-not-asked'} & findings(result).keys()


def test_a_mariadb_that_allows_too_few_connections_is_found(
    glance_conf, connections
):
    connections(20)
    result = toolkit.glance_wsgi(
        'check', '-f', 'json', *glance_conf, check=False
    )
    assert result.returncode == Exit.CHECK_ERRORS
    found = findings(result)['db-connections']
    assert 'allows 20' in found['what']
    assert '= 2 x 48,' in found['what']
    assert PASSWORD not in result.stdout + result.stderr


def test_what_can_not_be_checked_is_one_line(tmp_path):
    binary = tmp_path / 'binary'
    binary.write_bytes(b'\0\1\2')
    for path in (
        tmp_path / 'none',
        tmp_path,
        binary,
        pathlib.Path('/etc/hosts'),
    ):
        result = toolkit.glance_wsgi('check', path, check=False)
        assert result.returncode == Exit.FILE_NOT_CHECKED
        assert len(result.stderr.splitlines()) == 1
        assert str(path) in result.stderr and result.stdout == ''
