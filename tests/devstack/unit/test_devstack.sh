#!/bin/bash
#
# What the stubs stand for is in a real devstack, given its DEVSTACK_DIR.

# devstack PATTERN: whether a line of its functions and variables fits
function devstack {
    [[ -n "${DEVSTACK_DIR:-}" ]] || skip "DEVSTACK_DIR is not set"
    grep -rqE -e "$1" "$DEVSTACK_DIR"/{stackrc,functions,functions-common} \
        "$DEVSTACK_DIR"/{stack.sh,inc,lib}
}

function test_devstack_has_every_function_that_is_stubbed {
    local name
    for name in die is_service_enabled is_ubuntu ipv6_unquote \
        apache_site_config_for iniset iniget wait_for_service echo_summary \
        setup_develop pip_uninstall install_apache_wsgi remove_uwsgi_config \
        restart_apache_server get_or_create_service get_or_create_endpoint; do
        declare -F "$name" >/dev/null || fail "there is no stub of $name"
        devstack "^function $name\b" || fail "devstack has no function $name"
    done
}

function test_devstack_has_every_variable_that_is_read {
    local name
    for name in $(sed -n 's/^\([A-Z_]*\)=.*/\1/p' "$HERE/stubs.sh"); do
        [[ "$name" != CALLS && "$name" != GLANCE_WSGI_* ]] || continue
        devstack "^\s*(export )?$name=" || fail "devstack has no $name"
    done
}

function test_devstack_calls_the_functions_that_are_replaced {
    local name
    for name in start_glance stop_glance; do
        devstack "^function $name\b" || fail "devstack has no $name"
    done
    grep -qE '^ +start_glance$' "$DEVSTACK_DIR/stack.sh" || fail stack.sh
    grep -qE '^ +stop_glance$' "$DEVSTACK_DIR/unstack.sh" || fail unstack.sh
}

function test_devstack_calls_every_phase {
    devstack '' # is there one?
    local phase
    for phase in pre-install install post-config extra test-config; do
        grep -qx "run_phase stack $phase" "$DEVSTACK_DIR/stack.sh" ||
            fail "stack.sh has no phase $phase"
    done
    grep -qx "run_phase unstack" "$DEVSTACK_DIR/unstack.sh" || fail unstack
    grep -qx "run_phase clean" "$DEVSTACK_DIR/clean.sh" || fail clean
}
