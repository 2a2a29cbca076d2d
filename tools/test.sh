#!/bin/bash
# tools/test.sh [ENVIRONMENT...] [-- ARGUMENT...]: all tests, or those tox
# environments; arguments go to pytest. For instance:
#
#   tools/test.sh                               what each change has to pass
#   tools/test.sh long                          the rest
#   tools/test.sh default db                    some of it too
#   tools/test.sh unit linters
#   tools/test.sh functional -- -k chunked
#   tools/test.sh py312-smoke-glance33
#   tools/test.sh perf -- --rounds 1            the benchmark, on a quiet machine
#
# It installs what the tests need: system packages (as root only), tox in a
# virtualenv of its own. Several environments run at once, one more than there
# are CPUs since tests wait a lot, and what they print is shown of those that
# failed. A failure does not stop the others; tox ends with the result and the
# seconds of each; then come the tests that failed, once more.
. "$(dirname "$0")/common.sh"

# Every supported Glance and every supported Python is met once,
# not in all combinations: `functional` has the newest Glance on the default
# Python, the oldest Python goes to the oldest Glance.
everything() {
    local version
    # the longest first, so that nothing is left to wait for at the end
    echo functional linters unit devstack docs build
    if find_python 3.10 >/dev/null; then
        echo py310-smoke-glance30
    else
        echo smoke-glance30
    fi
    echo smoke-glance31 smoke-glance32
    for version in $(series_pythons 2026.2); do
        [ "$version" = "$PYTHON_VERSION" ] ||
            echo "py${version/./}-smoke-glance33"
    done
}

# share_python INTERPRETER VERSION: copies an interpreter that the service
# user can't read to where it can, once; sets SHARED.
#
# pyenv's interpreters are in root's home, and nothing else on a machine may
# have that version. A copy (100 to 200 MB) is left under /opt for the next
# run; the alternative, opening root's home to everybody, is not ours to do.
# What has the old place written into it is told the new one: the rpath to
# libpython, and the build settings that uWSGI is linked with.
share_python() {
    local prefix
    prefix=$("$1" -c 'import sys; print(sys.base_prefix)')
    local copy=/opt/glance-wsgi/python/${prefix##*/}
    SHARED=$copy/bin/python$2
    [ ! -x "$SHARED" ] || return 0
    step "Copying Python $2 to $copy" copy_python "$prefix" "$copy" "$2"
}

copy_python() {
    local prefix=$1 copy=$2 version=$3
    rm -rf "$copy.new"
    mkdir -p "$copy.new"
    tar -C "$prefix" --exclude='*/site-packages/*' --exclude='*/test' \
        -cf - bin include lib | tar -C "$copy.new" -xf -
    find "$copy.new/lib" -name '_sysconfigdata*.py' \
        -exec sed -i "s|$prefix|$copy|g" {} +
    patchelf --set-rpath "$copy/lib" "$copy.new/bin/python$version"
    rm -rf "$copy"
    mv "$copy.new" "$copy"
}

# What takes longer: every server, by our own tests and by OpenStack's, what
# happens under load, and upgrades of the database from every revision.
long() {
    local server
    for server in uwsgi apache modwsgi; do
        echo "servers-$server" "load-$server" "tempest-$server"
        echo "faults-$server"
    done
    echo servers-modwsgi-pypi load-modwsgi-pypi
    echo tasks-uwsgi tasks-apache tasks-modwsgi
    echo db db-glance30 systemd playbooks stack zuul
}

environments=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    environments+=("$1")
    shift
done

profiles=(test)
named=" ${environments[*]} "
if [[ $named == *" "@(systemd|playbooks*|stack|long)" "* ]]; then
    profiles+=(systemd)
fi
if [[ $named == *" "@(playbooks*|long)" "* ]]; then
    profiles+=(playbooks)
fi
if [[ $named == *" perf "* ]]; then
    profiles+=(perf)
fi
"$TOP/tools/system-packages.sh" "${profiles[@]}"
choose_place
choose_python
lock test
tool_venv tox "$TOX"

# expand NAME...: prints the environments that those names stand for.
expand() {
    local name
    for name in "$@"; do
        case $name in
            default) everything ;;
            long) long ;;
            *) echo "$name" ;;
        esac
    done
}

# The interpreters that names such as py312-smoke-glance33 ask for.
discover=() run=()
for name in $(expand "${environments[@]:-default}"); do
    # some of what "default" stands for may have been named before it
    [[ " ${run[*]} " != *" $name "* ]] || continue
    if [[ $name =~ ^py3([0-9]+)- ]]; then
        version=3.${BASH_REMATCH[1]}
        if ! interpreter=$(find_python "$version"); then
            echo "$name is left out: no Python $version here (install" \
                "python$version, or run: pyenv install $version)"
            continue
        fi
        if ! serves "$interpreter"; then
            share_python "$interpreter" "$version"
            interpreter=$SHARED
        fi
        [ ${#discover[@]} -gt 0 ] || discover=(--discover)
        discover+=("$interpreter")
    fi
    run+=("$name")
done
[ ${#run[@]} -gt 0 ] || die "nothing is left to run"

# tox makes its directory for its owner only, and the service user runs what
# is in it.
mkdir -p "$PLACE/.tox"
chmod 755 "$PLACE/.tox"
rm -rf "$PLACE/.tox/reports"
cd "$TOP"
# Also after Ctrl-C; tox's exit code stays the script's.
trap '"$PYTHON" tools/failures.py "$PLACE/.tox/reports"' EXIT
how=(run)
[ ${#run[@]} = 1 ] || how=(run-parallel --parallel "$(($(nproc) + 1))")
"$TOOL" "${how[@]}" --workdir "$PLACE/.tox" "${discover[@]}" \
    -e "$(IFS=,; echo "${run[*]}")" "$@" 9>&-
