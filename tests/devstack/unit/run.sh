#!/bin/bash
# tests/devstack/unit/run.sh [PATTERN]: the tests of the devstack plugin
# without devstack; those whose names have PATTERN in them.
#
# A test is a function test_* of test_*.sh. Each runs in a shell and a
# directory of its own, as stack.sh runs the plugin: any error ends it.
set -o errexit -o nounset -o pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
export HERE

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

count=0 failed=0
for file in "$HERE"/test_*.sh; do
    for name in $(sed -n 's/^function \(test_[a-z0-9_]*\) {$/\1/p' "$file"); do
        [[ "$name" == *"${1:-}"* ]] || continue
        count=$((count + 1))
        mkdir "$place/$name"
        if ! PLACE=$place/$name bash -c '
            source "$HERE/stubs.sh"
            source "$HERE/expect.sh"
            source "$0"
            set -o errexit
            "$1"
        ' "$file" "$name" >"$place/$name/output" 2>&1; then
            failed=$((failed + 1))
            echo "FAILED $name"
            sed 's/^/    /' "$place/$name/output"
        fi
    done
done
echo "$((count - failed)) passed, $failed failed"
[[ "$count" -gt 0 && "$failed" -eq 0 ]]
