"""What differs between distributions, as data.

A new distribution is a new row; nothing else asks which one this is.
"""

import dataclasses
import pathlib
import shlex


@dataclasses.dataclass(frozen=True)
class SystemApache:
    """The Apache that a distribution has set up, for all sites of a machine.

    A command without words is none: what is there is used.

    :param service: its unit of systemd
    :param control: the program that tests its configuration
    :param pidfile: of its first process
    :param group: the group of the processes that answer
    :param conf: the directory with all its configuration
    :param site: the file that our site is written to
    :param logs: where the logs of its sites are
    :param enable_site: the command that enables the site ``{name}``
    :param enable_module: the command that loads the module ``{name}``
    :param site_marks: what `enable_site` makes, for ``{name}``; the first one
        is what Apache reads
    :param module_marks: what `enable_module` makes, for ``{name}``
    """

    service: str
    control: str
    pidfile: pathlib.Path
    group: str
    conf: pathlib.Path
    site: pathlib.Path
    logs: pathlib.Path
    enable_site: str = ''
    enable_module: str = ''
    site_marks: tuple[str, ...] = ()
    module_marks: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Apache:
    """Where a distribution has the Apache HTTP Server.

    :param program: the server itself
    :param modules: the directory of its modules
    :param package: the package with both
    :param mod_wsgi: the package with mod_wsgi for the distribution's Python
    :param system: the one that serves the sites of the machine
    """

    program: pathlib.Path
    modules: pathlib.Path
    package: str
    mod_wsgi: str
    system: SystemApache


@dataclasses.dataclass(frozen=True)
class Platform:
    """One family of distributions.

    :param ids: its names in os-release(5), ID or ID_LIKE
    :param add_user: the command that makes a system user without a home or
        a shell; ``{name}`` is the user's name
    :param remove_user: the command that takes such a user away again
    :param install: the command that installs packages
    :param apache: where Apache is
    """

    ids: frozenset[str]
    add_user: str
    remove_user: str
    install: str
    apache: Apache

    def add_user_command(self, name: str) -> list[str]:
        """`add_user` as arguments, for the user `name`."""
        return _filled(self.add_user, name)

    def remove_user_command(self, name: str) -> list[str]:
        """`remove_user` as arguments, for the user `name`."""
        return _filled(self.remove_user, name)


def _filled(command: str, name: str) -> list[str]:
    return [word.format(name=name) for word in shlex.split(command)]


USERADD = (
    'useradd --system --user-group --no-create-home --home-dir /nonexistent'
    ' --shell /usr/sbin/nologin {name}'
)
USERDEL = 'userdel {name}'

DEBIAN_APACHE = Apache(
    program=pathlib.Path('/usr/sbin/apache2'),
    modules=pathlib.Path('/usr/lib/apache2/modules'),
    package='apache2',
    mod_wsgi='libapache2-mod-wsgi-py3',
    system=SystemApache(
        service='apache2.service',
        control='/usr/sbin/apache2ctl',
        pidfile=pathlib.Path('/run/apache2/apache2.pid'),
        group='www-data',
        conf=pathlib.Path('/etc/apache2'),
        site=pathlib.Path('/etc/apache2/sites-available/glance-wsgi.conf'),
        logs=pathlib.Path('/var/log/apache2'),
        enable_site='/usr/sbin/a2ensite --quiet {name}',
        enable_module='/usr/sbin/a2enmod --quiet {name}',
        site_marks=(
            '/etc/apache2/sites-enabled/{name}.conf',
            '/var/lib/apache2/site/enabled_by_admin',
            '/var/lib/apache2/site/enabled_by_admin/{name}',
        ),
        module_marks=(
            '/etc/apache2/mods-enabled/{name}.load',
            '/etc/apache2/mods-enabled/{name}.conf',
            '/var/lib/apache2/module/enabled_by_admin',
            '/var/lib/apache2/module/enabled_by_admin/{name}',
        ),
    ),
)

FEDORA_APACHE = Apache(
    program=pathlib.Path('/usr/sbin/httpd'),
    modules=pathlib.Path('/usr/lib64/httpd/modules'),
    package='httpd',
    mod_wsgi='python3-mod_wsgi',
    system=SystemApache(
        service='httpd.service',
        control='/usr/sbin/apachectl',
        pidfile=pathlib.Path('/run/httpd/httpd.pid'),
        group='apache',
        conf=pathlib.Path('/etc/httpd'),
        site=pathlib.Path('/etc/httpd/conf.d/glance-wsgi.conf'),
        logs=pathlib.Path('/var/log/httpd'),
    ),
)

PLATFORMS = (
    Platform(
        ids=frozenset({'debian', 'ubuntu'}),
        add_user=USERADD,
        remove_user=USERDEL,
        install='apt-get install',
        apache=DEBIAN_APACHE,
    ),
    Platform(
        ids=frozenset({'rhel', 'fedora', 'centos'}),
        add_user=USERADD,
        remove_user=USERDEL,
        install='dnf install',
        apache=FEDORA_APACHE,
    ),
    Platform(
        ids=frozenset({'suse', 'opensuse'}),
        add_user=USERADD,
        remove_user=USERDEL,
        install='zypper install',
        apache=Apache(
            program=pathlib.Path('/usr/sbin/httpd'),
            modules=pathlib.Path('/usr/lib64/apache2'),
            package='apache2',
            mod_wsgi='apache2-mod_wsgi-python3',
            system=SystemApache(
                service='apache2.service',
                control='/usr/sbin/apachectl',
                pidfile=pathlib.Path('/run/httpd.pid'),
                group='www',
                conf=pathlib.Path('/etc/apache2'),
                site=pathlib.Path('/etc/apache2/vhosts.d/glance-wsgi.conf'),
                logs=pathlib.Path('/var/log/apache2'),
                enable_module='/usr/sbin/a2enmod {name}',
            ),
        ),
    ),
    Platform(
        ids=frozenset({'alpine'}),
        add_user='adduser -S -D -H -h /nonexistent -s /sbin/nologin {name}',
        remove_user='deluser {name}',
        install='apk add',
        apache=Apache(
            program=pathlib.Path('/usr/sbin/httpd'),
            modules=pathlib.Path('/usr/lib/apache2'),
            package='apache2',
            mod_wsgi='apache2-mod-wsgi',
            system=SystemApache(
                service='apache2',
                control='/usr/sbin/apachectl',
                pidfile=pathlib.Path('/run/apache2/httpd.pid'),
                group='apache',
                conf=pathlib.Path('/etc/apache2'),
                site=pathlib.Path('/etc/apache2/conf.d/glance-wsgi.conf'),
                logs=pathlib.Path('/var/log/apache2'),
            ),
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
