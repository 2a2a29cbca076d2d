"""Downloads whose data the web server sends, not Python.

Glance answers as ever: it authorises, chooses a location, makes the headers,
notifies, counts the cache's hits. Where its answer is nothing but a part of a
local file, that part is handed to the web server, and the thread that served
the request is free at once. Everything else goes its own way: an answer that
the server could not give byte by byte as Glance gives it, too.
"""

import dataclasses
import itertools
import logging
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from oslo_config import cfg

from glance_wsgi.conf import transfers as options
from glance_wsgi.data import halves
from glance_wsgi.data import paths
from glance_wsgi.data import regions
from glance_wsgi.data import tickets

LOG = logging.getLogger(__name__)

Application = Callable[..., Iterable[bytes]]
Environ = dict[str, Any]
Headers = list[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Download:
    """An answer whose body is a region.

    :param partial: whether it is the answer to a request for a range
    """

    status: str
    headers: Headers
    region: regions.Region

    @property
    def partial(self) -> bool:
        """Whether a range was asked for."""
        return self.status.startswith('206')


class Sender(Protocol):
    """How a web server is told to send a part of a file."""

    def serves(self, environ: Environ) -> bool:
        """Whether it can send anything in answer to this request."""

    def send(
        self,
        download: Download,
        environ: Environ,
        start_response: Callable[..., Any],
    ) -> Iterable[bytes] | None:
        """Have it sent.

        :returns: what the application has to return; None if this one can't
            be sent, and then nothing has been done
        """


def hand_off(application: Application, sender: Sender | None) -> Application:
    """Glance, which is loaded, with its downloads handed off.

    :param sender: None where the web server sends nothing by itself
    :returns: only `application` where there is no sender, or the option says
        so
    """
    options.register_opts(cfg.CONF)
    known = frozenset(directories(cfg.CONF))
    # Another server may have been here before, or the option another one.
    # They would keep the space of images that are deleted.
    left = tickets.Tickets()
    for directory in known:
        left.take_over(pathlib.Path(directory))
    if sender is None or not cfg.CONF.transfers.hand_off_downloads:
        return application
    regions.install()
    return Downloads(application, sender, known)


def directories(conf: cfg.ConfigOpts) -> Iterator[str]:
    """Where files may be that are downloaded: file stores, the cache.

    :param conf: Glance's
    """
    for directory in halves.store_directories(conf):
        yield os.path.normpath(directory)
    if conf.image_cache_dir:
        yield os.path.normpath(conf.image_cache_dir)


def configured(
    file: pathlib.Path, stores: Mapping[str, pathlib.Path] | None = None
) -> list[pathlib.Path]:
    """`directories` of a Glance that is not loaded.

    :param file: its ``glance-api.conf``; need not be there
    :param stores: file stores with their directories, where the file does
        not say anything else
    :returns: none where it hands nothing off, or can't be read
    """
    stores = stores or {}
    conf = cfg.ConfigOpts()
    conf.register_opts([cfg.StrOpt('image_cache_dir'), *_BACKENDS])
    options.register_opts(conf)
    conf.register_opt(
        cfg.ListOpt('stores', default=['file', 'http']), 'glance_store'
    )
    conf.set_default('enabled_backends', dict.fromkeys(stores, 'file'))
    files = [str(file)] if file.exists() else []
    try:
        conf(args=[], default_config_files=files, use_env=False)
        named = halves.file_stores(conf.enabled_backends)
        for group in (*named, 'glance_store'):
            conf.register_opts(_STORE, group)
        for group in stores.keys() & set(named):
            _take_default(conf, group, stores[group])
        if not conf.transfers.hand_off_downloads:
            return []
        return [pathlib.Path(each) for each in directories(conf)]
    except (cfg.Error, OSError, ValueError) as error:
        # Whoever starts Glance with it will hear more.
        LOG.info('%s: %s', file, error)
        return []


def _take_default(
    conf: cfg.ConfigOpts, group: str, directory: pathlib.Path
) -> None:
    # Both may not be set.
    several = conf[group].filesystem_store_datadirs
    default = None if several else str(directory)
    conf.set_default('filesystem_store_datadir', default, group)


_BACKENDS = [cfg.DictOpt('enabled_backends', default={})]
_STORE = [
    cfg.StrOpt('filesystem_store_datadir', default='/var/lib/glance/images'),
    cfg.MultiStrOpt('filesystem_store_datadirs'),
]


class Downloads:
    """The application with its downloads handed off: see the module."""

    def __init__(
        self,
        application: Application,
        sender: Sender,
        directories: frozenset[str],
    ) -> None:
        self.application = application
        self.sender = sender
        self.directories = directories

    def __call__(
        self, environ: Environ, start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if not _is_download(environ) or not self.sender.serves(environ):
            return self.application(environ, start_response)
        answer = _Answer()
        body = self.application(environ, answer.begin)
        if not answer.has_data:
            answer.pass_on(start_response)
            return body
        try:
            return self._send(answer, body, environ, start_response)
        except BaseException:
            _close(body)
            raise

    def _send(
        self,
        answer: '_Answer',
        body: Iterable[bytes],
        environ: Environ,
        start_response: Callable[..., Any],
    ) -> Iterable[bytes]:
        pieces = iter(body)
        piece = regions.first(pieces, self.directories)
        if isinstance(piece, regions.Region):
            if answer.is_all_of(piece):
                download = Download(answer.status, answer.headers, piece)
                sent = self.sender.send(download, environ, start_response)
                if sent is not None:
                    _finish(pieces, body)
                    return sent
            pieces = itertools.chain(piece.pieces(), pieces)
        elif piece:
            pieces = itertools.chain([piece], pieces)
        answer.pass_on(start_response)
        return _Body(pieces, body)


def _is_download(environ: Environ) -> bool:
    found = paths.find(environ.get('PATH_INFO', ''))
    return environ['REQUEST_METHOD'] == 'GET' and bool(
        found and found[1] == 'file'
    )


class _Answer:
    """How Glance began its answer."""

    status = ''
    headers: Headers = []  # noqa: RUF012 - replaced, never changed

    def begin(
        self, status: str, headers: Headers, exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """What Glance calls as ``start_response``."""
        self.status, self.headers = status, headers
        self._exc_info = exc_info
        return _write

    def pass_on(self, start_response: Callable[..., Any]) -> None:
        """Begin the real answer the same way."""
        start_response(self.status, self.headers, self._exc_info)

    def _header(self, name: str) -> str | None:
        return next(
            (value for key, value in self.headers if key.lower() == name), None
        )

    @property
    def has_data(self) -> bool:
        """Whether it is an image's data, as it is."""
        return (
            self.status[:3] in ('200', '206')
            and self._header('content-type') == 'application/octet-stream'
            and self._header('content-encoding') is None
        )

    def is_all_of(self, region: regions.Region) -> bool:
        """Whether it announces this region, of a file as it should be."""
        last = region.end - 1
        span = f'bytes {region.offset}-{last}/{region.size}'
        whole = region.length == region.size
        return self._header('content-length') == str(len(region)) and (
            self._header('content-range') == span
            if self.status.startswith('206')
            else whole
        )


def _write(data: bytes) -> None:
    raise NotImplementedError('Glance returns its answers')


def _finish(pieces: Iterator[bytes], body: Iterable[bytes]) -> None:
    """What Glance does after the last byte: it notifies, counts, closes."""
    try:
        for _ in pieces:
            LOG.error('More data than the file of an image has was dropped.')
    except Exception:
        # As ever, the client has its data.
        LOG.exception('The end of a download failed.')
    finally:
        _close(body)


def _close(body: Iterable[bytes]) -> None:
    close = getattr(body, 'close', None)
    if close is not None:
        close()


class _Body:
    """An answer whose first piece was looked at."""

    def __init__(
        self, pieces: Iterator[bytes], wrapped: Iterable[bytes]
    ) -> None:
        self._pieces = pieces
        self._wrapped = wrapped

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        """Called by the server at the end, whatever has happened."""
        _close(self._wrapped)
