"""Metadata definitions.

https://docs.openstack.org/api-ref/image/v2/metadefs-index.html
"""

from tempest.lib import decorators

from glance_wsgi.smoke import base


class TestMetadefs(base.SmokeTest):
    """Those that Glance ships, and one's own."""

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('82d1a3c7-e37f-4ac4-91bc-c47da280a301')
    def test_the_definitions_that_glance_ships_are_loaded(self) -> None:
        """glance-manage db_load_metadefs."""
        found = self.os_primary.namespaces_client.list_namespaces()
        names = {item['namespace'] for item in found['namespaces']}
        self.assertTrue({n for n in names if n.startswith('OS::')}, names)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('82d1a3c7-e37f-4ac4-91bc-c47da280a302')
    def test_a_namespace_with_a_property_is_made_and_removed(self) -> None:
        namespaces = self.os_admin.namespaces_client
        name = self.name()
        namespaces.create_namespace(namespace=name, visibility='public')
        self.addCleanup(
            self.send,
            'DELETE',
            f'metadefs/namespaces/{name}',
            client=self.admin,
        )
        self.os_admin.namespace_properties_client.create_namespace_property(
            name, name='colour', title='Colour', type='string'
        )
        shown = self.os_primary.namespaces_client.show_namespace(name)
        self.assertEqual({'colour'}, set(shown['properties']))
        url = f'metadefs/namespaces/{name}'
        self.expect(204, 'DELETE', url, client=self.admin)
        self.expect(404, 'GET', url)
