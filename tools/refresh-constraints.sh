#!/bin/bash
# tools/refresh-constraints.sh SERIES UPPER_CONSTRAINTS_FILE
#
# Writes constraints/SERIES.txt: a version for each package that this project
# installs for an OpenStack series, and for nothing else. It lets pip resolve
# the three requirements files on every Python of the series that is on this
# machine, under the pins that OpenStack publishes for the series
# (upper-constraints.txt of openstack/requirements) and the Glance and
# Keystone named below. Packages that OpenStack does not pin get the version
# that pip chose: the newest there is.
. "$(dirname "$0")/common.sh"

# What OpenStack's file does not pin: Glance and Keystone, which are services,
# and setuptools. The pbr of 2025.* builds with pkg_resources, which left
# setuptools with version 81.
services() {
    case $1 in
        2025.1) echo glance==30.2.0 keystone==27.0.2 setuptools==80.10.2 ;;
        2025.2) echo glance==31.1.0 keystone==28.1.0 setuptools==80.10.2 ;;
        2026.1) echo glance==32.0.0 keystone==29.1.0 ;;
        2026.2) echo glance==33.0.0 keystone==30.0.0 ;;
    esac
}

resolve() {
    new_venv "$work/venv"
    "$work/venv/bin/python" -m pip install -q --dry-run --ignore-installed \
        --no-cache-dir --report "$work/$PYTHON_VERSION.json" \
        -c "$work/upper.txt" -r "$TOP/requirements.txt" \
        -r "$TOP/test-requirements.txt" -r "$TOP/doc/requirements.txt"
}

if [ $# != 2 ] || [ ! -r "$2" ] || ! pythons=$(series_pythons "$1"); then
    die "usage: tools/refresh-constraints.sh SERIES UPPER_CONSTRAINTS_FILE"
fi
series=$1
choose_place
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ cat "$2"; services "$series" | tr ' ' '\n'; } >"$work/upper.txt"

reports=()
for PYTHON_VERSION in $pythons; do
    if PYTHON=$(find_python "$PYTHON_VERSION"); then
        step "Resolving $series on Python $PYTHON_VERSION" resolve
        reports+=("$PYTHON_VERSION=$work/$PYTHON_VERSION.json")
    else
        echo "Python $PYTHON_VERSION is not here: left out" >&2
    fi
done

python3 "$TOP/tools/reports2constraints.py" "$series" "${reports[@]}" \
    >"$work/new"
cat "$work/new" >"$TOP/constraints/$series.txt"
echo "constraints/$series.txt: $(grep -c == "$work/new") lines"
