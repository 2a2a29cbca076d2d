"""What drivers of databases say, as errors that tell a person what to do."""

import sqlalchemy
from sqlalchemy import exc

from glance_wsgi import errors

# MariaDB's own error numbers (its manual: "Server error codes").
_REFUSALS = {
    1044: 'the user may not use this database',
    1045: 'user or password wrong',
    1049: 'no such database',
    1142: 'the user may not read its tables',
    1143: 'the user may not read its tables',
    1698: 'the user may not log in with a password',
}

_LOCKED = 1205


def explain(
    url: sqlalchemy.URL, error: exc.DBAPIError
) -> errors.GlanceWSGIError:
    """The error that a driver's answer stands for; never shows a password.

    :param url: the database that was asked
    """
    shown = url.render_as_string(hide_password=True)
    code = error.orig.args[0] if error.orig and error.orig.args else None
    if code in _REFUSALS:
        return errors.DatabaseRefused(
            f'{shown} refuses us: {_REFUSALS[code]}.',
            'Make the database and a user with all rights on it, or mend the '
            'URL.',
        )
    if code == _LOCKED or 'database is locked' in str(error.orig):
        return errors.DatabaseBusy(
            f'{shown} is locked by another program.',
            'Wait until that one has ended, then try again.',
        )
    if url.get_backend_name() == 'sqlite':
        return errors.DatabaseRefused(
            f"{url.database} can't be used as an SQLite file: {error.orig}.",
            'Give another file in the URL, or move this one away.',
        )
    return errors.DatabaseUnreachable(
        f'No database answers at {shown}: {error.orig}.',
        'Start it, or mend the URL.',
    )
