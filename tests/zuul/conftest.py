"""Fixtures: a node."""

import nodes
import pytest


@pytest.fixture
def node(tmp_path):
    """This machine, with a directory of the test's own."""
    if why := nodes.obstacle():
        pytest.skip(why)
    return nodes.Node(tmp_path)
