"""What differs between distributions, as data.

A new distribution is a new row; nothing else asks which one this is.
"""

import dataclasses
import pathlib
import shlex


@dataclasses.dataclass(frozen=True)
class Apache:
    """Where a distribution has the Apache HTTP Server.

    :param program: the server itself
    :param modules: the directory of its modules
    :param package: the package with both
    :param mod_wsgi: the package with mod_wsgi for the distribution's Python
    """

    program: pathlib.Path
    modules: pathlib.Path
    package: str
    mod_wsgi: str


@dataclasses.dataclass(frozen=True)
class Platform:
    """One family of distributions.

    :param ids: its names in os-release(5), ID or ID_LIKE
    :param add_user: the command that makes a system user without a home or
        a shell; ``{name}`` is the user's name
    :param install: the command that installs packages
    :param apache: where Apache is
    """

    ids: frozenset[str]
    add_user: str
    install: str
    apache: Apache

    def add_user_command(self, name: str) -> list[str]:
        """`add_user` as arguments, for the user `name`."""
        return [word.format(name=name) for word in shlex.split(self.add_user)]


USERADD = (
    'useradd --system --user-group --no-create-home --home-dir /nonexistent'
    ' --shell /usr/sbin/nologin {name}'
)

DEBIAN_APACHE = Apache(
    program=pathlib.Path('/usr/sbin/apache2'),
    modules=pathlib.Path('/usr/lib/apache2/modules'),
    package='apache2',
    mod_wsgi='libapache2-mod-wsgi-py3',
)

FEDORA_APACHE = Apache(
    program=pathlib.Path('/usr/sbin/httpd'),
    modules=pathlib.Path('/usr/lib64/httpd/modules'),
    package='httpd',
    mod_wsgi='python3-mod_wsgi',
)

PLATFORMS = (
    Platform(
        ids=frozenset({'debian', 'ubuntu'}),
        add_user=USERADD,
        install='apt-get install',
        apache=DEBIAN_APACHE,
    ),
    Platform(
        ids=frozenset({'rhel', 'fedora', 'centos'}),
        add_user=USERADD,
        install='dnf install',
        apache=FEDORA_APACHE,
    ),
    Platform(
        ids=frozenset({'suse', 'opensuse'}),
        add_user=USERADD,
        install='zypper install',
        apache=Apache(
            program=pathlib.Path('/usr/sbin/httpd'),
            modules=pathlib.Path('/usr/lib64/apache2'),
            package='apache2',
            mod_wsgi='apache2-mod_wsgi-python3',
        ),
    ),
    Platform(
        ids=frozenset({'alpine'}),
        add_user='adduser -S -D -H -h /nonexistent -s /sbin/nologin {name}',
        install='apk add',
        apache=Apache(
            program=pathlib.Path('/usr/sbin/httpd'),
            modules=pathlib.Path('/usr/lib/apache2'),
            package='apache2',
            mod_wsgi='apache2-mod-wsgi',
        ),
    ),
)


def current(
    os_release: pathlib.Path = pathlib.Path('/etc/os-release'),
) -> Platform:
    """The platform of this machine; Debian's where it is none we know."""
    ids = set()
    try:
        for line in os_release.read_text().splitlines():
            key, _, value = line.partition('=')
            if key in ('ID', 'ID_LIKE'):
                ids.update(shlex.split(value)[0].split())
    except (OSError, IndexError, ValueError):
        pass
    for platform in PLATFORMS:
        if platform.ids & ids:
            return platform
    return PLATFORMS[0]
