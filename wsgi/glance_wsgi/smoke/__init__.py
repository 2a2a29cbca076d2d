"""Smoke tests of an Images v2 API, as a plugin of Tempest's.

They need an endpoint, a member's and an administrator's credentials, and
nothing of the machine that serves. Each makes its own data, removes it, and
can fail: tests/functional/faults.py has what makes it do so.

Three ways to run the same tests::

    glance-wsgi smoke                     a table of results; no tempest.conf
    tempest run --regex glance_wsgi       beside other suites
    stestr run                            in a gate job
"""
