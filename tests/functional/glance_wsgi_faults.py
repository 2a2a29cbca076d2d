"""What can be made wrong in a running Glance, and the test that says so.

Most of it by a Paste filter around all of Glance. Which faults it makes is in
a file that is read for each request: nothing is started anew.
"""

import dataclasses
import io
import json
import pathlib
import re
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass
class Exchange:
    """A request, and the answer of Glance to it as far as it is known."""

    environ: dict[str, Any]
    sent: bytes = b''
    status: str = ''
    headers: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    body: bytes = b''

    @property
    def line(self) -> str:
        """METHOD PATH?QUERY."""
        query = self.environ.get('QUERY_STRING', '')
        return (
            f'{self.environ["REQUEST_METHOD"]} {self.environ["PATH_INFO"]}'
            + (f'?{query}' if query else '')
        )

    def send(self, body: bytes) -> None:
        """Another request body, in one piece."""
        self.sent = body
        self.environ['wsgi.input'] = io.BytesIO(body)
        if self.environ.pop('HTTP_TRANSFER_ENCODING', None) or body:
            self.environ['CONTENT_LENGTH'] = str(len(body))

    def answer(self, status: str, document: Any = None) -> None:
        """Another answer."""
        self.status = status
        self.body = b'' if document is None else json.dumps(document).encode()
        self.headers = [('Content-Type', 'application/json')]


Change = Callable[[Exchange], None]


@dataclasses.dataclass(frozen=True)
class Fault:
    """What goes wrong.

    :param where: which requests, by `Exchange.line`
    :param before: changes the request; an answer that it gives is the answer
    :param after: changes the answer
    :param having: regular expression: what the request has in its body
    """

    where: str
    before: Change | None = None
    after: Change | None = None
    having: bytes = b''

    def concerns(self, exchange: Exchange) -> bool:
        """Whether it is about that request, as the client has sent it."""
        return bool(
            re.fullmatch(self.where, exchange.line)
            and re.search(self.having, exchange.sent)
        )


# --- changes ---


def answer(status: str, document: Any = None) -> Change:
    """Do nothing, and say that."""
    return lambda exchange: exchange.answer(status, document)


def replace(old: bytes, new: bytes) -> Change:
    """Another word in the request."""
    return lambda exchange: exchange.send(exchange.sent.replace(old, new))


def say(old: bytes, new: bytes) -> Change:
    """Another word in the answer."""

    def change(exchange: Exchange) -> None:
        exchange.body = exchange.body.replace(old, new)

    return change


def document(edit: Callable[[Any], Any]) -> Change:
    """Another JSON document, where the answer has one."""

    def change(exchange: Exchange) -> None:
        if not exchange.status.startswith('200'):
            return
        found = json.loads(exchange.body)
        edit(found)
        exchange.body = json.dumps(found).encode()

    return change


def without(header: str) -> Change:
    """Lose a header of the request."""
    name = 'HTTP_' + header.upper().replace('-', '_')

    def change(exchange: Exchange) -> None:
        exchange.environ.pop(name, None)

    return change


def unfiltered(exchange: Exchange) -> None:
    """Lose the query."""
    exchange.environ['QUERY_STRING'] = ''


def flipped(*sizes: int) -> Change:
    """Another byte in downloads of just those sizes."""

    def change(exchange: Exchange) -> None:
        if len(exchange.body) in sizes:
            exchange.body = _flip(exchange.body)

    return change


def received_flipped(size: int) -> Change:
    """Another byte in uploads of just that size."""

    def change(exchange: Exchange) -> None:
        if len(exchange.sent) == size:
            exchange.send(_flip(exchange.sent))

    return change


def received_without_end(size: int) -> Change:
    """Lose the last byte of uploads of just that size."""

    def change(exchange: Exchange) -> None:
        if len(exchange.sent) == size:
            exchange.send(exchange.sent[:-1])

    return change


