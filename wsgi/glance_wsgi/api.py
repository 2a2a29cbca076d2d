"""The WSGI entry module: any WSGI server loads ``glance_wsgi.api``."""

from glance_wsgi import arenas
from glance_wsgi import loading

arenas.share()
with loading.uncollected():
    from glance_wsgi import app

    application = app.build()
