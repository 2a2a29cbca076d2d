# What tools/*.sh share. Sourced, never run:
#
#     . "$(dirname "$0")/common.sh"
#
# shellcheck shell=bash

set -euo pipefail

# The tools that install the rest, pinned: what a new machine gets tomorrow is
# what was tested today.
PIP=pip==26.3
export BINDEP=bindep==2.14.0 TOX=tox==4.67.15

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Python's output must not wait in a buffer behind ours, and pip has nothing
# to say about newer versions of itself: ours is pinned.
export PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1
export PIP_ROOT_USER_ACTION=ignore

NOBODY=65534

is_root() {
    [ "$(id -u)" = 0 ]
}

if is_root; then
    # The service user reads what root installs, whatever root's own umask.
    umask 022
    # pbr asks git for the version, and git refuses a checkout that belongs
    # to somebody else (`sudo tools/up.sh`).
    export GIT_CONFIG_COUNT=1
    export GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=$TOP
fi

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# Runs a command as the services will run: without root's rights. An ordinary
# user's services are their own, so there it is the command as it is.
#
# `env` between them, as setpriv still has root's rights when it executes its
# command: it starts a program that the user could not even see.
as_service() {
    if is_root; then
        setpriv --reuid=$NOBODY --regid=$NOBODY --clear-groups env "$@"
    else
        "$@"
    fi
}

# choose_place: sets PLACE, the directory that holds everything made here:
# virtualenvs, uWSGI's wheels and the logs; and WHY, if that is elsewhere.
#
# It is the checkout, where people look for .venv/ and .tox/, unless we are
# root and the service user can't reach the checkout (/root is mode 0700):
# Python code that it can't read serves nothing. Nor does root leave its files
# in somebody else's checkout (`sudo tools/system-packages.sh`).
choose_place() {
    PLACE=$TOP WHY=''
    if is_root; then
        as_service test -r "$TOP/setup.cfg" 2>/dev/null ||
            WHY="The service user cannot read $TOP"
        [ -O "$TOP" ] || WHY="$TOP is not root's"
    fi
    if [ -n "$WHY" ]; then
        PLACE=/opt/glance-wsgi/$(basename "$TOP")
        PLACE+=-$(sha256sum <<<"$TOP" | cut -c 1-8)
    fi
    LOG=$PLACE/.log/$(basename "$0" .sh).log
    { mkdir -p "$PLACE/.log" && touch "$LOG"; } 2>/dev/null ||
        die "cannot write $LOG; use a checkout of your own"
}

# python_facts PYTHON: prints the real interpreter behind a shim, a symlink
# or a virtualenv, and its version; fails if it does not run.
python_facts() {
    "$1" -c 'if True:
        import os, sys
        real = getattr(sys, "_base_executable", None) or sys.executable
        print(os.path.realpath(real), "%d.%d" % sys.version_info[:2])
    ' 2>/dev/null
}

# serves PYTHON: can the service user run it? A home with mode 0700, such as
# that of root's pyenv, hides the interpreter from it.
serves() {
    (cd / && as_service "$1" -I -c 'import json') >/dev/null 2>&1
}

# choose_python: sets PYTHON (the real interpreter) and PYTHON_VERSION from
# the first candidate that the services can use.
choose_python() {
    local candidate facts why=''
    for candidate in ${PYTHON:-python3 /usr/bin/python3}; do
        if ! facts=$(python_facts "$candidate"); then
            why+="; $candidate does not run"
            continue
        fi
        read -r PYTHON PYTHON_VERSION <<<"$facts"
        case $PYTHON_VERSION in
            3.[0-9])
                why+="; $PYTHON is $PYTHON_VERSION"
                continue ;;
        esac
        serves "$PYTHON" && return
        why+="; the service user cannot read $PYTHON"
    done
    die "no Python 3.10 or newer can serve: ${why#; }. Install python3," \
        "or name one: PYTHON=/path/to/python3 $0"
}

# find_python VERSION: prints the real interpreter of a version, wherever it
# is: on PATH (a pyenv shim there may lead nowhere), or a pyenv's own.
find_python() {
    local candidate facts
    for candidate in "python$1" "/usr/bin/python$1" \
            "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
        facts=$(python_facts "$candidate") || continue
        [ "${facts##* }" = "$1" ] && echo "${facts% *}" && return
    done
    return 1
}

