"""Who sees an image that is not theirs.

The administrator's project has the image; the member's is another one.
https://docs.openstack.org/api-ref/image/v2/#sharing
"""

from typing import Any

from tempest.lib import decorators

from glance_wsgi.smoke import base


class TestSharing(base.SmokeTest):
    """Members and visibility."""

    def setUp(self) -> None:
        super().setUp()
        self.project = self.os_primary.credentials.project_id
        if self.project == self.os_admin.credentials.project_id:
            raise self.skipException(
                'member and administrator have the same project'
            )

    def of_admin(self, **record: Any) -> Any:
        """An image of the administrator's."""
        return self.create_image(client=self.admin, **record)

    def seen(self, image: Any, **query: Any) -> bool:
        """Whether the member's list has the image."""
        found = self.listed(name=image['name'], **query)
        return image['id'] in {item['id'] for item in found}

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('71c092b6-d26e-4fb3-80ab-b36c917f9201')
    def test_a_private_image_is_nobody_elses(self) -> None:
        image = self.of_admin(visibility='private')
        self.expect(404, 'GET', f'images/{image["id"]}')
        self.assertFalse(self.seen(image))

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('71c092b6-d26e-4fb3-80ab-b36c917f9202')
    def test_a_shared_image_is_seen_by_its_members(self) -> None:
        image = self.of_admin(visibility='shared')
        url = f'images/{image["id"]}'
        self.expect(404, 'GET', url)
        members = self.os_admin.image_member_client_v2
        members.create_image_member(image['id'], member=self.project)
        self.expect(200, 'GET', url)
        members.delete_image_member(image['id'], self.project)
        self.expect(404, 'GET', url)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('71c092b6-d26e-4fb3-80ab-b36c917f9203')
    def test_a_shared_image_is_listed_once_it_is_accepted(self) -> None:
        image = self.of_admin(visibility='shared')
        self.os_admin.image_member_client_v2.create_image_member(
            image['id'], member=self.project
        )
        self.assertFalse(self.seen(image))
        self.os_primary.image_member_client_v2.update_image_member(
            image['id'], self.project, status='accepted'
        )
        self.assertTrue(self.seen(image))

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('71c092b6-d26e-4fb3-80ab-b36c917f9204')
    def test_a_community_image_is_listed_only_when_asked_for(self) -> None:
        image = self.of_admin(visibility='community')
        self.expect(200, 'GET', f'images/{image["id"]}')
        self.assertFalse(self.seen(image))
        self.assertTrue(self.seen(image, visibility='community'))

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('71c092b6-d26e-4fb3-80ab-b36c917f9205')
    def test_a_public_image_is_listed_for_everybody(self) -> None:
        image = self.of_admin(visibility='public')
        self.assertTrue(self.seen(image))
