"""Which distribution this is, from files as they really look."""

import subprocess

import material
import pytest

from glance_wsgi import platforms

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="x"\nID=debian\n'
UBUNTU = 'ID=ubuntu\nID_LIKE=debian\n'
MINT = 'ID=linuxmint\nID_LIKE="ubuntu debian"\n'
ROCKY = 'NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\n'
FEDORA = 'ID=fedora\n'
LEAP = 'ID="opensuse-leap"\nID_LIKE="suse opensuse"\n'
ALPINE = 'ID=alpine\n'


@pytest.mark.parametrize(
    ('text', 'install'),
    [
        (DEBIAN, 'apt-get install'),
        (UBUNTU, 'apt-get install'),
        (MINT, 'apt-get install'),
        (ROCKY, 'dnf install'),
        (FEDORA, 'dnf install'),
        (LEAP, 'zypper install'),
        (ALPINE, 'apk add'),
    ],
)
def test_a_distribution_is_known_by_itself_or_by_what_it_is_like(
    tmp_path, text, install
):
    path = tmp_path / 'os-release'
    path.write_text(text)
    assert platforms.current(path).install == install


@pytest.mark.parametrize(
    'text', ['', 'ID=\n', 'ID="\n', 'ID=plan9\n', 'nonsense\n', '# ID=alpine']
)
def test_a_system_that_is_none_we_know_is_taken_for_debian(tmp_path, text):
    path = tmp_path / 'os-release'
    path.write_text(text)
    assert platforms.current(path) is platforms.PLATFORMS[0]
    assert platforms.current(tmp_path / 'x') is platforms.PLATFORMS[0]


@pytest.mark.parametrize('platform', platforms.PLATFORMS)
def test_the_system_user_gets_no_shell_and_its_name_comes_last(platform):
    command = platform.add_user_command('some one')
    assert command[-1] == 'some one'
    assert '/sbin/nologin' in ' '.join(command)
    assert platform.remove_user_command('some one')[1:] == ['some one']


def test_no_distribution_is_in_two_families():
    ids = [name for platform in platforms.PLATFORMS for name in platform.ids]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize('platform', platforms.PLATFORMS)
def test_every_distribution_says_where_its_apache_is(platform):
    apache = platform.apache
    assert apache.program.is_absolute() and apache.modules.is_absolute()
    assert apache.package and apache.mod_wsgi


def test_the_apache_of_this_machine_is_where_it_should_be():
    material.need_apache('mod_mpm_event.so', 'mod_proxy_http.so')
    apache = platforms.current().apache
    said = subprocess.run(
        [apache.program, '-v'], capture_output=True, text=True, check=True
    )
    assert 'Apache/2.4' in said.stdout
