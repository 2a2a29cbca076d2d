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

count=0 failed=0 skipped=0
for file in "$HERE"/test_*.sh; do
    for name in $(sed -n 's/^function \(test_[a-z0-9_]*\) {$/\1/p' "$file"); do
        [[ "$name" == *"${1:-}"* ]] || continue
        count=$((count + 1))
        mkdir "$place/$name"
        code=0
        PLACE=$place/$name bash -c '
            source "$HERE/stubs.sh"
            source "$HERE/expect.sh"
            source "$0"
            set -o errexit
            "$1"
        ' "$file" "$name" >"$place/$name/output" 2>&1 || code=$?
        case $code in
            0) ;;
            77)
                skipped=$((skipped + 1))
                echo "skipped $name: $(tail -n 1 "$place/$name/output")"
                ;;
            *)
                failed=$((failed + 1))
                echo "FAILED $name"
                sed 's/^/    /' "$place/$name/output"
                ;;
        esac
    done
done
echo "$((count - failed - skipped)) passed, $skipped skipped, $failed failed"
[[ "$count" -gt 0 && "$failed" -eq 0 ]]
