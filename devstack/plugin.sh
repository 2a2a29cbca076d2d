#!/bin/bash
#
# devstack/plugin.sh: which function runs in which phase.
#
# devstack sources this with the phase as arguments:
# https://docs.openstack.org/devstack/latest/plugins.html

source "$(dirname "${BASH_SOURCE[0]}")/lib/glance-wsgi"

if is_glance_wsgi_enabled; then
    case "$1${2:+ $2}" in
        override_defaults | source)
            # All of it is in settings, which devstack sources itself; it
            # runs this file in the phases below only.
            ;;
        "stack pre-install")
            echo_summary "Checking the settings of glance-wsgi"
            check_glance_wsgi_settings
            ;;
        "stack install")
            echo_summary "Installing glance-wsgi"
            install_glance_wsgi
            check_glance_wsgi_environment
            ;;
        "stack post-config")
            echo_summary "Configuring Glance for $GLANCE_WSGI_SERVER"
            configure_glance_wsgi
            ;;
        "stack extra")
            # start_glance has started it: images are uploaded before this.
            ;;
        "stack test-config")
            echo_summary "Telling Tempest about Glance"
            configure_glance_wsgi_tempest
            ;;
        unstack)
            stop_glance_wsgi
            ;;
        clean)
            cleanup_glance_wsgi
            ;;
    esac
fi
