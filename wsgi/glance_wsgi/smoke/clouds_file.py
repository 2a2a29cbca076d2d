"""The clouds.yaml that says who and where the smoke tests' accounts are.

openstacksdk passes over a file that it can't read, and then knows no cloud of
that name. Here it is told what is wrong with it.
https://docs.openstack.org/openstacksdk/latest/user/config/configuration.html
"""

import pathlib
from typing import Any

import yaml
from openstack.config import loader

from glance_wsgi import errors

NOTHING = 'No test was run.'


def usual() -> pathlib.Path:
    """The first one where openstacksdk looks for them.

    :raises errors.CloudUnknown: there is none
    """
    for place in map(pathlib.Path, loader.CONFIG_FILES):
        if place.exists():
            return place
    raise errors.CloudUnknown(
        'There is no clouds.yaml: not in this directory, in '
        f'{loader.CONFIG_HOME} or in {loader.UNIX_SITE_CONFIG_HOME}.',
        'Set OS_CLIENT_CONFIG_FILE to the one that you have.',
        NOTHING,
    )


def check(file: pathlib.Path, name: str) -> None:
    """Look whether a file has an entry of this name.

    :raises errors.CloudUnknown: it has not, it is not there, can't be read,
        or is something else
    """
    content = _read(file)
    clouds = content.get('clouds') if isinstance(content, dict) else None
    if not isinstance(clouds, dict) or name not in clouds:
        raise errors.CloudUnknown(
            f'There is no cloud "{name}" in {file}.',
            'Name one of clouds.yaml; OS_CLIENT_CONFIG_FILE says where that '
            'is.',
            NOTHING,
        )
    entry = clouds[name]
    auth = entry.get('auth', {}) if isinstance(entry, dict) else None
    if not isinstance(auth, dict):
        raise errors.CloudUnknown(
            f'The cloud "{name}" in {file} is no mapping with an "auth" that '
            'is one, too.',
            'Correct it, or name another one.',
            NOTHING,
        )


def _read(file: pathlib.Path) -> Any:
    try:
        # JSON, which openstacksdk takes as well, is YAML.
        return yaml.safe_load(file.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise errors.CloudUnknown(
            f"The file {file}, which has the clouds, can't be read: {why}.",
            'Correct it; OS_CLIENT_CONFIG_FILE says which one is read.',
            NOTHING,
        ) from error
