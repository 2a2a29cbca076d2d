#!/bin/bash
#
# What devstack has when it sources the plugin: variables with values of a
# test's own, and functions that note that they were called, and with what.
#
# CALLS is the file of notes; every path is below PLACE.

CALLS=$PLACE/calls
: >"$CALLS"

# --- variables, as stackrc and lib/* define them ---

DEST=$PLACE/stack
DATA_DIR=$DEST/data
STACK_USER=stack
REGION_NAME=RegionOne
SERVICE_TIMEOUT=60
WORKER_TIMEOUT=80
API_WORKERS=2
PYTHON=$PLACE/venv/bin/python3
ENABLED_SERVICES=key,mysql,g-api
GLANCE_BIN_DIR=$PLACE/venv/bin
GLANCE_CONF_DIR=$PLACE/etc/glance
GLANCE_API_CONF=$GLANCE_CONF_DIR/glance-api.conf
GLANCE_UWSGI_CONF=$GLANCE_CONF_DIR/glance-uwsgi.ini
GLANCE_MULTISTORE_FILE_IMAGE_DIR=$DATA_DIR/glance
GLANCE_SERVICE_HOST=192.0.2.1
GLANCE_SERVICE_LISTEN_ADDRESS=0.0.0.0
GLANCE_SERVICE_PORT=9292
GLANCE_SERVICE_PROTOCOL=http
APACHE_LOG_DIR=$PLACE/log/apache2
DEVSTACK_CERT=$DATA_DIR/devstack-cert.pem
SSL_BUNDLE_FILE=$DATA_DIR/ca-bundle.pem
TEMPEST_CONFIG=$PLACE/tempest.conf
USE_CINDER_FOR_GLANCE=False
GLOBAL_VENV=True
export PLACE CALLS

# --- where the plugin looks for what "glance-wsgi install" makes ---

# shellcheck disable=SC2034 # lib/glance-wsgi reads them
GLANCE_WSGI_HOME=$PLACE/home GLANCE_WSGI_LOG_DIR=$PLACE/log/glance-wsgi
GLANCE_WSGI_BIN_DIR=$PLACE/bin

# --- functions ---

# note WORD...: a line in the file of notes
function note {
    echo "$*" >>"$CALLS"
}

function die {
    shift # the line's number
    echo "[ERROR] $*" >&2
    exit 1
}

function is_service_enabled {
    [[ ",$ENABLED_SERVICES," == *",$1,"* ]]
}

function is_ubuntu {
    [[ "${DISTRIBUTION:-ubuntu}" == ubuntu ]]
}

# As root, who the tests need not be; if they are, nothing of the machine's
# own is removed. stack.sh allows its user no other.
function sudo {
    [[ "$1" != -* ]] || return 1
    local word
    for word in "$@"; do
        if [[ "$1" == rm && "$word" == /* && "$word" != "$PLACE"/* ]]; then
            note "not removed: $word"
            return
        fi
    done
    "$@"
}

# As somebody else, but not as the one whom LOCKED_OUT names.
function runuser {
    note "as $2: ${*:4}"
    [[ "$2" != "${LOCKED_OUT:-}" ]] || return 1
    "${@:4}"
}

function chown {
    note chown "$@"
}

function ipv6_unquote {
    echo "$1" | tr -d '[]'
}

function apache_site_config_for {
    echo "$PLACE/etc/apache2/$1.conf"
}

# iniset FILE SECTION KEY VALUE: a line for each, the last one wins
function iniset {
    mkdir -p "$(dirname "$1")"
    echo "$2|$3|$4" >>"$1"
}

function iniget {
    local found
    found=$(grep -F "$2|$3|" "$1" 2>/dev/null | tail -n 1) || true
    echo "${found#"$2|$3|"}"
}

function wait_for_service {
    note wait_for_service "$@"
    [[ -z "${SILENT:-}" ]]
}

for name in echo_summary setup_develop pip_uninstall install_apache_wsgi \
    remove_uwsgi_config restart_apache_server get_or_create_service \
    get_or_create_endpoint; do
    eval "function $name { note $name \"\$@\"; }"
done

# --- programs ---

mkdir -p "$GLANCE_BIN_DIR" "$GLANCE_WSGI_BIN_DIR" "$GLANCE_CONF_DIR" \
    "$DATA_DIR" "$APACHE_LOG_DIR"
cat >"$GLANCE_BIN_DIR/glance-wsgi" <<'PROGRAM'
#!/bin/bash
echo "glance-wsgi $*" >>"$CALLS"
if [[ -e $PLACE/refusal ]]; then
    cat "$PLACE/refusal" >&2
    exit 24
fi
echo "Serving."
PROGRAM
printf '#!/bin/bash\n' >"$PYTHON"
chmod +x "$GLANCE_BIN_DIR/glance-wsgi" "$PYTHON"
