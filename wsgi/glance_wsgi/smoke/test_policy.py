"""Who may do what: nobody, readers, members, administrators.

https://docs.openstack.org/glance/latest/admin/policies.html
"""

import base64
import json
from typing import Any

from tempest.lib import decorators

from glance_wsgi.smoke import base

UNKNOWN = 'nonsense'


class TestTokens(base.SmokeTest):
    """Requests of nobody."""

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('93e2b4d8-f480-4bd5-a2cd-d58eb391b401')
    def test_without_a_token_there_is_nothing(self) -> None:
        self.expect(401, 'GET', 'images', X_Auth_Token=None)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('93e2b4d8-f480-4bd5-a2cd-d58eb391b402')
    def test_a_token_that_keystone_does_not_know_is_refused(self) -> None:
        self.expect(401, 'GET', 'images', X_Auth_Token=UNKNOWN)


class TestRoles(base.SmokeTest):
    """Requests of readers, members and administrators."""

    def credential(self, role: str) -> dict[str, Any]:
        """An application credential of the member's with one role."""
        user = self.os_primary.credentials.user_id
        identity = self.os_primary.identity_v3
        client = identity.ApplicationCredentialsClient()
        made = client.create_application_credential(
            user, name=self.name(), roles=[{'name': role}]
        )['application_credential']
        self.addCleanup(client.delete_application_credential, user, made['id'])
        return made

    def keystone(self, path: str) -> str:
        """A URL of Keystone's."""
        url: str = self.os_primary.auth_provider.auth_client.auth_url
        return f'{url.partition("/v3")[0]}/v3/{path}'

    def reader_token(self) -> str:
        """A token of the member's with nothing but the role "reader"."""
        made = self.credential('reader')
        body = {
            'auth': {
                'identity': {
                    'methods': ['application_credential'],
                    'application_credential': {
                        'id': made['id'],
                        'secret': made['secret'],
                    },
                }
            }
        }
        answer = self.expect(
            201,
            'POST',
            self.keystone('auth/tokens'),
            json.dumps(body),
            X_Auth_Token=None,
            **base.JSON,
        )
        return answer.headers['x-subject-token']

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('93e2b4d8-f480-4bd5-a2cd-d58eb391b403')
    def test_a_reader_reads(self) -> None:
        image = self.create_image()
        answer = self.expect(
            200,
            'GET',
            f'images?name={image["name"]}',
            X_Auth_Token=self.reader_token(),
        )
        found = [item['id'] for item in answer.json()['images']]
        self.assertEqual([image['id']], found)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('93e2b4d8-f480-4bd5-a2cd-d58eb391b404')
    def test_a_reader_changes_nothing(self) -> None:
        image = self.create_image()
        token = self.reader_token()
        url = f'images/{image["id"]}'
        for method, path in (
            ('POST', 'images'),
            ('PUT', f'{url}/tags/tag'),
            ('DELETE', url),
        ):
            body = '{"visibility": "private"}' if path == 'images' else None
            answer = self.send(
                method,
                path,
                body,
                X_Auth_Token=token,
                Content_Type='application/json',
            )
            if answer.status == 201:
                made = answer.json()['id']
                self.addCleanup(self.remove_image, self.member, made)
            self.assertEqual(403, answer.status, f'{method} {path}')

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('93e2b4d8-f480-4bd5-a2cd-d58eb391b405')
    def test_a_member_does_not_make_an_image_public(self) -> None:
        image = self.create_image()
        patch = {'op': 'replace', 'path': '/visibility', 'value': 'public'}
        self.change(image, patch, status=403)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('93e2b4d8-f480-4bd5-a2cd-d58eb391b406')
    def test_a_member_does_not_delete_what_others_publish(self) -> None:
        image = self.create_image(client=self.admin, visibility='public')
        self.expect(403, 'DELETE', f'images/{image["id"]}')

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('93e2b4d8-f480-4bd5-a2cd-d58eb391b407')
    def test_an_administrator_sees_what_is_private(self) -> None:
        image = self.create_image(visibility='private')
        self.expect(200, 'GET', f'images/{image["id"]}', client=self.admin)

    @decorators.attr(type='smoke')
    @decorators.idempotent_id('93e2b4d8-f480-4bd5-a2cd-d58eb391b408')
    def test_the_authorization_header_arrives(self) -> None:
        """WSGIPassAuthorization; by Keystone's OAuth 2.0 (RFC 6749)."""
        made = self.credential('reader')
        basic = base64.b64encode(f'{made["id"]}:{made["secret"]}'.encode())
        answer = self.send(
            'POST',
            self.keystone('OS-OAUTH2/token'),
            'grant_type=client_credentials',
            X_Auth_Token=None,
            Authorization=f'Basic {basic.decode()}',
            Content_Type='application/x-www-form-urlencoded',
        )
        if answer.status == 404:
            raise self.skipException('Keystone has no OAuth 2.0 API')
        self.assertEqual(200, answer.status, answer.body)
        token = answer.json()['access_token']
        self.expect(200, 'GET', 'schemas/members', X_Auth_Token=token)
