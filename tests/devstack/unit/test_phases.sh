#!/bin/bash
#
# Each phase of stack.sh, unstack.sh and clean.sh does its part, and no other.

function test_without_glance_no_phase_does_anything {
    ENABLED_SERVICES=key,mysql
    local words
    for words in override_defaults source "stack pre-install" \
        "stack install" "stack post-config" "stack extra" \
        "stack test-config" unstack clean; do
        # shellcheck disable=SC2086 # mode and phase
        phase $words
    done
    expect_equal "$(cat "$CALLS")" ""
}

function test_the_early_phases_and_extra_leave_all_to_settings_and_start {
    phase override_defaults
    phase source
    phase stack extra
    expect_equal "$(cat "$CALLS")" ""
}

function test_a_phase_that_is_yet_to_be_invented_is_no_error {
    phase stack something-new
    expect_equal "$(cat "$CALLS")" ""
}

function test_pre_install_checks_and_changes_nothing {
    phase stack pre-install
    expect_equal "$(cat "$CALLS")" \
        "echo_summary Checking the settings of glance-wsgi"
}

function test_install_puts_the_package_where_glance_is {
    phase stack install
    expect_call "setup_develop $PLUGIN"
    expect_no_call " smoke"
}

function test_install_brings_the_smoke_tests_where_there_is_tempest {
    ENABLED_SERVICES+=,tempest
    phase stack install
    expect_call "setup_develop $PLUGIN smoke"
}

function test_install_has_the_programs_on_the_path {
    # An earlier stack.sh has done it, too.
    phase stack install
    phase stack install
    local program
    for program in glance-wsgi glance-wsgi-manage; do
        expect_equal "$(readlink "$GLANCE_WSGI_BIN_DIR/$program")" \
            "$GLANCE_BIN_DIR/$program"
    done
}

# What pip does with GLOBAL_VENV=False.
function without_virtualenv {
    GLOBAL_VENV=False
    GLANCE_BIN_DIR=$GLANCE_WSGI_BIN_DIR
    # shellcheck disable=SC2317 # the phase calls it
    function setup_develop {
        local program
        for program in glance-wsgi glance-wsgi-manage; do
            echo "of the system" >"$GLANCE_BIN_DIR/$program"
        done
    }
}

function test_install_in_the_system_links_nothing {
    without_virtualenv
    phase stack install
    expect_equal "$(cat "$GLANCE_WSGI_BIN_DIR/glance-wsgi")" "of the system"
}

function test_install_in_the_system_does_not_write_into_a_virtualenv {
    phase stack install
    local program=$GLANCE_BIN_DIR/glance-wsgi before
    before=$(cat "$program")
    without_virtualenv
    phase stack install
    expect_equal "$(cat "$program")" "$before"
    expect_equal "$(cat "$GLANCE_WSGI_BIN_DIR/glance-wsgi")" "of the system"
}

function test_install_has_apache_ready_before_the_package {
    GLANCE_WSGI_SERVER=apache-uwsgi
    phase stack install
    expect_first install_apache_wsgi setup_develop
}

function test_uwsgi_alone_needs_no_apache {
    GLANCE_WSGI_SERVER=uwsgi
    phase stack install
    expect_no_call install_apache_wsgi
}

function test_post_config_takes_the_proxy_of_devstack_away {
    mkdir -p "$PLACE/etc/apache2"
    touch "$(apache_site_config_for glance-api)"
    phase stack post-config
    expect_first "remove_uwsgi_config $GLANCE_UWSGI_CONF glance-api" \
        restart_apache_server
    expect_gone "$(apache_site_config_for glance-api)"
}

function test_post_config_tells_the_node_its_own_address_and_drain_file {
    phase stack post-config
    expect_set "$GLANCE_API_CONF" DEFAULT worker_self_reference_url \
        http://192.0.2.1:9292
    expect_set "$GLANCE_CONF_DIR/glance-api-paste.ini" app:healthcheck \
        disable_by_file_path "$GLANCE_CONF_DIR/healthcheck_disable"
}

