"""Imports: each method, what fails, and the tasks that tell of them.

Each has a size of its own, by which a fault can be made for just one.
https://docs.openstack.org/api-ref/image/v2/#interoperable-image-import
"""

import json
from typing import Any
from urllib import parse

from tempest import config
from tempest.lib import decorators

from glance_wsgi.smoke import base
from glance_wsgi.smoke.base import KIB

CONF = config.CONF


class TestImports(base.SmokeTest):
    """An import of each method that is enabled."""

    def stage(self, image: Any, data: bytes) -> None:
        """Upload to the staging area."""
        self.expect(
            204,
            'PUT',
            f'images/{image["id"]}/stage',
            data,
            **base.OCTETS,
        )

    def import_directly(self, data: bytes) -> Any:
        """An image whose import by glance-direct has begun."""
        self.method('glance-direct')
        image = self.create_image()
        self.stage(image, data)
        self.assertEqual(
            'uploading', self.member.show_image(image['id'])['status']
        )
        self.member.image_import(image['id'], all_stores=False)
        return image

    def task_of(self, image: Any) -> Any:
        """The one task that an image has, as soon as it has it."""

        def look() -> Any:
            return self.member.show_image_tasks(image['id'])['tasks']

        (task,) = self.until(look, f'{image["id"]} has a task')
        return task

    def web_source(self) -> str:
        """What to import by web-download."""
        self.method('web-download')
        given: str | None = CONF.glance_wsgi.web_download_uri
        return given or f'{self.root}/healthcheck'

    def import_from(self, image: Any, uri: str) -> None:
        """Begin an import by web-download; skip where it is not allowed."""
        body = {'method': {'name': 'web-download', 'uri': uri}}
        answer = self.send(
            'POST',
            f'images/{image["id"]}/import',
            json.dumps(body),
            **base.JSON,
        )
        own = CONF.glance_wsgi.web_download_uri is None
        if answer.status == 400 and b'filtering' in answer.body and own:
            raise self.skipException(
                f'import_filtering_opts does not allow {uri}: name a file '
                'that it does allow as web_download_uri'
            )
        self.assertEqual(202, answer.status, answer.body)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('5fae7094-b04c-4d91-8e79-914a7f5d7001')
    def test_glance_direct_imports_what_was_staged(self) -> None:
        data = base.random_bytes(65 * KIB)
        image = self.import_directly(data)
        self.wait_for(image, 'active')
        self.assert_holds(image, data)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('5fae7094-b04c-4d91-8e79-914a7f5d7002')
    def test_web_download_fetches_the_file(self) -> None:
        uri = self.web_source()
        data = self.expect(200, 'GET', uri, X_Auth_Token=None).body
        image = self.create_image()
        self.import_from(image, uri)
        self.wait_for(image, 'active')
        self.assert_holds(image, data)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('5fae7094-b04c-4d91-8e79-914a7f5d7003')
    def test_a_web_download_of_what_is_not_there_leaves_the_image_queued(
        self,
    ) -> None:
        image = self.create_image()
        # Beside the file: Glance's healthcheck answers for all below it.
        nothing = parse.urljoin(self.web_source(), 'there/is/nothing')
        self.import_from(image, nothing)

        def look() -> bool:
            found = self.member.show_image(image['id'])
            self.assertNotEqual('active', found['status'])
            tasks = self.member.show_image_tasks(image['id'])['tasks']
            ended = [t for t in tasks if t['status'] == 'failure']
            return found['status'] == 'queued' and bool(ended)

        self.until(look, f'the import of {image["id"]} has failed')

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('5fae7094-b04c-4d91-8e79-914a7f5d7004')
    def test_glance_download_copies_an_image_of_the_region(self) -> None:
        self.method('glance-download')
        data = base.random_bytes(66 * KIB)
        source = self.stored_image(data)
        image = self.create_image()
        self.member.image_import(
            image['id'],
            method='glance-download',
            all_stores=False,
            import_params={
                'glance_image_id': source['id'],
                'glance_region': self.member.region,
            },
        )
        self.wait_for(image, 'active')
        self.assert_holds(image, data)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('5fae7094-b04c-4d91-8e79-914a7f5d7005')
    def test_an_import_needs_staged_data(self) -> None:
        self.method('glance-direct')
        image = self.create_image()
        self.expect(
            409,
            'POST',
            f'images/{image["id"]}/import',
            '{"method": {"name": "glance-direct"}}',
            **base.JSON,
        )

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('5fae7094-b04c-4d91-8e79-914a7f5d7006')
    def test_the_task_of_an_import_is_told_to_its_owner(self) -> None:
        image = self.import_directly(base.random_bytes(KIB))
        task = self.task_of(image)
        self.assertEqual('api_image_import', task['type'])
        self.assertEqual(image['id'], task['image_id'])
        self.wait_for(image, 'active')

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('5fae7094-b04c-4d91-8e79-914a7f5d7008')
    def test_an_administrator_looks_up_the_task_of_an_import(self) -> None:
        image = self.import_directly(base.random_bytes(KIB))
        known = self.task_of(image)
        self.wait_for(image, 'active')

        def look() -> Any:
            url = f'tasks/{known["id"]}'
            found = self.expect(200, 'GET', url, client=self.admin).json()
            return found['status'] != 'processing' and found

        task = self.until(look, f'task {known["id"]} has ended')
        self.assertEqual('success', task['status'], task['message'])
        self.assertEqual('api_image_import', task['type'])
        self.assertEqual(image['id'], task['input']['image_id'])
        self.assertEqual(image['owner'], task['owner'])

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('5fae7094-b04c-4d91-8e79-914a7f5d7007')
    def test_an_administrator_lists_tasks(self) -> None:
        image = self.import_directly(base.random_bytes(KIB))
        known = self.task_of(image)
        url = 'tasks?limit=20'  # the latest
        page = self.expect(200, 'GET', url, client=self.admin).json()
        self.assertIn(known['id'], [task['id'] for task in page['tasks']])
        self.wait_for(image, 'active')
