"""Discovery: what a client reads before it does anything.

https://docs.openstack.org/api-ref/image/versions/
"""

from tempest import config
from tempest.lib import decorators

from glance_wsgi.smoke import base

CONF = config.CONF


class TestVersions(base.SmokeTest):
    """What is under the root, which needs no token."""

    def ids(self, answer: base.Answer) -> list[str]:
        """The versions that an answer has, by their names."""
        return [version['id'] for version in answer.json()['versions']]

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('0f3f7a44-2a8e-4d5b-9f0c-1f1e7f7f2b01')
    def test_the_versions_are_listed_and_one_is_current(self) -> None:
        answer = self.expect(
            200, 'GET', f'{self.root}/versions', X_Auth_Token=None
        )
        versions = answer.json()['versions']
        current = [v for v in versions if v['status'] == 'CURRENT']
        self.assertEqual(1, len(current), versions)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('0f3f7a44-2a8e-4d5b-9f0c-1f1e7f7f2b02')
    def test_the_links_of_the_versions_lead_back_here(self) -> None:
        """A wrong public_endpoint, or a path prefix that it does not know."""
        if CONF.glance_wsgi.endpoint:
            raise self.skipException(
                'clients come to another endpoint than the one that was given'
            )
        answer = self.send('GET', f'{self.root}/versions', X_Auth_Token=None)
        links = {
            link['href'].rstrip('/')
            for version in answer.json()['versions']
            for link in version['links']
        }
        self.assertEqual({f'{self.root}/v2'}, links)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('0f3f7a44-2a8e-4d5b-9f0c-1f1e7f7f2b05')
    def test_clients_find_the_versions_without_knowing_where(self) -> None:
        """By the root, as keystoneauth does: 300 Multiple Choices."""
        known = self.send('GET', f'{self.root}/versions', X_Auth_Token=None)
        found = self.expect(300, 'GET', f'{self.root}/', X_Auth_Token=None)
        self.assertEqual(self.ids(known), self.ids(found))

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('0f3f7a44-2a8e-4d5b-9f0c-1f1e7f7f2b03')
    def test_the_healthcheck_says_that_all_is_well(self) -> None:
        answer = self.expect(
            200, 'GET', f'{self.root}/healthcheck', X_Auth_Token=None
        )
        self.assertTrue(answer.body)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('0f3f7a44-2a8e-4d5b-9f0c-1f1e7f7f2b04')
    def test_the_schema_of_an_image_is_there(self) -> None:
        schema = self.expect(200, 'GET', 'schemas/image').json()
        self.assertEqual('image', schema['name'])
        self.assertLessEqual({'id', 'status'}, set(schema['properties']))
