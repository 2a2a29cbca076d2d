"""Facts of the installed Glance, for tests of the names that we use."""

import importlib.util
import json
import pathlib
import subprocess
import sys
from typing import Any


def facts(code: str, timeout: float) -> Any:
    """What a process that runs `code` prints last, which is JSON.

    Glance's options are global, so all that imports it is in a process of its
    own.

    :param timeout: seconds
    """
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def source(module: str) -> str:
    """The text of a module of Glance, which is not imported for it."""
    (place,) = importlib.util.find_spec('glance').submodule_search_locations
    return pathlib.Path(place, module).read_text()
