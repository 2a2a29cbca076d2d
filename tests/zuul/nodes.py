"""This machine as the node of a job, and its playbooks run by Ansible.

As Zuul runs them, but that roles of devstack and Tempest are stubs, that note
that they were called, and that the project's directory is the test's choice.
"""

import json
import os
import pathlib
import subprocess
import sys

TOP = pathlib.Path(__file__).parents[2]
PLAYBOOKS = TOP / 'playbooks' / 'zuul'
BIN = pathlib.Path(sys.executable).parent
ROLES = (
    'orchestrate-devstack',
    'setup-tempest-run-dir',
    'setup-tempest-data-dir',
    'acl-devstack-files',
    'run-tempest',
)


def obstacle() -> str | None:
    """Why no playbook can be run here, and what to do; None if one can."""
    if not (BIN / 'ansible-playbook').exists():
        return 'no ansible-playbook here: tools/test.sh zuul'
    if os.geteuid():
        return 'not root: sudo tools/test.sh zuul'
    return None


class Node:
    """This machine as a node of a job.

    :param place: where the project and the output are
    """

    def __init__(self, place: pathlib.Path) -> None:
        self.place = place
        self.source = place / 'project'
        self.output = place / 'zuul-output' / 'logs' / 'glance-wsgi'
        self.notes = place / 'notes'
        self.notes.touch()
        for name in ROLES:
            tasks = place / 'roles' / name / 'tasks'
            tasks.mkdir(parents=True)
            self._note(tasks / 'main.yaml', name)

    def _note(self, file: pathlib.Path, name: str) -> None:
        task = {
            'name': name,
            'ansible.builtin.shell': {'cmd': f'echo {name} >>{self.notes}'},
        }
        file.write_text(json.dumps([task]))

    def program(self, path: str, script: str) -> None:
        """A program of the project's, or of devstack's."""
        file = self.place / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'#!/bin/sh\n{script}\n')
        file.chmod(0o755)

    def run(self, playbook: str, **variables) -> subprocess.CompletedProcess:
        """Run a playbook with some variables of its job."""
        told = {
            'zuul': {'project': {'src_dir': str(self.source)}},
            'ansible_user_dir': str(self.place),
            'ansible_python_interpreter': sys.executable,
            'program': str(self.place / 'bin' / 'glance-wsgi'),
            'published': [str(self.place / 'published')],
            **variables,
        }
        return subprocess.run(
            [
                BIN / 'ansible-playbook',
                *('--inventory', 'tempest,', '--connection', 'local'),
                *('--extra-vars', json.dumps(told)),
                PLAYBOOKS / f'{playbook}.yaml',
            ],
            env={
                **os.environ,
                'ANSIBLE_ROLES_PATH': str(self.place / 'roles'),
                'ANSIBLE_NOCOLOR': 'yes',
                'LC_ALL': 'C.UTF-8',
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def noted(self) -> list[str]:
        """What was called, in that order."""
        return self.notes.read_text().splitlines()
