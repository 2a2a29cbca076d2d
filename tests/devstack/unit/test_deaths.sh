#!/bin/bash
#
# Settings that cannot work end stack.sh, with the reason.

function test_an_unknown_server_is_named_with_those_that_are_known {
    GLANCE_WSGI_SERVER=gunicorn
    expect_death 'is "gunicorn": give uwsgi, apache-uwsgi or mod_wsgi' \
        phase stack pre-install
}

function test_a_number_that_is_none_is_refused_by_its_name {
    local name
    for name in WORKERS THREADS TASK_MERCY REMOTE_PORT; do
        local "GLANCE_WSGI_$name=many"
        expect_death "GLANCE_WSGI_$name is \"many\"" phase stack pre-install
        unset "GLANCE_WSGI_$name"
    done
}

function test_no_workers_at_all_are_refused {
    GLANCE_WSGI_WORKERS=0
    expect_death 'GLANCE_WSGI_WORKERS is "0"' phase stack pre-install
}

function test_a_relative_drain_file_is_refused {
    GLANCE_WSGI_DRAIN_FILE=drain
    expect_death 'is "drain": give an absolute path' phase stack pre-install
}

function test_two_nodes_on_one_port_are_refused {
    ENABLED_SERVICES+=,g-api-r
    GLANCE_WSGI_REMOTE_PORT=9292
    expect_death "each node needs its own" phase stack pre-install
}

function test_a_second_node_without_the_first_is_refused {
    ENABLED_SERVICES=key,mysql,g-api-r
    expect_death "enable both" phase stack pre-install
}

function test_cinders_store_is_refused_where_glance_has_no_sudo {
    USE_CINDER_FOR_GLANCE=True
    phase stack pre-install
    GLANCE_WSGI_SERVER=uwsgi
    expect_death "USE_CINDER_FOR_GLANCE needs sudo" phase stack pre-install
}

function test_mod_wsgi_with_a_python_closed_to_apaches_user_is_refused {
    LOCKED_OUT=www-data
    expect_death "the user www-data can't run $PYTHON" phase stack install
}

function test_apaches_user_has_the_name_that_the_distribution_gives_it {
    DISTRIBUTION=fedora
    LOCKED_OUT=apache
    expect_death "the user apache can't run $PYTHON" phase stack install
}

function test_mod_wsgi_with_a_python_closed_to_the_stack_user_is_refused {
    LOCKED_OUT=$STACK_USER
    expect_death "the user $STACK_USER can't run $PYTHON" phase stack install
}

function test_the_python_of_apaches_user_matters_under_mod_wsgi_only {
    LOCKED_OUT=www-data
    GLANCE_WSGI_SERVER=apache-uwsgi
    phase stack install
}

function test_tls_proxy_without_a_certificate_is_refused {
    ENABLED_SERVICES+=,tls-proxy
    expect_death "tls-proxy is enabled, but GLANCE_WSGI_TLS_CERTIFICATE" \
        phase stack install
}

function test_tls_proxy_with_half_a_pair_is_refused {
    ENABLED_SERVICES+=,tls-proxy
    touch "$DEVSTACK_CERT"
    GLANCE_WSGI_TLS_KEY=$PLACE/missing.key
    expect_death "GLANCE_WSGI_TLS_KEY, \"$PLACE/missing.key\"" \
        phase stack install
}

function test_tls_proxy_with_an_authority_that_is_not_there_is_refused {
    ENABLED_SERVICES+=,tls-proxy
    touch "$DEVSTACK_CERT"
    expect_death "GLANCE_WSGI_TLS_CA, \"$SSL_BUNDLE_FILE\"" \
        phase stack install
}

function test_tls_proxy_with_its_certificate_is_accepted {
    ENABLED_SERVICES+=,tls-proxy
    touch "$DEVSTACK_CERT" "$SSL_BUNDLE_FILE"
    phase stack install
}

function test_tls_proxy_needs_no_authority_that_everybody_trusts {
    ENABLED_SERVICES+=,tls-proxy
    touch "$DEVSTACK_CERT"
    SSL_BUNDLE_FILE=
    phase stack install
    start_glance
    expect_call "--tls-key $DEVSTACK_CERT"
    expect_no_call --tls-ca
}

function test_what_install_refuses_is_said {
    echo "glance-wsgi: 24: port 9292 is in use. Stop it." >"$PLACE/refusal"
    phase stack pre-install
    expect_death "g-api did not start: glance-wsgi: 24: port 9292 is in use" \
        start_glance
}

function test_an_endpoint_that_does_not_answer_is_named {
    SILENT=yes
    phase stack pre-install
    expect_death "http://192.0.2.1:9292 does not answer" start_glance
}

function test_what_uninstall_refuses_is_said {
    phase stack pre-install
    mkdir -p "$GLANCE_WSGI_HOME/before"
    echo "glance-wsgi: 30: an import goes on." >"$PLACE/refusal"
    expect_death "g-api did not stop: glance-wsgi: 30: an import goes on" \
        stop_glance
}

function test_unstack_without_the_program_says_how_to_get_it_back {
    phase stack pre-install
    mkdir -p "$GLANCE_WSGI_HOME/before"
    rm "$GLANCE_BIN_DIR/glance-wsgi"
    expect_death "\"pip install $PLUGIN\"" stop_glance
}