# The Pythons that each series' Glance supports, of those tested.
series_pythons() {
    case $1 in
        2025.1) echo 3.10 3.11 ;;
        2025.2) echo 3.10 3.11 3.12 ;;
        2026.1) echo 3.10 3.11 3.12 3.13 ;;
        2026.2) echo 3.11 3.12 3.13 ;;
        *) return 1 ;;
    esac
}

# step TEXT COMMAND...: runs a step, prints one line with its seconds. What
# the command says goes to the log, whose end is shown if it fails.
step() {
    local text=$1 start=$SECONDS code
    shift
    echo "== $(date -Is) $text: $*" >>"$LOG"
    # A progress line is for whoever waits: say what runs before it ends.
    printf '%s ... ' "$text"
    # Not `|| code=$?`: bash then ignores `set -e` in all that is called.
    set +e
    ( set -e; "$@" ) >>"$LOG" 2>&1 </dev/null
    code=$?
    set -e
    if [ "$code" != 0 ]; then
        echo "failed"
        tail -n 15 "$LOG" | sed 's/^/    /' >&2
        die "$text failed; everything it said: $LOG"
    fi
    echo "$((SECONDS - start)) s"
}

# lock NAME: one run of a script at a time, for as long as it lives: two would
# install over each other. It is file descriptor 9, which services and tests
# must not inherit: start them with 9>&-.
lock() {
    exec 9>"$PLACE/.log/$1.lock"
    flock -n 9 && return
    echo "Waiting for another tools/$1.sh"
    flock 9
}

# new_venv DIRECTORY: an empty virtualenv with our pip.
new_venv() {
    rm -rf "$1"
    "$PYTHON" -m venv "$1"
    "$1/bin/python" -m pip install -q "$PIP"
}

# tool_venv NAME REQUIREMENT: a virtualenv for one tool, apart from what the
# services use; it is made once. Prints nothing, sets TOOL to its program.
tool_venv() {
    local venv=$PLACE/.tools/$1 mark=$PLACE/.tools/$1/.glance-wsgi
    export TOOL=$venv/bin/$1
    # The mark comes last, so that an interrupted one is made again.
    [ "$(cat "$mark" 2>/dev/null)" = "$2 $PYTHON" ] && return
    step "Installing $2" install_tool "$venv" "$2"
    echo "$2 $PYTHON" >"$mark"
}

install_tool() {
    new_venv "$1" && "$1/bin/python" -m pip install -q "$2"
}

# uwsgi_wheel PYTHON CONSTRAINTS: builds uWSGI for PYTHON with our features,
# once; sets WHEELS to the directory with the wheel.
#
# pip's own cache of wheels knows a package's version but not what it was
# built with or which libpython it was linked to, so it may hold another
# project's uWSGI. Ours is built past that cache, and kept under a name that
# changes with everything that matters.
uwsgi_wheel() {
    local profile=$TOP/tools/uwsgi-build.ini requirement key
    requirement=$(grep -i '^uwsgi==' "$2")
    key=$({ echo "$requirement $(python_facts "$1")"; cat "$profile"; } |
        sha256sum | cut -c 1-16)
    WHEELS=$PLACE/.wheels/$key
    mkdir -p "$WHEELS"
    # Several environments are installed at once, and one builds it for all.
    (
        flock 8
        compgen -G "$WHEELS/*.whl" >/dev/null && exit
        UWSGI_PROFILE=$profile CPUCOUNT=$(nproc) "$1" -m pip wheel -q \
            --no-cache-dir --no-deps --no-binary uWSGI \
            --build-constraint "$2" -w "$WHEELS" "$requirement"
    ) 8>"$WHEELS/.lock"
}

# install PYTHON SERIES ARGUMENT...: `pip install` into PYTHON's virtualenv
# with the versions of an OpenStack series, for what is built on the way too.
install() {
    local python=$1 constraints=$TOP/constraints/$2.txt
    shift 2
    uwsgi_wheel "$python" "$constraints"
    "$python" -m pip install -c "$constraints" \
        --build-constraint "$constraints" --find-links "$WHEELS" "$@"
}
