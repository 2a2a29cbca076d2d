"""What a web server meets when it loads the entry module."""

import subprocess
import sys

import pytest

from glance_wsgi import app
from glance_wsgi import errors

LOAD = 'import glance_wsgi.api'


def test_an_unsupported_glance_is_not_served(tmp_path, monkeypatch):
    folder = tmp_path / 'glance-34.0.0.dist-info'
    folder.mkdir()
    (folder / 'METADATA').write_text('Name: glance\nVersion: 34.0.0\n')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(errors.GlanceUnsupported, match=r'34\.0\.0'):
        app.build()


def test_a_configuration_that_is_missing_ends_the_import(tmp_path):
    result = subprocess.run(
        [sys.executable, '-c', LOAD],
        env={'OS_GLANCE_CONFIG_DIR': str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert result.returncode != 0
    assert 'Error' in result.stderr.splitlines()[-1]
