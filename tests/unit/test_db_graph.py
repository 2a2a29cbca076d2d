"""Pending revisions: of the installed Glance, and of others to come."""

import dataclasses

import hypothesis
import pytest
from alembic import config as alembic_config
from alembic import migration
from alembic import script
from alembic.runtime import migration as runtime
from hypothesis import strategies as st
from sqlalchemy import create_engine

from glance_wsgi.db import glance
from glance_wsgi.db import graph

REVISION = """
revision = {0!r}
down_revision = {1!r}
branch_labels = {2!r}
depends_on = {3!r}

def upgrade():
    pass
"""


class Executed:
    """What Alembic itself makes of alembic_version, in a real database."""

    def __init__(self, scripts):
        self.scripts = scripts
        self.connection = create_engine('sqlite://').connect()
        self.context = migration.MigrationContext.configure(self.connection)
        self.context._ensure_version_table()

    @property
    def heads(self):
        return self.context.get_current_heads()

    def run(self, revisions):
        """Note each revision as applied, as an upgrade does."""
        heads = runtime.HeadMaintainer(self.context, set(self.heads))
        for made in revisions:
            heads.update_to_step(
                runtime.MigrationStep.upgrade_from_script(
                    self.scripts.revision_map, made
                )
            )

    def upgrade(self, target):
        """What ``alembic upgrade`` would run; nothing if it has been."""
        if target in self.known(self.heads):
            return
        found = self.scripts.iterate_revisions(
            target, self.heads or 'base', implicit_base=True
        )
        self.run(reversed(list(found)))

    def known(self, heads):
        if not heads:
            return set()
        return {
            made.revision
            for head in heads
            for made in self.scripts.iterate_revisions(
                head, 'base', implicit_base=True
            )
        }


@pytest.fixture(scope='module')
def scripts():
    return glance.scripts()


def assert_plan_ends_at_head(scripts, made, visited):
    """From wherever upgrades to `visited`, in turn, lead to."""
    executed = Executed(scripts)
    for revision in visited:
        executed.upgrade(revision)
    heads = tuple(executed.heads)
    assert made.reachable(heads)
    expand, contract = made.pending(heads)
    executed.run(expand)
    assert made.expand_head in executed.known(executed.heads)
    executed.run(contract)
    assert executed.known(executed.heads) == {
        found.revision for found in scripts.walk_revisions()
    }
    assert made.pending(tuple(executed.heads)) == ([], [])


@hypothesis.given(data=st.data())
def test_from_any_reachable_heads_the_plan_ends_at_head(scripts, data):
    names = sorted(made.revision for made in scripts.walk_revisions())
    visited = data.draw(st.lists(st.sampled_from(names), max_size=4))
    made = graph.Graph(scripts, glance.branches())
    assert_plan_ends_at_head(scripts, made, visited)


@dataclasses.dataclass
class Future:
    """A series of releases that nobody has made yet.

    :param releases: of each one, how many revisions expand and contract, and
        on which of the former the latter depend
    """

    releases: list

    def write(self, folder):
        """The files of its revisions; returns Alembic's view of them."""
        (folder / 'versions').mkdir()
        before = {'expand': 'start', 'contract': 'start'}
        self._write(folder, 'start', None, None, None)
        for number, (expands, contracts, back) in enumerate(self.releases):
            for branch, count in (
                ('expand', expands),
                ('contract', contracts),
            ):
                for index in range(1, count + 1):
                    name = f'r{number}_{branch}{index:02}'
                    first = before[branch] == 'start'
                    needs = before['expand'] if branch == 'contract' else None
                    self._write(
                        folder,
                        name,
                        before[branch],
                        branch if first else None,
                        None if needs == 'start' or back else needs,
                    )
                    before[branch] = name
        config = alembic_config.Config()
        config.set_main_option('script_location', str(folder))
        return script.ScriptDirectory.from_config(config)

    def _write(self, folder, name, *facts):
        text = REVISION.format(name, *facts)
        (folder / 'versions' / f'{name}.py').write_text(text)


releases = st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans()).map(
    list
)


@hypothesis.settings(max_examples=20)
@hypothesis.given(
    data=st.data(), made=st.builds(Future, st.lists(releases, max_size=4))
)
def test_a_glance_of_any_other_revisions_is_upgraded_to_head(
    tmp_path_factory, data, made
):
    made.releases.insert(0, [1, 1, False])  # both branches are there
    scripts = made.write(tmp_path_factory.mktemp('future'))
    names = sorted(found.revision for found in scripts.walk_revisions())
    visited = data.draw(st.lists(st.sampled_from(names), max_size=4))
    found = graph.Graph(scripts, ('expand', 'contract'))
    assert_plan_ends_at_head(scripts, found, visited)


@pytest.mark.parametrize(
    'heads',
    [
        ('liberty', 'mitaka01'),
        ('ocata_contract01', 'ocata_expand01'),
        ('queens_contract01', 'rocky_contract01'),
        ('mitaka02', 'rocky_expand01'),
        ('2024_1_contract01', '2024_1_expand01'),
    ],
)
def test_a_revision_and_one_before_it_are_not_reached_together(scripts, heads):
    assert not graph.Graph(scripts, glance.branches()).reachable(heads)


def test_one_branch_may_be_ahead_of_the_other(scripts):
    made = graph.Graph(scripts, glance.branches())
    assert made.reachable(('ocata_contract01', 'rocky_expand02'))


@pytest.mark.parametrize('name', ['2099_1_expand01', 'ocata', 'contract', ''])
def test_only_whole_names_of_revisions_are_known(scripts, name):
    made = graph.Graph(scripts, glance.branches())
    assert made.unknown([name, 'liberty']) == [name]
