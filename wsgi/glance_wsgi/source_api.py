"""The WSGI entry module of the source of images that a gate has."""

import os
import pathlib

from glance_wsgi import source

application = source.serve(pathlib.Path(os.environ[source.DIRECTORY]))
