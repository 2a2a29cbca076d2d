#!/bin/bash
# tools/up.sh [ARGUMENT...]: from a checkout to a running Images v2 API.
#
# Installs what is missing (system packages as root only; the Python packages
# into .venv/), then runs `glance-wsgi up ARGUMENT...`. Run again, it installs
# only what changed. The environment chooses:
#
#   GLANCE_SERIES   the OpenStack series: 2025.1 (Glance 30), 2025.2 (31),
#                   2026.1 (32) or 2026.2 (33, the default)
#   PYTHON          the interpreter; else python3 on PATH, else Debian's
. "$(dirname "$0")/common.sh"

series=${GLANCE_SERIES:-2026.2}
pythons=$(series_pythons "$series") ||
    die "GLANCE_SERIES=$series: know 2025.1, 2025.2, 2026.1 and 2026.2"

# The web server that the arguments name may need packages of its own.
profile() {
    while [ $# -gt 0 ]; do
        case $1 in
            --server) echo "${2-}" ;;
            --server=*) echo "${1#*=}" ;;
        esac
        shift
    done
}
server=$(profile "$@")
case $server in
    apache-uwsgi) "$TOP/tools/system-packages.sh" default apache-uwsgi ;;
    mod_wsgi) "$TOP/tools/system-packages.sh" default mod-wsgi ;;
    *) "$TOP/tools/system-packages.sh" ;;
esac
choose_place
choose_python
case " $pythons " in
    *" $PYTHON_VERSION "*) ;;
    *) die "the series $series runs on Python $pythons and $PYTHON is" \
        "$PYTHON_VERSION; set GLANCE_SERIES or PYTHON" ;;
esac

# A hash over everything that decides what .venv/ holds.
state() {
    {
        echo "$PIP"
        cd "$TOP" || exit
        find wsgi httpd constraints/"$series".txt requirements.txt setup.cfg \
            pyproject.toml tools/uwsgi-build.ini -type f \
            ! -path '*/__pycache__/*' ! -path '*.egg-info/*' -print0 |
            sort -z | xargs -0 sha256sum
    } | sha256sum
}

# The package is installed as a copy, never "editable": a service that runs
# must not change with the checkout. It is built outside of the checkout, which
# may belong to somebody else, and where setuptools would ship what an earlier
# build left in build/.
build_package() {
    printf '[%s]\n%s = %s\n' build build_base "$1" egg_info egg_base "$1" \
        >"$1/distutils.cfg"
    DIST_EXTRA_CONFIG=$1/distutils.cfg SKIP_GENERATE_AUTHORS=1 \
        SKIP_WRITE_GIT_CHANGELOG=1 "$venv/bin/python" -m pip wheel \
        --no-deps --build-constraint "$TOP/constraints/$series.txt" \
        -w "$1" "$TOP"
}

install_package() {
    build=$(mktemp -d)
    trap 'rm -rf "$build"' EXIT
    build_package "$build"
    local wheel
    wheel=$(echo "$build"/*.whl)
    # With what "glance-wsgi smoke" needs.
    install "$venv/bin/python" "$series" "${wheel}[smoke]"
    # pip takes a wheel for installed when its version is: ours changes with
    # each commit only.
    "$venv/bin/python" -m pip install --no-deps --force-reinstall "$wheel"
}

lock up

# Where people look for it, unless somebody's own is there.
venv=$PLACE/.venv
[ "$PLACE" = "$TOP" ] || [ -d "$TOP/.venv" ] || ln -sfn "$venv" "$TOP/.venv"
[ "$PLACE" != "$TOP" ] || [ ! -L "$venv" ] || rm "$venv"

# The stamp says which interpreter and series the virtualenv is for, and the
# state it has reached. It is away while pip works: without it the virtualenv
# is half-made, and as one for another series it is made anew, since pip would
# leave the old libraries behind.
stamp=$venv/.glance-wsgi
kind="$PYTHON $PYTHON_VERSION $series"
now=$(state)
if [ "$(cat "$stamp" 2>/dev/null)" != "$kind"$'\n'"$now" ]; then
    : >"$LOG"
    if [ "$(head -n 1 "$stamp" 2>/dev/null)" != "$kind" ]; then
        [ "$PLACE" = "$TOP" ] || echo "$WHY: .venv is in $PLACE"
        step "Making .venv with Python $PYTHON_VERSION" new_venv "$venv"
    fi
    rm -f "$stamp"
    step "Installing the Python packages of $series" install_package
    printf '%s\n%s\n' "$kind" "$now" >"$stamp"
fi

exec "$venv/bin/glance-wsgi" up "$@" 9>&-
