#!/bin/bash
# tools/pip-install.sh ARGUMENT...: `pip install` as this project does it,
# into the virtualenv whose `python` is first on PATH.
#
# tox calls it (install_command), so that its environments get exactly what
# tools/up.sh installs: the versions of the series in GLANCE_SERIES and the
# uWSGI of tools/uwsgi-build.ini.
. "$(dirname "$0")/common.sh"
choose_place
install "$(command -v python)" "${GLANCE_SERIES:-2026.2}" "$@"
