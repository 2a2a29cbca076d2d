"""Uploads and downloads, compared by digest.

Guards against what servers do to bodies: limits that nobody chose, chunks
that are too large, clients that are too slow.
"""

import hashlib

from tempest.lib import decorators

from glance_wsgi.smoke import base
from glance_wsgi.smoke.base import KIB
from glance_wsgi.smoke.base import MIB

STALL = 6.0
"""Seconds; uWSGI's own patience is 4."""


class TestUploads(base.SmokeTest):
    """What is sent comes back."""

    def upload_in_chunks(self, data: bytes, size: int) -> None:
        image = self.create_image()
        self.expect(
            204,
            'PUT',
            f'images/{image["id"]}/file',
            base.frames(data, size),
            chunked=True,
            **base.OCTETS,
        )
        self.assert_holds(image, data)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('3d8c5e72-9e2a-4b7f-8c57-7f2e5d3b5e01')
    def test_a_small_image_comes_back(self) -> None:
        data = base.random_bytes(1000)
        self.assert_holds(self.stored_image(data), data)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('3d8c5e72-9e2a-4b7f-8c57-7f2e5d3b5e08')
    def test_an_empty_image_comes_back(self) -> None:
        image = self.stored_image(b'')
        self.assertEqual(0, self.member.show_image(image['id'])['size'])
        self.assert_holds(image, b'')

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('3d8c5e72-9e2a-4b7f-8c57-7f2e5d3b5e09')
    def test_images_about_as_large_as_a_buffer_come_back(self) -> None:
        """64 KiB: what Glance reads and writes at once."""
        for size in (64 * KIB - 1, 64 * KIB, 64 * KIB + 1):
            data = base.random_bytes(size)
            self.assert_holds(self.stored_image(data), data)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('3d8c5e72-9e2a-4b7f-8c57-7f2e5d3b5e02')
    def test_an_image_of_many_mebibytes_comes_back(self) -> None:
        """LimitRequestBody, or a proxy's limit."""
        data = base.random_bytes(16 * MIB + 1)
        self.assert_holds(self.stored_image(data), data)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('3d8c5e72-9e2a-4b7f-8c57-7f2e5d3b5e03')
    def test_an_upload_in_small_chunks_comes_back(self) -> None:
        """WSGIChunkedRequest, wsgi-manual-chunked-input."""
        self.upload_in_chunks(base.random_bytes(300 * KIB + 1), 64 * KIB)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('3d8c5e72-9e2a-4b7f-8c57-7f2e5d3b5e04')
    def test_an_upload_in_chunks_of_two_mebibytes_comes_back(self) -> None:
        """chunked-input-limit."""
        self.upload_in_chunks(base.random_bytes(4 * MIB + 1), 2 * MIB)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('3d8c5e72-9e2a-4b7f-8c57-7f2e5d3b5e05')
    def test_an_upload_that_stalls_for_seconds_comes_back(self) -> None:
        """socket-timeout, mod_reqtimeout."""
        data = base.random_bytes(4 * KIB)
        image = self.create_image()
        self.expect(
            204,
            'PUT',
            f'images/{image["id"]}/file',
            base.frames(data, KIB, STALL),
            Content_Length=str(len(data)),
            **base.OCTETS,
        )
        self.assert_holds(image, data)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('3d8c5e72-9e2a-4b7f-8c57-7f2e5d3b5e06')
    def test_a_second_upload_is_refused(self) -> None:
        data = base.random_bytes(KIB)
        image = self.stored_image(data)
        self.expect(
            409,
            'PUT',
            f'images/{image["id"]}/file',
            b'other data',
            **base.OCTETS,
        )
        self.assert_holds(image, data)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('3d8c5e72-9e2a-4b7f-8c57-7f2e5d3b5e07')
    def test_size_and_hash_of_the_data_are_kept(self) -> None:
        data = base.random_bytes(MIB + 1)
        found = self.member.show_image(self.stored_image(data)['id'])
        self.assertEqual(len(data), found['size'])
        digest = hashlib.new(found['os_hash_algo'], data).hexdigest()
        self.assertEqual(digest, found['os_hash_value'])


class TestRanges(base.SmokeTest):
    """Parts of an image (RFC 9110, section 14)."""

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('4e9d6f83-af3b-4c80-9d68-803f6e4c6f01')
    def test_a_range_is_just_that_part(self) -> None:
        data = base.random_bytes(3 * MIB)
        image = self.stored_image(data)
        answer = self.expect(
            206,
            'GET',
            f'images/{image["id"]}/file',
            Range='bytes=65000-2000000',
        )
        self.assertEqual(
            f'bytes 65000-2000000/{len(data)}', answer.headers['content-range']
        )
        self.assertEqual(
            base.sha256(data[65000:2000001]), base.sha256(answer.body)
        )

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('4e9d6f83-af3b-4c80-9d68-803f6e4c6f02')
    def test_a_range_behind_the_end_is_refused(self) -> None:
        image = self.stored_image(base.random_bytes(KIB))
        self.expect(
            416, 'GET', f'images/{image["id"]}/file', Range='bytes=1024-'
        )