def _flip(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def only(asked: Callable[[Exchange], Any], change: Change) -> Change:
    """A change for requests that are not told apart by their line."""
    return lambda exchange: change(exchange) if asked(exchange) else None


def header(name: str, value: str | None) -> Callable[[Exchange], bool]:
    """Requests with a header of that value."""
    key = 'HTTP_' + name.upper().replace('-', '_')
    return lambda exchange: exchange.environ.get(key) == value


def by_glance(exchange: Exchange) -> bool:
    """Requests that Glance itself makes, to download what it imports."""
    agent: str = exchange.environ.get('HTTP_USER_AGENT', '')
    return agent.startswith('Python-urllib/')


def length(number: int) -> Callable[[Exchange], bool]:
    """Requests with so many bytes."""
    return lambda exchange: len(exchange.sent) == number


KIB = 1024
MIB = 1024 * KIB
IMAGE = '/v2/images/[^/]+'
DATA = f'GET {IMAGE}/file'
UPLOAD = f'PUT {IMAGE}/file'
WEB = b'imported from the web'
"""What the tests import by web-download."""

OTHER = '-other'
"""What the name of a file ends with that is beside it and has other data."""

Document = dict[str, Any]


def _unhash(image: Document) -> None:
    if image.get('size') == MIB + 1:
        image['os_hash_value'] = '0'


def _no_default(answer: Document) -> None:
    for store in answer['stores']:
        store.pop('default', None)


FAULTS = {
    # --- versions ---
    'test_the_versions_are_listed_and_one_is_current': Fault(
        'GET /versions', after=say(b'CURRENT', b'SUPPORTED')
    ),
    'test_the_links_of_the_versions_lead_back_here': Fault(
        'GET /versions', after=say(b'127.0.0.1', b'10.0.0.1')
    ),
    'test_clients_find_the_versions_without_knowing_where': Fault(
        'GET /', after=say(b'"v2.0"', b'"v1.0"')
    ),
    'test_the_healthcheck_says_that_all_is_well': Fault(
        'GET /healthcheck', before=answer('503 Service Unavailable')
    ),
    'test_the_schema_of_an_image_is_there': Fault(
        'GET /v2/schemas/image', before=answer('404 Not Found')
    ),
    # --- images ---
    'test_an_image_is_made_shown_renamed_and_deleted': Fault(
        f'PATCH {IMAGE}', before=answer('200 OK', {}), having=b'"/name"'
    ),
    'test_a_protected_image_is_not_deleted': Fault(
        'POST /v2/images',
        before=replace(b'"protected": true', b'"protected": false'),
        having=b'"protected": true',
    ),
    'test_properties_are_added_changed_and_removed': Fault(
        f'PATCH {IMAGE}', before=answer('200 OK', {}), having=b'"remove"'
    ),
    'test_what_only_glance_may_set_is_refused': Fault(
        f'PATCH {IMAGE}', before=answer('200 OK', {}), having=b'"/status"'
    ),
    'test_tags_are_added_once_and_removed': Fault(
        f'PUT {IMAGE}/tags/two', before=answer('204 No Content')
    ),
    'test_an_administrator_takes_an_image_out_of_use_and_back': Fault(
        f'POST {IMAGE}/actions/deactivate', before=answer('204 No Content')
    ),
    # --- lists ---
    'test_pages_have_every_image_once_and_in_order': Fault(
        'GET /v2/images.*limit=2.*',
        after=document(lambda page: page['images'].reverse()),
    ),
    'test_a_list_can_be_filtered_by_tag': Fault(
        'GET /v2/images[?]tag=[^&]*', before=unfiltered
    ),
    'test_a_list_can_be_filtered_by_property': Fault(
        'GET /v2/images[?]serial=.*', before=unfiltered
    ),
    'test_a_hidden_image_is_listed_only_when_asked_for': Fault(
        'POST /v2/images',
        before=replace(b'"os_hidden": true', b'"os_hidden": false'),
        having=b'"os_hidden": true',
    ),
    # --- data ---
    'test_a_small_image_comes_back': Fault(DATA, after=flipped(1000)),
    'test_an_empty_image_comes_back': Fault(
        UPLOAD, before=only(length(0), answer('411 Length Required'))
    ),
    'test_images_about_as_large_as_a_buffer_come_back': Fault(
        UPLOAD, before=received_without_end(64 * KIB + 1)
    ),
    'test_an_image_of_many_mebibytes_comes_back': Fault(
        UPLOAD, before=received_without_end(16 * MIB + 1)
    ),
    'test_an_upload_in_small_chunks_comes_back': Fault(
        UPLOAD, before=received_flipped(300 * KIB + 1)
    ),
    'test_an_upload_in_chunks_of_two_mebibytes_comes_back': Fault(
        UPLOAD, before=received_without_end(4 * MIB + 1)
    ),
    'test_an_upload_that_stalls_for_seconds_comes_back': Fault(
        UPLOAD, before=only(length(4 * KIB), answer('408 Request Timeout'))
    ),
    'test_a_second_upload_is_refused': Fault(
        UPLOAD,
        before=only(length(len('other data')), answer('204 No Content')),
    ),
    'test_size_and_hash_of_the_data_are_kept': Fault(
        f'GET {IMAGE}', after=document(_unhash)
    ),
    'test_a_range_is_just_that_part': Fault(
        DATA,
        before=only(header('Range', 'bytes=65000-2000000'), without('Range')),
    ),
    'test_a_range_behind_the_end_is_refused': Fault(
        DATA, before=only(header('Range', 'bytes=1024-'), without('Range'))
    ),
    # --- imports ---
    'test_glance_direct_imports_what_was_staged': Fault(
        f'PUT {IMAGE}/stage', before=received_without_end(65 * KIB)
    ),
    'test_web_download_fetches_the_file': Fault(
        f'POST {IMAGE}/import',
        before=replace(b'"}}', f'{OTHER}"}}}}'.encode()),
        having=b'/file"}}$',
    ),
    'test_a_web_download_of_what_is_not_there_leaves_the_image_queued': Fault(
        f'POST {IMAGE}/import',
        before=replace(b'/there/is/nothing', b''),
        having=b'/there/is/nothing',
    ),
    'test_glance_download_copies_an_image_of_the_region': Fault(
        DATA, after=only(by_glance, flipped(66 * KIB))
    ),
    'test_an_import_needs_staged_data': Fault(
        f'POST {IMAGE}/import',
        before=only(
            lambda exchange: b'all_stores' not in exchange.sent,
            answer('202 Accepted'),
        ),
        having=b'glance-direct',
    ),
    'test_the_task_of_an_import_is_told_to_its_owner': Fault(
        f'GET {IMAGE}/tasks', after=say(b'api_image_import', b'export')
    ),
    'test_an_administrator_looks_up_the_task_of_an_import': Fault(
        'GET /v2/tasks/.*', after=say(b'"success"', b'"failure"')
    ),
    'test_an_administrator_lists_tasks': Fault(
        'GET /v2/tasks[?].*', before=answer('403 Forbidden')
    ),
    # --- metadata definitions ---
    'test_the_definitions_that_glance_ships_are_loaded': Fault(
        'GET /v2/metadefs/namespaces', after=say(b'"OS::', b'"XX::')
    ),
    'test_a_namespace_with_a_property_is_made_and_removed': Fault(
        'POST /v2/metadefs/namespaces/[^/]+/properties',
        before=answer('201 Created', {'name': 'colour'}),
    ),
    # --- policy ---
    'test_without_a_token_there_is_nothing': Fault(
        'GET /v2/images',
        before=only(header('X-Auth-Token', None), answer('200 OK', {})),
    ),
    'test_a_token_that_keystone_does_not_know_is_refused': Fault(
        'GET /v2/images',
        before=only(header('X-Auth-Token', 'nonsense'), answer('200 OK', {})),
    ),
    # --- sharing ---
    'test_a_private_image_is_nobody_elses': Fault(
        'POST /v2/images',
        before=replace(b'"private"', b'"community"'),
        having=b'TestSharing.*"private"',
    ),
    'test_a_shared_image_is_seen_by_its_members': Fault(
        f'DELETE {IMAGE}/members/.*', before=answer('204 No Content')
    ),
    'test_a_shared_image_is_listed_once_it_is_accepted': Fault(
        f'PUT {IMAGE}/members/.*', before=answer('200 OK', {})
    ),
    'test_a_community_image_is_listed_only_when_asked_for': Fault(
        'POST /v2/images',
        before=replace(b'"community"', b'"public"'),
        having=b'"community"',
    ),
    'test_a_public_image_is_listed_for_everybody': Fault(
        'POST /v2/images',
        before=replace(b'"public"', b'"private"'),
        having=b'TestSharing.*"public"',
    ),
    # --- stores ---
    'test_the_stores_are_listed_and_one_is_the_default': Fault(
        'GET /v2/info/stores', after=document(_no_default)
    ),
    'test_an_upload_goes_to_the_store_that_was_asked_for': Fault(
        UPLOAD, before=without('X-Image-Meta-Store')
    ),
    'test_a_copy_is_made_in_another_store_and_removed_again': Fault(
        'DELETE /v2/stores/.*', before=answer('204 No Content')
    ),
}
"""Each fault, by the name of the one test that it makes fail."""

MEMBERS = 'role:admin or role:member'

POLICIES = {
    'test_a_reader_reads': {'get_images': MEMBERS},
    'test_a_reader_changes_nothing': {'add_image': 'role:reader'},
    'test_a_member_does_not_make_an_image_public': {
        'publicize_image': MEMBERS
    },
    'test_a_member_does_not_delete_what_others_publish': {
        'delete_image': MEMBERS
    },
    'test_an_administrator_sees_what_is_private': {
        'get_image': 'role:reader and project_id:%(project_id)s or '
        "'community':%(visibility)s or 'public':%(visibility)s or "
        "'shared':%(visibility)s or role:admin and not "
        "'private':%(visibility)s"
    },
}
"""Rules of Glance's policy that make just one test fail, by its name."""

ELSEWHERE = {'test_the_authorization_header_arrives'}
"""What a fault of the web server makes fail: `test_smoke_settings`."""


class Faulty:
    """Glance, with the faults that the file names, a line each."""

    def __init__(self, application: Any, file: str) -> None:
        self.application = application
        self.file = pathlib.Path(file)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        exchange = Exchange(environ)
        here = [
            fault
            for fault in map(FAULTS.get, self.file.read_text().split())
            if fault and re.fullmatch(fault.where, exchange.line)
        ]
        if not here:
            return self.application(environ, start_response)
        exchange.send(_received(environ))
        self._serve(exchange, [one for one in here if one.concerns(exchange)])
        headers = [
            pair
            for pair in exchange.headers
            if pair[0].lower() != 'content-length'
        ]
        headers.append(('Content-Length', str(len(exchange.body))))
        start_response(exchange.status, headers)
        return [exchange.body]

    def _serve(self, exchange: Exchange, faults: list[Fault]) -> None:
        for fault in faults:
            if fault.before is not None:
                fault.before(exchange)
        if not exchange.status:
            self._ask(exchange)
        for fault in faults:
            if fault.after is not None:
                fault.after(exchange)

    def _ask(self, exchange: Exchange) -> None:
        def begin(status: str, headers: Any, exc_info: Any = None) -> Any:
            exchange.status, exchange.headers = status, list(headers)

        pieces = self.application(exchange.environ, begin)
        exchange.body = b''.join(pieces)
        if hasattr(pieces, 'close'):
            pieces.close()


def _received(environ: dict[str, Any]) -> bytes:
    # Imported late: only the service has Glance's options registered.
    from glance.common import wsgi

    # As Glance reads what comes in chunks: uWSGI has a call of its own.
    body = wsgi.Request(environ).body_file
    return b''.join(iter(lambda: body.read(MIB), b''))


def factory(global_config: dict[str, str], file: str) -> Any:
    """What Paste asks for."""
    return lambda application: Faulty(application, file)
