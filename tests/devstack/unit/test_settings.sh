#!/bin/bash
#
# The settings: defaults that depend on nothing unset, all of them documented.

# settings WORD...: prints what a shell with nothing unset makes of them
function settings {
    env -i PATH="$PATH" "$@" bash -o nounset -o errexit -c '
        source "$0/devstack/settings"
        set | grep -E "^(GLANCE_WSGI_|GLANCE_URL)"
    ' "$PLUGIN"
}

function test_defaults_depend_on_nothing_unset {
    local found
    found=$(settings)
    [[ "$found" == *"GLANCE_WSGI_SERVER=mod_wsgi"* ]] || fail "$found"
    [[ "$found" == *"GLANCE_URL=http://127.0.0.1:9292"* ]] || fail "$found"
    [[ "$found" == *"=/etc/glance/healthcheck_disable"* ]] || fail "$found"
    [[ "$found" == *"=/etc/glance-remote"* ]] || fail "$found"
}

function test_every_setting_can_be_overridden {
    local name found
    for name in $(settings | sed -n 's/^\(GLANCE_WSGI_[A-Z_]*\)=.*/\1/p'); do
        [[ "$name" != GLANCE_WSGI_DIR ]] || continue
        found=$(settings "$name=mine")
        grep -qx "$name=mine" <<<"$found" || fail "$name: $found"
    done
}

function test_every_setting_is_documented {
    local name
    for name in $(settings | sed -n 's/^\(GLANCE_WSGI_[A-Z_]*\)=.*/\1/p'); do
        [[ "$name" != GLANCE_WSGI_DIR ]] || continue
        grep -qF "\`\`$name\`\`" "$PLUGIN/doc/source/devstack.rst" ||
            fail "doc/source/devstack.rst does not name $name"
    done
}

function test_no_setting_is_documented_that_does_not_exist {
    local name known
    known=$(settings)
    for name in $(grep -oE '\bGLANCE_WSGI_[A-Z_]+' \
        "$PLUGIN/doc/source/devstack.rst" "$PLUGIN/devstack/README.rst" |
        cut -d: -f2 | sort -u); do
        grep -q "^$name=" <<<"$known" || fail "there is no $name"
    done
}

function test_a_clone_of_any_name_finds_itself {
    local clone=$PLACE/some-other-name
    mkdir "$clone"
    cp -r "$PLUGIN/devstack" "$clone/devstack"
    PLUGIN=$clone
    phase stack install
    expect_call "setup_develop $clone"
}

function test_sourcing_twice_changes_nothing {
    phase stack pre-install
    local before=$GLANCE_URL
    phase stack pre-install
    expect_equal "$GLANCE_URL" "$before"
}
