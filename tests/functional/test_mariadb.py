"""MariaDB as the database, with a password that needs care everywhere."""

import urllib.parse

import images
import kills
import pytest
import toolkit

PASSWORD = 'p$a%s@s/w:o#r?d'


@pytest.fixture(scope='module')
def up(workspace, mariadb):
    """A deployment on MariaDB, its address given in a file; its arguments."""
    deployment = toolkit.Deployed(workspace / 'mariadb')
    with mariadb.database(PASSWORD) as (_, url):
        options = workspace / 'mariadb.conf'
        # As people write it: quoted for a URL, and for oslo.config, which
        # takes $name for a reference.
        url = url.replace('%24', '$$')
        options.write_text(f'[deployment]\ndatabase = {url}\n')
        options.chmod(0o600)
        with toolkit.watched_arguments() as arguments:
            deployment.up(f'--config-file={options}')
        options.unlink()
        yield deployment, arguments()
        deployment.purge()


def test_images_come_back_as_they_were_sent(up):
    deployment, _ = up
    data = images.random_bytes(images.MIB + 1)
    with deployment.connect() as cloud:
        image = images.create(cloud)
        images.upload(cloud, image, data)
        images.assert_holds(cloud, image, data)
        cloud.image.delete_image(image)


@pytest.mark.parametrize('action', ['file', 'stage'])
def test_a_killed_upload_leaves_a_queued_image_and_no_data(up, action):
    deployment, _ = up
    with deployment.connect() as cloud:
        image = images.create(cloud)
        kills.kill_half_sent(deployment, cloud, image, action)
        kills.assert_mended(deployment, cloud, image)
        cloud.image.delete_image(image)


def test_status_shows_the_revision(up):
    deployment, _ = up
    status = deployment.status()
    assert status['serving']
    assert 'contract' in status['database revision']
    assert not (deployment.state_dir / 'data' / 'glance.sqlite').exists()


def test_a_second_up_changes_nothing(up):
    deployment, _ = up
    before = toolkit.snapshot(deployment.state_dir / 'etc')
    assert 'Nothing had to be changed' in deployment('up').stdout
    assert toolkit.snapshot(deployment.state_dir / 'etc') == before


def test_the_password_is_in_no_argument_no_log_and_no_open_file(up):
    deployment, arguments = up
    assert 'glance-manage' in arguments
    spellings = {
        PASSWORD,
        urllib.parse.quote(PASSWORD, safe=''),
        urllib.parse.quote(PASSWORD, safe='$'),
    }
    texts = [arguments]
    for file in deployment.state_dir.rglob('*'):
        if file.is_file() and file.stat().st_mode & 0o077:
            texts.append(file.read_bytes().decode(errors='replace'))
    for file in (deployment.state_dir / 'log').iterdir():
        texts.append(file.read_text())
    status = deployment('status', '-f', 'json')
    texts.append(status.stdout + status.stderr)
    assert toolkit.leaked(spellings, texts) == []
