"""A Paste filter that makes one fault at a time, around all of Glance.

Which one is in a file that is read for each request: nothing is started anew.
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
    sent: bytes
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
        """Another request body."""
        self.sent = body
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
    :param having: bytes that the request has in its body
    """

    where: str
    before: Change | None = None
    after: Change | None = None
    having: bytes = b''


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


def flipped(size: int) -> Change:
    """Another byte in data of just that size.

    Also if it is done twice, to an image that is downloaded for an import and
    then by the test.
    """

    def change(exchange: Exchange) -> None:
        if len(exchange.body) == size:
            last = (exchange.body[-1] + 1) % 256
            exchange.body = exchange.body[:-1] + bytes([last])

    return change


def only(asked: Callable[[Exchange], Any], change: Change) -> Change:
    """A change for requests that are not told apart by their line."""
    return lambda exchange: change(exchange) if asked(exchange) else None


def header(name: str, value: str | None) -> Callable[[Exchange], bool]:
    """Requests with a header of that value."""
    key = 'HTTP_' + name.upper().replace('-', '_')
    return lambda exchange: exchange.environ.get(key) == value


def length(number: int) -> Callable[[Exchange], bool]:
    """Requests that announce so many bytes."""
    return lambda exchange: (
        exchange.environ.get('CONTENT_LENGTH') == str(number)
    )


KIB = 1024
MIB = 1024 * KIB
IMAGE = '/v2/images/[^/]+'
DATA = f'GET {IMAGE}/file'
WEB = b'imported from the web'
"""What the tests import by web-download."""

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
    ),
    # --- data ---
    'test_a_small_image_comes_back': Fault(DATA, after=flipped(1000)),
    'test_an_image_of_many_mebibytes_comes_back': Fault(
        DATA, after=flipped(16 * MIB + 1)
    ),
    'test_an_upload_in_small_chunks_comes_back': Fault(
        DATA, after=flipped(300 * KIB + 1)
    ),
    'test_an_upload_in_chunks_of_two_mebibytes_comes_back': Fault(
        DATA, after=flipped(4 * MIB + 1)
    ),
    'test_an_upload_that_stalls_for_seconds_comes_back': Fault(
        f'PUT {IMAGE}/file',
        before=only(length(4 * KIB), answer('408 Request Timeout')),
    ),
    'test_a_second_upload_is_refused': Fault(
        f'PUT {IMAGE}/file',
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
        DATA, after=flipped(65 * KIB)
    ),
    'test_web_download_fetches_the_file': Fault(DATA, after=flipped(len(WEB))),
    'test_a_web_download_of_what_is_not_there_leaves_the_image_queued': Fault(
        f'POST {IMAGE}/import', before=replace(b'/there/is/nothing', b'')
    ),
    'test_glance_download_copies_an_image_of_the_region': Fault(
        DATA, after=flipped(66 * KIB)
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
    'test_an_administrator_lists_tasks': Fault(
        'GET /v2/tasks.*', before=answer('403 Forbidden')
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
        having=b'TestSharing',
    ),
    'test_a_shared_image_is_seen_by_its_members': Fault(
        f'DELETE {IMAGE}/members/.*', before=answer('204 No Content')
    ),
    'test_a_shared_image_is_listed_once_it_is_accepted': Fault(
        f'PUT {IMAGE}/members/.*', before=answer('200 OK', {})
    ),
    'test_a_community_image_is_listed_only_when_asked_for': Fault(
        'POST /v2/images', before=replace(b'"community"', b'"public"')
    ),
    'test_a_public_image_is_listed_for_everybody': Fault(
        'POST /v2/images',
        before=replace(b'"public"', b'"private"'),
        having=b'TestSharing',
    ),
    # --- stores ---
    'test_the_stores_are_listed_and_one_is_the_default': Fault(
        'GET /v2/info/stores', after=document(_no_default)
    ),
    'test_an_upload_goes_to_the_store_that_was_asked_for': Fault(
        f'PUT {IMAGE}/file', before=without('X-Image-Meta-Store')
    ),
    'test_a_copy_is_made_in_another_store_and_removed_again': Fault(
        'DELETE /v2/stores/.*', before=answer('204 No Content')
    ),
}
"""Each fault, by the name of the one test that it makes fail."""

_SMALL = 64 * KIB
"""Request bodies are read up to here; what is larger is only passed on."""


class Faulty:
    """Glance, with the fault that the file names."""

    def __init__(self, application: Any, file: str) -> None:
        self.application = application
        self.file = pathlib.Path(file)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        fault = FAULTS.get(self.file.read_text().strip())
        exchange = Exchange(environ, b'')
        if fault is None or not re.fullmatch(fault.where, exchange.line):
            return self.application(environ, start_response)
        size = int(environ.get('CONTENT_LENGTH') or 0)
        if 0 < size < _SMALL and 'json' in environ.get('CONTENT_TYPE', ''):
            exchange.sent = environ['wsgi.input'].read(size)
        if fault.having in exchange.sent:
            if fault.before is not None:
                fault.before(exchange)
            if not exchange.status:
                self._ask(exchange)
            if fault.after is not None:
                fault.after(exchange)
        else:
            self._ask(exchange)
        headers = [
            pair
            for pair in exchange.headers
            if pair[0].lower() != 'content-length'
        ]
        headers.append(('Content-Length', str(len(exchange.body))))
        start_response(exchange.status, headers)
        return [exchange.body]

    def _ask(self, exchange: Exchange) -> None:
        if exchange.sent:
            exchange.environ['wsgi.input'] = io.BytesIO(exchange.sent)

        def begin(status: str, headers: Any, exc_info: Any = None) -> Any:
            exchange.status, exchange.headers = status, list(headers)

        pieces = self.application(exchange.environ, begin)
        exchange.body = b''.join(pieces)
        if hasattr(pieces, 'close'):
            pieces.close()


def factory(global_config: dict[str, str], file: str) -> Any:
    """What Paste asks for."""
    return lambda application: Faulty(application, file)