function test_post_config_gives_a_directory_to_each_file_store_without_one {
    iniset "$GLANCE_API_CONF" DEFAULT enabled_backends \
        fast:file,cheap:file,web:http
    iniset "$GLANCE_API_CONF" cheap filesystem_store_datadir /srv/cheap
    phase stack post-config
    expect_set "$GLANCE_API_CONF" fast filesystem_store_datadir \
        "$DATA_DIR/glance/fast/"
    expect_set "$GLANCE_API_CONF" cheap filesystem_store_datadir /srv/cheap
    expect_set "$GLANCE_API_CONF" web filesystem_store_datadir ""
}

function test_post_config_has_no_notifications_sent_without_a_broker {
    iniset "$GLANCE_API_CONF" oslo_messaging_notifications driver messagingv2
    phase stack post-config
    expect_set "$GLANCE_API_CONF" oslo_messaging_notifications driver noop
}

function test_post_config_leaves_notifications_to_a_broker_alone {
    iniset "$GLANCE_API_CONF" oslo_messaging_notifications driver messagingv2
    iniset "$GLANCE_API_CONF" DEFAULT transport_url rabbit://192.0.2.1
    phase stack post-config
    expect_set "$GLANCE_API_CONF" oslo_messaging_notifications driver \
        messagingv2
}

function test_test_config_tells_tempest_of_the_cache {
    ENABLED_SERVICES+=,tempest
    iniset "$GLANCE_API_CONF" paste_deploy flavor keystone+cachemanagement
    phase stack test-config
    expect_set "$TEMPEST_CONFIG" image image_caching_enabled True
}

function test_test_config_tells_tempest_of_no_cache_where_there_is_none {
    ENABLED_SERVICES+=,tempest
    iniset "$GLANCE_API_CONF" paste_deploy flavor keystone
    phase stack test-config
    expect_gone "$TEMPEST_CONFIG"
}

function test_test_config_writes_nothing_without_tempest {
    iniset "$GLANCE_API_CONF" paste_deploy flavor keystone+cachemanagement
    phase stack test-config
    expect_gone "$TEMPEST_CONFIG"
}

# What "glance-wsgi install" leaves for "uninstall".
function installed {
    mkdir -p "$GLANCE_WSGI_HOME/before"
}

function test_unstack_uninstalls {
    installed
    phase unstack
    expect_call "glance-wsgi uninstall"
}

function test_unstack_has_nothing_to_do_where_nothing_is_installed {
    phase unstack
    expect_no_call glance-wsgi
}

function test_clean_leaves_nothing {
    installed
    phase stack pre-install
    phase stack install
    mkdir -p "$GLANCE_WSGI_LOG_DIR" "$GLANCE_WSGI_REMOTE_CONF_DIR" \
        "$PLACE/etc/apache2"
    touch "$APACHE_LOG_DIR/glance-wsgi-error.log" \
        "$APACHE_LOG_DIR/error.log" "$GLANCE_WSGI_DRAIN_FILE" \
        "$(apache_site_config_for glance-api)"
    phase clean
    expect_gone "$GLANCE_WSGI_HOME" "$GLANCE_WSGI_LOG_DIR" \
        "$GLANCE_WSGI_REMOTE_CONF_DIR" "$GLANCE_WSGI_DRAIN_FILE" \
        "$APACHE_LOG_DIR/glance-wsgi-error.log" \
        "$(apache_site_config_for glance-api)" \
        "$GLANCE_WSGI_BIN_DIR/glance-wsgi" \
        "$GLANCE_WSGI_BIN_DIR/glance-wsgi-manage"
    expect_no_call pip_uninstall
    [[ -e "$APACHE_LOG_DIR/error.log" ]] || fail "others have lost a log"
    expect_call "glance-wsgi uninstall"
    expect_call \
        "not removed: /var/lib/apache2/site/disabled_by_admin/glance-api"
}

function test_clean_takes_the_package_out_of_the_system {
    without_virtualenv
    phase stack install
    phase clean
    expect_call "pip_uninstall glance-wsgi"
}

function test_clean_is_content_with_a_machine_without_anything_of_ours {
    rmdir "$APACHE_LOG_DIR"
    phase clean
    expect_no_call glance-wsgi\ uninstall
}
