"""Smoke tests of an Images v2 API, as a plugin of Tempest's.

They need an endpoint, a member's and an administrator's credentials, and
nothing of the machine that serves. Each makes its own data, removes it, and
can fail: tests/functional/glance_wsgi_faults.py has what makes it do so.

Two ways to run the same tests::

    glance-wsgi smoke                     a table of results; no tempest.conf
    tempest run --regex glance_wsgi       beside other suites, with their own

Both run them by stestr.
"""
