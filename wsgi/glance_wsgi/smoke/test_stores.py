"""More than one store.

https://docs.openstack.org/api-ref/image/v2/#stores
"""

from typing import Any

from tempest.lib import decorators

from glance_wsgi.smoke import base
from glance_wsgi.smoke.base import KIB


class TestStores(base.SmokeTest):
    """Where the data of an image is kept."""

    def two(self) -> tuple[str, str]:
        """The default store and another one."""
        stores = self.stores()
        default = next(
            (item for item in stores if item.get('default')), stores[0]
        )
        others = [item for item in stores if item != default]
        if not others:
            raise self.skipException('there is one store only')
        return default['id'], others[0]['id']

    def kept_in(self, image: Any) -> set[str]:
        """The stores that have the data."""
        found = self.member.show_image(image['id'])
        return set(filter(None, found.get('stores', '').split(',')))

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('60bf81a5-c15d-4ea2-9f8a-a25b806e8101')
    def test_the_stores_are_listed_and_one_is_the_default(self) -> None:
        stores = self.stores()
        default = [item for item in stores if item.get('default')]
        self.assertEqual(1, len(default), stores)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('60bf81a5-c15d-4ea2-9f8a-a25b806e8102')
    def test_an_upload_goes_to_the_store_that_was_asked_for(self) -> None:
        _, other = self.two()
        data = base.random_bytes(KIB)
        image = self.create_image()
        self.upload(image, data, X_Image_Meta_Store=other)
        self.assertEqual({other}, self.kept_in(image))
        self.assert_holds(image, data)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('60bf81a5-c15d-4ea2-9f8a-a25b806e8103')
    def test_a_copy_is_made_in_another_store_and_removed_again(self) -> None:
        default, other = self.two()
        self.method('copy-image')
        data = base.random_bytes(67 * KIB)
        image = self.stored_image(data)
        # A matter of administrators, unless a policy says otherwise.
        self.admin.image_import(
            image['id'], method='copy-image', stores=[other]
        )

        def look() -> bool:
            # Until then it may write the record of the image once more.
            (task,) = self.admin.show_image_tasks(image['id'])['tasks']
            self.assertNotEqual('failure', task['status'], task['message'])
            return task['status'] == 'success'

        self.until(look, f'image {image["id"]} has been copied')
        self.wait_for(image, 'active')
        self.assertEqual({default, other}, self.kept_in(image))
        self.expect(
            204,
            'DELETE',
            f'stores/{default}/{image["id"]}',
            client=self.admin,
        )
        self.assertEqual({other}, self.kept_in(image))
        self.assert_holds(image, data)
