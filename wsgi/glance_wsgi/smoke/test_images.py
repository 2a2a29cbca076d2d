"""The life of an image, and its record.

https://docs.openstack.org/api-ref/image/v2/
"""

from tempest.lib import decorators

from glance_wsgi.smoke import base


class TestImages(base.SmokeTest):
    """Records; data is in test_data."""

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('1b6a3c50-7c0e-4f5d-8a35-5d0c3b1f3c01')
    def test_an_image_is_made_shown_renamed_and_deleted(self) -> None:
        image = self.create_image()
        self.assertEqual('queued', image['status'])
        shown = self.member.show_image(image['id'])
        self.assertEqual(image['name'], shown['name'])
        name = self.name()
        self.change(image, {'op': 'replace', 'path': '/name', 'value': name})
        self.assertEqual(name, self.member.show_image(image['id'])['name'])
        self.expect(204, 'DELETE', f'images/{image["id"]}')
        self.expect(404, 'GET', f'images/{image["id"]}')

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('1b6a3c50-7c0e-4f5d-8a35-5d0c3b1f3c02')
    def test_a_protected_image_is_not_deleted(self) -> None:
        image = self.create_image(protected=True)
        try:
            self.expect(403, 'DELETE', f'images/{image["id"]}')
        finally:
            self.change(
                image, {'op': 'replace', 'path': '/protected', 'value': False}
            )

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('1b6a3c50-7c0e-4f5d-8a35-5d0c3b1f3c03')
    def test_properties_are_added_changed_and_removed(self) -> None:
        image = self.create_image(kept='as it is')
        for operation, value in (('add', 'one'), ('replace', 'two')):
            self.change(
                image, {'op': operation, 'path': '/colour', 'value': value}
            )
            shown = self.member.show_image(image['id'])
            self.assertEqual(value, shown['colour'])
        self.change(image, {'op': 'remove', 'path': '/colour'})
        shown = self.member.show_image(image['id'])
        self.assertNotIn('colour', shown)
        self.assertEqual('as it is', shown['kept'])

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('1b6a3c50-7c0e-4f5d-8a35-5d0c3b1f3c04')
    def test_what_only_glance_may_set_is_refused(self) -> None:
        image = self.create_image()
        patch = {'op': 'replace', 'path': '/status', 'value': 'active'}
        self.change(image, patch, status=403)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('1b6a3c50-7c0e-4f5d-8a35-5d0c3b1f3c05')
    def test_tags_are_added_once_and_removed(self) -> None:
        image = self.create_image()
        url = f'images/{image["id"]}/tags'
        for tag in ('one', 'two', 'two'):
            self.expect(204, 'PUT', f'{url}/{tag}')
        tags = self.member.show_image(image['id'])['tags']
        self.assertEqual(['one', 'two'], sorted(tags))
        self.expect(204, 'DELETE', f'{url}/one')
        self.expect(404, 'DELETE', f'{url}/one')
        self.assertEqual(['two'], self.member.show_image(image['id'])['tags'])

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('1b6a3c50-7c0e-4f5d-8a35-5d0c3b1f3c06')
    def test_an_administrator_takes_an_image_out_of_use_and_back(self) -> None:
        data = base.random_bytes(base.KIB)
        image = self.stored_image(data)
        url = f'images/{image["id"]}'
        actions = f'{url}/actions'
        self.expect(204, 'POST', f'{actions}/deactivate', client=self.admin)
        self.expect(403, 'GET', f'{url}/file')
        self.expect(204, 'POST', f'{actions}/reactivate', client=self.admin)
        self.assert_holds(image, data)


class TestLists(base.SmokeTest):
    """Pages, order and filters of lists."""

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('2c7b4d61-8d1f-4a6e-9b46-6e1d4c2a4d01')
    def test_pages_have_every_image_once_and_in_order(self) -> None:
        tag = self.name()
        names = [f'{tag}-{number}' for number in range(5)]
        for name in reversed(names):
            self.create_image(name=name, tags=[tag])
        url = f'images?tag={tag}&limit=2&sort=name:asc'
        found, pages = [], 0
        while True:
            page = self.expect(200, 'GET', url).json()
            found += [image['name'] for image in page['images']]
            pages += 1
            if 'next' not in page or pages > len(names):
                break
            # Relative to the root of the API.
            url = page['next'].partition('/v2/')[2]
        self.assertEqual(names, found)
        self.assertEqual(3, pages)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('2c7b4d61-8d1f-4a6e-9b46-6e1d4c2a4d02')
    def test_a_list_can_be_filtered_by_tag(self) -> None:
        tag = self.name()
        image = self.create_image(tags=[tag])
        self.create_image()
        found = self.listed(tag=tag)
        self.assertEqual([image['id']], [item['id'] for item in found])

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('2c7b4d61-8d1f-4a6e-9b46-6e1d4c2a4d03')
    def test_a_list_can_be_filtered_by_property(self) -> None:
        image = self.create_image(serial=self.name())
        self.create_image(serial=self.name())
        found = self.listed(serial=image['serial'])
        self.assertEqual([image['id']], [item['id'] for item in found])

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('2c7b4d61-8d1f-4a6e-9b46-6e1d4c2a4d04')
    def test_a_hidden_image_is_listed_only_when_asked_for(self) -> None:
        image = self.create_image(os_hidden=True)
        name = image['name']
        self.assertEqual([], self.listed(name=name))
        found = self.listed(name=name, os_hidden='true')
        self.assertEqual([image['id']], [item['id'] for item in found])
