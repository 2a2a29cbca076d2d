#!/bin/bash
#
# What tests of the plugin do and expect.

PLUGIN=${PLUGIN:-$(cd "$HERE/../../.." && pwd)}

# phase MODE [PHASE]: what devstack does in a phase
function phase {
    source "$PLUGIN/devstack/settings"
    source "$PLUGIN/devstack/plugin.sh" "$@"
}

# fail WORD...: end the test with what is wrong
function fail {
    echo "$*"
    echo "--- calls:"
    cat "$CALLS"
    exit 1
}

# skip WORD...: end the test for something that is missing
function skip {
    echo "$*"
    exit 77
}

# expect_call TEXT: some call has it
function expect_call {
    grep -qF -e "$1" "$CALLS" || fail "no call has: $1"
}

# expect_no_call TEXT
function expect_no_call {
    ! grep -qF -e "$1" "$CALLS" || fail "a call has: $1"
}

# expect_first FIRST SECOND: a call with FIRST comes before one with SECOND
function expect_first {
    local first second
    first=$(grep -nF -m 1 -e "$1" "$CALLS") || fail "no call has: $1"
    second=$(grep -nF -m 1 -e "$2" "$CALLS") || fail "no call has: $2"
    [[ "${first%%:*}" -lt "${second%%:*}" ]] || fail "$2 comes before $1"
}

# expect_set FILE SECTION KEY VALUE
function expect_set {
    local found
    found=$(iniget "$1" "$2" "$3")
    [[ "$found" == "$4" ]] || fail "[$2] $3 is \"$found\", not \"$4\""
}

# expect_equal FOUND WANTED
function expect_equal {
    [[ "$1" == "$2" ]] || fail "\"$1\", not \"$2\""
}

# expect_gone PATH...
function expect_gone {
    local path
    for path in "$@"; do
        [[ ! -e "$path" ]] || fail "$path is still there"
    done
}

# expect_death TEXT COMMAND...: the command ends stack.sh, and says so
function expect_death {
    local text=$1 said
    shift
    if said=$("$@" 2>&1); then
        fail "it did not die: $*"
    fi
    [[ "$said" == *"[ERROR]"*"$text"* ]] || fail "it said: $said"
}
