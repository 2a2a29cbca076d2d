"""What the lint says: findings, and the rules that find them."""

import dataclasses
import enum
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from glance_wsgi import errors
from glance_wsgi.lint import documents
from glance_wsgi.lint import view

Hit = tuple[documents.Place, dict[str, Any]]
"""Where a rule found something, and the facts that its text wants."""

Check = Callable[[Any, view.View], Iterable[Hit]]
"""Looks at one document, and at the others where they matter to it."""


class Severity(enum.IntEnum):
    """How bad it is.

    INFO: worth knowing. WARNING: works until the day that it does not.
    ERROR: something that people do every day fails, or data or a secret is
    lost.
    """

    INFO = 0
    WARNING = 1
    ERROR = 2

    def __str__(self) -> str:
        return self.name.lower()


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    :param rule: the stable name of the rule that found it
    :param where: FILE:LINE, or the file alone where something is missing
    :param why: what happens because of it, with the source of that knowledge
    :param action: what to write or do instead
    """

    rule: str
    severity: Severity
    where: str
    what: str
    why: str
    action: str


@dataclasses.dataclass(frozen=True)
class Rule:
    """How one thing is found, and what is said about it.

    :param kinds: the documents that `check` is called with
    :param what: a text with a placeholder for each fact of `check`
    """

    id: str
    severity: Severity
    kinds: tuple[documents.Kind, ...]
    check: Check
    what: str
    why: str
    action: str

    def findings(
        self, document: documents.Document, seen: view.View
    ) -> Iterator[Finding]:
        """What this rule finds in one document."""
        if document.kind not in self.kinds:
            return
        for place, facts in self.check(document, seen):
            yield Finding(
                rule=self.id,
                severity=self.severity,
                where=str(place),
                what=self.what.format(**facts),
                why=self.why,
                action=self.action.format(**facts),
            )


def exit_code(findings: Iterable[Finding]) -> errors.Exit:
    """The exit code that the worst of the findings asks for."""
    worst = max((item.severity for item in findings), default=Severity.INFO)
    return {
        Severity.INFO: errors.Exit.OK,
        Severity.WARNING: errors.Exit.CHECK_WARNINGS,
        Severity.ERROR: errors.Exit.CHECK_ERRORS,
    }[worst]


def top(path: pathlib.Path) -> documents.Place:
    """The place of what is missing from a file."""
    return documents.Place(path, 0)
