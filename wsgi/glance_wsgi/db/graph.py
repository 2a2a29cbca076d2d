"""Which revisions are still to be applied, and in which order.

Alembic is asked; the order of the phases is all that is Glance's. Nothing
here knows a release.
"""

from collections.abc import Iterable

from alembic import script


class Graph:
    """The revisions of the two branches, expand and contract.

    :param scripts: Alembic's view of them
    :param branches: the labels of the branch that is to be applied first, and
        of the other
    """

    def __init__(
        self, scripts: script.ScriptDirectory, branches: tuple[str, str]
    ) -> None:
        self._scripts = scripts
        # As Glance does. It fails where a branch has two heads.
        head = scripts.revision_map.get_current_head
        self.expand_head, self.contract_head = map(head, branches)

    def unknown(self, heads: Iterable[str]) -> list[str]:
        """Those of `heads` that are no revisions of this graph."""
        # Not by looking each up: Alembic also finds a revision by its
        # beginning, or by a branch's label.
        known = {made.revision for made in self._scripts.walk_revisions()}
        return sorted(set(heads) - known)

    def applied(self, heads: Iterable[str]) -> set[str]:
        """`heads` and all that has to be applied before them."""
        found: set[str] = set()
        waiting = list(heads)
        while waiting:
            revision = waiting.pop()
            if revision not in found:
                found.add(revision)
                waiting += self._before(revision)
        return found

    def _before(self, revision: str) -> list[str]:
        made = self._scripts.get_revision(revision)
        return [*_tuple(made.down_revision), *_tuple(made.dependencies)]

    def heads(self, applied: set[str]) -> tuple[str, ...]:
        """What is in alembic_version when these revisions are applied."""
        followed = {
            before for revision in applied for before in self._before(revision)
        }
        return tuple(sorted(applied - followed))

    def reachable(self, heads: tuple[str, ...]) -> bool:
        """Whether Alembic can have left these in alembic_version."""
        return self.heads(self.applied(heads)) == tuple(sorted(heads))

    def pending(
        self, heads: tuple[str, ...]
    ) -> tuple[list[script.Script], list[script.Script]]:
        """What is to be applied first, to expand, and then, to contract.

        :param heads: where the database is; empty if it is nowhere
        """
        expand = self._between(heads, self.expand_head)
        done = self.applied(heads) | {made.revision for made in expand}
        return expand, self._between(self.heads(done), self.contract_head)

    def _between(
        self, heads: tuple[str, ...], target: str | None
    ) -> list[script.Script]:
        if target is None or target in self.applied(heads):
            return []
        # The same question as that of `alembic upgrade`.
        found = self._scripts.iterate_revisions(
            target, heads or 'base', implicit_base=True
        )
        return list(reversed(list(found)))


def _tuple(revisions: str | tuple[str, ...] | None) -> tuple[str, ...]:
    if revisions is None:
        return ()
    return (revisions,) if isinstance(revisions, str) else tuple(revisions)
