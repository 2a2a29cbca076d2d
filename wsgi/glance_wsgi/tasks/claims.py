"""A claim: the only place where a job is taken."""

from collections.abc import Callable

from glance_wsgi.tasks.jobs import Board
from glance_wsgi.tasks.jobs import Job
from glance_wsgi.tasks.owners import Owner


def claim(board: Board, me: Owner, stopped: Callable[[], bool]) -> Job | None:
    """Take the next job, unless this node has been told to stop.

    Whoever makes `stopped` true, and then sees that nobody here owns a job,
    knows that none will begin here: a job that is taken later than that is
    given back before anything else is done with it.

    :returns: the job, which is mine; None if there is none to take
    :raises Exception: whatever `board` raises; a job may then be mine without
        anybody knowing, so ask for those that are
    """
    if stopped():
        return None
    for task_id in board.candidates(me):
        if not board.take(task_id, me):
            continue
        if stopped():
            board.give_back(task_id, me)
            return None
        return board.get(task_id)
    return None
