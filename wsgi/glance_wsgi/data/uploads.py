"""Uploads whose process is killed leave nothing half-written.

While Glance receives an image's data, a journal has an entry for it. Entries
of dead processes are settled, which removes the data and lets the image be
uploaded again, when

* a process starts, for all images: the web server replaces what has died;
* a request for an upload or an import comes, for its image: neither a retry
  nor the import of half an image may be faster than that;
* an upload ends, for its image: it may have kept others from settling.
"""

import contextlib
import logging
import pathlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from oslo_concurrency import lockutils
from oslo_config import cfg

from glance_wsgi.data import halves
from glance_wsgi.data import journal
from glance_wsgi.data import paths

LOG = logging.getLogger(__name__)

PATIENCE = 1
"""Seconds that a request waits for another upload to its image to end. A
killed process has its locks until the kernel has torn it down, and a client
may be faster."""

THREAD = 'settle-uploads'
"""The name of the thread that settles what earlier processes have left."""

_METHODS = {'file': 'PUT', 'stage': 'PUT', 'import': 'POST'}

Application = Callable[..., Iterable[bytes]]


def outlive_kills(application: Application) -> Application:
    """Keep a journal of the uploads to Glance, which is loaded.

    :returns: `application`, and around it what keeps the journal; only
        `application` where the journal can't be, which the log tells
    """
    locks = lockutils.get_lock_path(cfg.CONF)
    if not locks:
        LOG.warning(
            'Uploads have no journal: [oslo_concurrency] lock_path is not '
            'set. What a killed process was receiving stays half-written.'
        )
        return application
    try:
        uploads = Uploads(application, pathlib.Path(locks, 'uploads'))
    except OSError as error:
        LOG.error('Uploads have no journal: %s', error)
        return application
    threading.Thread(
        target=uploads.settle_all, name=THREAD, daemon=True
    ).start()
    return uploads


class Uploads:
    """The application with its journal: see the module.

    Nothing that goes wrong with the journal makes a request fail.
    """

    def __init__(
        self, application: Application, directory: pathlib.Path
    ) -> None:
        self.application = application
        self.journal = journal.Journal(directory)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        image_id, action = paths.find(environ.get('PATH_INFO', '')) or ('', '')
        if environ['REQUEST_METHOD'] != _METHODS.get(action):
            return self.application(environ, start_response)
        if action == 'import':
            self.settle(image_id, patience=PATIENCE)
            return self.application(environ, start_response)
        return self._receive(image_id, environ, start_response)

    def _receive(
        self,
        image_id: str,
        environ: dict[str, Any],
        start_response: Callable[..., Any],
    ) -> Iterable[bytes]:
        try:
            # Glance has read the body when it returns. No answer is sent
            # before the entry is gone, so what a client knows to be uploaded
            # has none.
            with self._entry(image_id) as own:
                self.settle(image_id, own, PATIENCE)
                return self.application(environ, start_response)
        finally:
            self.settle(image_id)

    @contextlib.contextmanager
    def _entry(self, image_id: str) -> Iterator[pathlib.Path | None]:
        with contextlib.ExitStack() as stack:
            own = None
            try:
                own = stack.enter_context(self.journal.entry(image_id))
            except OSError as error:
                LOG.error(
                    'The upload to %s is not journaled: %s', image_id, error
                )
            yield own

    def settle(
        self,
        image_id: str,
        own: pathlib.Path | None = None,
        patience: float = 0,
    ) -> None:
        """Settle an image's entries; the log tells what went wrong.

        :param own: the entry of the upload that wants this
        :param patience: seconds to wait for another upload to end
        """
        deadline = time.monotonic() + patience
        try:
            while not self.journal.settle(image_id, halves.mend, own):
                if time.monotonic() >= deadline:
                    break
                time.sleep(0.02)
        except Exception:
            LOG.exception(
                'What a killed upload to %s has left stays there for now.',
                image_id,
            )

    def settle_all(self) -> None:
        """Settle the entries of every image."""
        try:
            images = self.journal.images()
        except OSError as error:
            LOG.error('The journal of uploads is unreadable: %s', error)
            return
        for image_id in images:
            self.settle(image_id)
