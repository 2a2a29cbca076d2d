"""What is in the files of a machine that "install" may change."""

import os

PLACES = (
    '/etc/apache2',
    '/etc/glance-wsgi',
    '/etc/group',
    '/etc/passwd',
    '/etc/systemd/system',
    '/etc/tmpfiles.d',
    '/var/lib/apache2',
    '/var/lib/glance-wsgi/etc',
)


def of(machine, times: bool = False) -> dict:
    """Every file, link and directory: its bytes, rights and owner.

    :param times: when it was changed, too
    """
    found = {}
    for top in PLACES:
        place = machine.file(top)
        for path in (place, *place.rglob('*')):
            if os.path.lexists(path):
                name = f'{top}/{path.relative_to(place)}'
                found[name] = _facts(path, times)
    return found


def _facts(path, times: bool) -> tuple:
    seen = path.lstat()
    contents: object = None
    if path.is_symlink():
        contents = os.readlink(path)
    elif path.is_file():
        contents = path.read_bytes()
    when = seen.st_mtime_ns if times and contents is not None else None
    return seen.st_mode, seen.st_uid, seen.st_gid, when, contents


def differences(before: dict, after: dict) -> list[str]:
    """The names of what is not the same."""
    return sorted(
        name
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    )
