#!/bin/sh
# Brings Glance's database to the installed release while Glance serves.
# Usage: upgrade.sh CONFIG_FILE RESTART_COMMAND...
#
# The command restarts every Glance with the new release, on every host: all
# of them must run it before what the older one needs is removed.
set -u
config=$1
shift

restarted=no
# Each phase once, with a check before and after it; never for ever.
for attempt in 1 2 3 4 5 6 7; do
    glance-wsgi-manage --config-file "$config" db sync --check
    code=$?
    # No older Glance may add rows that need migrating, or need what goes.
    if [ "$restarted" = no ] && { [ $code = 4 ] || [ $code = 5 ]; }; then
        "$@" || exit
        restarted=yes
        continue
    fi
    case $code in
        0) exit 0 ;;
        3) glance-wsgi-manage --config-file "$config" db expand ;;
        4) glance-wsgi db migrate --config-file "$config" ;;
        5) glance-wsgi-manage --config-file "$config" db contract ;;
        34) glance-wsgi-manage --config-file "$config" db sync ;;
        *) exit $code ;;
    esac || exit
done
echo "$0: still not up to date after $attempt attempts" >&2
exit 1
