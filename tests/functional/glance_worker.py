"""Runs Glance's own Alembic revisions on one database, one at a time.

    python glance_worker.py CONFIG_FILE

Each line of the standard input names a revision to upgrade to. For each, a
line of JSON on the standard output lists the revisions that Alembic has run.
``upgrades.Database`` starts it: Glance knows one database in each process.
"""

import json
import logging
import sys

from alembic import command
from glance.cmd import manage  # for the options that it registers
from glance.db.sqlalchemy import alembic_migrations


class Ran(logging.Handler):
    """Collects the revisions that Alembic says that it runs."""

    def emit(self, record):
        if record.msg == 'Running %s':
            (step,) = record.args
            self.revisions.append(step.revision.revision)


def main():
    answers, sys.stdout = sys.stdout, sys.stderr
    manage.CONF(['--config-file', sys.argv[1]], project='glance')
    ran = Ran()
    log = logging.getLogger('alembic.runtime.migration')
    log.setLevel(logging.INFO)
    log.addHandler(ran)
    for line in sys.stdin:
        ran.revisions = []
        config = alembic_migrations.get_alembic_config()
        command.upgrade(config, line.strip())
        print(json.dumps(ran.revisions), file=answers, flush=True)


if __name__ == '__main__':
    main()
