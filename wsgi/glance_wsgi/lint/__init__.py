"""Finds what is known to go wrong in the configuration of a Glance's server.

It reads files that anybody has written, and the facts of this machine that
they have to fit to. `findings.Rule` is one thing that it looks for; each
module of rules has a table of them.
"""

import pathlib
from collections.abc import Iterable

from glance_wsgi import applications
from glance_wsgi import errors
from glance_wsgi import hosted
from glance_wsgi import servers
from glance_wsgi import systemd as services
from glance_wsgi.deployment import Deployment
from glance_wsgi.lint import apache
from glance_wsgi.lint import apache_unit
from glance_wsgi.lint import glance
from glance_wsgi.lint import handoff
from glance_wsgi.lint import host
from glance_wsgi.lint import ladder
from glance_wsgi.lint import mod_wsgi
from glance_wsgi.lint import reading
from glance_wsgi.lint import rights
from glance_wsgi.lint import systemd
from glance_wsgi.lint import uwsgi
from glance_wsgi.lint.context import Context
from glance_wsgi.lint.documents import Document
from glance_wsgi.lint.findings import Finding
from glance_wsgi.lint.view import View

RULES = (
    *uwsgi.RULES,
    *apache.RULES,
    *mod_wsgi.RULES,
    *glance.RULES,
    *systemd.RULES,
    *apache_unit.RULES,
    *ladder.RULES,
    *rights.RULES,
    *handoff.RULES,
    *host.RULES,
)


def lint(files: Iterable[pathlib.Path], context: Context) -> list[Finding]:
    """What is wrong with some files, the worst first.

    :param context: the facts of the machine that they are for
    :raises errors.FileNotChecked: one can't be read, or is nothing we know
    """
    seen = View(_whole(reading.read(path) for path in files), context)
    found = {
        finding: None
        for document in seen.documents
        for rule in RULES
        for finding in rule.findings(document, seen)
    }
    return sorted(found, key=lambda finding: -finding.severity)


def _whole(documents: Iterable[Document]) -> tuple[Document, ...]:
    """Without the files that another one includes: they are a part of it."""
    read = tuple(documents)
    parts = {path for one in read for path in rights.files(one) - {one.path}}
    return tuple(one for one in read if one.path not in parts)


def targets(deployment: Deployment) -> list[pathlib.Path]:
    """The files of a deployment that are checked.

    :raises errors.StateMissing: not all of them have been written
    """
    if not applications.can_be_made(deployment):
        raise _incomplete(deployment, deployment.state.secrets)
    wanted = applications.of(deployment)
    own = [file.path for one in wanted for file in one.files]
    for path in own:
        if not path.exists():
            raise _incomplete(deployment, path)
    server = servers.load(deployment)
    paths = [file.path for file in server.files(wanted)]
    # A unit of the distribution has ours beside it, and in it.
    units = filter(None, map(services.fragment, _services(server)))
    there = [path for path in dict.fromkeys([*units, *paths]) if path.exists()]
    found = (*there, *own, *hosted.files(deployment))
    # There are others, such as Paste's, that no rule is about.
    return [path for path in found if reading.kind(path)]


def _services(server: servers.Server) -> list[str]:
    return [part.service for part in server.parts if part.service]


def _incomplete(
    deployment: Deployment, missing: pathlib.Path
) -> errors.StateMissing:
    system = deployment.places.system
    what = f'The deployment in {deployment.state.path}'
    return errors.StateMissing(
        f'{"What is installed" if system else what} is not complete: '
        f'{missing} is missing.',
        f'Run "glance-wsgi {"install" if system else "up"}" first.',
    )
