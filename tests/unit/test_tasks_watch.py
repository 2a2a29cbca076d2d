"""Who is taken for dead, and what the log says of it."""

import pytest

from glance_wsgi.tasks import watch
from glance_wsgi.tasks.jobs import Job
from glance_wsgi.tasks.owners import Owner

ME = Owner('node-1', 'here', 1, 100)
OTHER = Owner('node-2', 'there', 1, 100)


class Jobs:
    """One job of another process."""

    def __init__(self, taken):
        self._taken = taken

    def all(self, *where):
        return [Job('its', {}, owner=str(OTHER), node='node-2')]

    def take_over(self, seen):
        return self._taken


@pytest.mark.parametrize('taken', ['new', None])
def test_a_job_that_was_not_taken_over_is_not_said_to_go_on(caplog, taken):
    """It has given a sign of life, or somebody else was faster."""
    looking = watch.Watch(Jobs(taken), ME, patience=0)
    assert looking.look() == (taken is not None)
    assert ('goes on as' in caplog.text) == (taken is not None)
