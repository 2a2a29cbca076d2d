"""Settings of all unit tests."""

import hypothesis
import pytest

from glance_wsgi import deployment

# A busy machine is slow at times, which is no defect of the code.
hypothesis.settings.register_profile('unit', deadline=None)
# For the environments "db", which take their time.
hypothesis.settings.register_profile('many', deadline=None, max_examples=1000)
hypothesis.settings.load_profile('unit')


@pytest.fixture(autouse=True)
def nobodys_deployment(monkeypatch, tmp_path_factory):
    """What somebody has made on this machine is not found by default."""
    place = tmp_path_factory.getbasetemp() / 'state-of-nobody'
    monkeypatch.setattr(deployment, 'ROOTS_STATE_DIR', place)
    monkeypatch.setenv('XDG_STATE_HOME', str(place))
