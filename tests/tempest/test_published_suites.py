"""OpenStack's own tests of the Images API, none of them changed.

``tempest.api.image`` and glance-tempest-plugin, in the versions of
requirements.txt, on a deployment that "up --profile gate" has made.
"""

import pytest
import verdict

# Both suites take some minutes, and they are run by the first test.
pytestmark = pytest.mark.timeout(3600)


def test_the_suites_pass_and_every_skip_is_explained(results):
    complaints = verdict.complaints(results, verdict.known_skips())
    assert not complaints, '\n\n'.join(complaints)
