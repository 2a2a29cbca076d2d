#!/bin/bash
# tools/pip-wheel.sh ARGUMENT...: `pip wheel` with the versions and the uWSGI
# of tools/pip-install.sh, for machines that reach no registry.
. "$(dirname "$0")/common.sh"
choose_place
python=$(command -v python)
constraints=$TOP/constraints/${GLANCE_SERIES:-2026.2}.txt
uwsgi_wheel "$python" "$constraints"
"$python" -m pip wheel -c "$constraints" --build-constraint "$constraints" \
    --find-links "$WHEELS" "$@"
