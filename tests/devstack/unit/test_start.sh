#!/bin/bash
#
# stack.sh calls start_glance, and what that passes on to "install".

function start {
    phase stack pre-install
    start_glance
}

function test_start_installs_for_what_devstack_has_configured {
    start
    expect_call "glance-wsgi install --server mod_wsgi"
    expect_call "--glance-config-dir $GLANCE_CONF_DIR --run-as $STACK_USER"
    expect_call "--listen 0.0.0.0:9292 --public-host 192.0.2.1"
    expect_call "--workers 2 --task-mercy 80"
    expect_first "glance-wsgi install" \
        "wait_for_service 60 http://192.0.2.1:9292"
}

function test_what_is_not_set_is_left_to_the_toolkit {
    start
    expect_no_call --threads
    expect_no_call --tls
    expect_no_call --remote
}

function test_settings_of_local_conf_win {
    GLANCE_WSGI_SERVER=uwsgi
    GLANCE_WSGI_WORKERS=5
    GLANCE_WSGI_THREADS=7
    GLANCE_WSGI_TASK_MERCY=11
    start
    expect_call "--server uwsgi"
    expect_call "--workers 5 --threads 7 --task-mercy 11"
}

function test_an_ipv6_address_has_its_brackets_where_a_port_follows {
    GLANCE_SERVICE_LISTEN_ADDRESS=::
    GLANCE_SERVICE_HOST="[2001:db8::1]"
    start
    expect_call "--listen [::]:9292 --public-host 2001:db8::1"
    expect_call "wait_for_service 60 http://[2001:db8::1]:9292"
}

function test_tls_proxy_means_devstacks_own_certificate {
    ENABLED_SERVICES+=,tls-proxy
    GLANCE_SERVICE_PROTOCOL=https
    start
    expect_call "--tls-certificate $DEVSTACK_CERT --tls-key $DEVSTACK_CERT"
    expect_call "--tls-ca $SSL_BUNDLE_FILE"
    expect_call "wait_for_service 60 https://192.0.2.1:9292"
}

function test_another_certificate_may_be_given {
    ENABLED_SERVICES+=,tls-proxy
    GLANCE_WSGI_TLS_CERTIFICATE=/etc/ssl/one.pem
    GLANCE_WSGI_TLS_KEY=/etc/ssl/one.key
    start
    expect_call "--tls-certificate /etc/ssl/one.pem --tls-key /etc/ssl/one.key"
}

function test_the_second_node_is_the_first_one_with_places_of_its_own {
    ENABLED_SERVICES+=,g-api-r
    touch "$GLANCE_CONF_DIR/policy.yaml"
    start
    local conf=$PLACE/etc/glance-remote data=$DATA_DIR/glance-remote
    [[ -e "$conf/policy.yaml" ]] || fail "it has not all of the configuration"
    expect_set "$conf/glance-api.conf" DEFAULT worker_self_reference_url \
        http://192.0.2.1:9293
    expect_set "$conf/glance-api.conf" DEFAULT image_cache_dir "$data/cache"
    expect_set "$conf/glance-api.conf" os_glance_staging_store \
        filesystem_store_datadir "$data/os_glance_staging_store"
    expect_set "$conf/glance-api.conf" os_glance_tasks_store \
        filesystem_store_datadir "$data/os_glance_tasks_store"
    expect_set "$conf/glance-api-paste.ini" app:healthcheck \
        disable_by_file_path "$conf/healthcheck_disable"
    [[ -d "$data/cache" ]] || fail "it has no directory for its cache"
}

function test_the_second_node_is_served_and_registered {
    ENABLED_SERVICES+=,g-api-r
    start
    expect_call "--remote-config-dir $PLACE/etc/glance-remote"
    expect_call "--remote-listen 0.0.0.0:9293"
    expect_first "get_or_create_service glance_remote image_remote" \
        "get_or_create_endpoint image_remote RegionOne http://192.0.2.1:9293"
    expect_first "glance-wsgi install" get_or_create_endpoint
}

function test_without_the_second_node_nothing_of_it_is_registered {
    start
    expect_no_call get_or_create
}

function test_stop_glance_is_ours_too {
    phase stack pre-install
    mkdir -p "$GLANCE_WSGI_HOME/before"
    stop_glance
    expect_call "glance-wsgi uninstall"
}
