# What Glance's documentation has as a script, which Glance 32 removed.
import os

os.environ['OS_GLANCE_CONFIG_DIR'] = '%(place)s'

from glance.wsgi.api import application  # noqa: E402, F401
