#!/bin/bash
# tools/system-packages.sh [PROFILE...]: the system packages of bindep.txt.
#
# Root installs those that are missing. An ordinary user is told in one line
# which are missing and what root has to type. Nothing missing, nothing said.
. "$(dirname "$0")/common.sh"

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@"
}

# The lists are fetched only when something has to be installed: that is most
# of the time it takes.
apt_install() {
    step "Refreshing the package lists" apt update
    step "Installing $*" apt install --no-install-recommends "$@"
}

ask_root() {
    die "missing system packages: $*; as root:" \
        "tools/system-packages.sh${profiles:+ $profiles}"
}

profiles=$*
if ! command -v apt-get >/dev/null; then
    echo "This is neither Debian nor Ubuntu: system packages are not" \
        "checked; bindep.txt lists Debian's names of what is needed" >&2
    exit 0
fi

choose_place

# bindep takes half a second to find that nothing is missing: it is asked
# again when its list or the packages of this machine have changed.
found=$PLACE/.log/packages-${profiles:-default}
[ "$found" -nt "$TOP/bindep.txt" ] && [ "$found" -nt /var/lib/dpkg/status ] &&
    exit

# bindep itself needs a virtualenv, which a small Debian can't make.
if ! /usr/bin/python3 -c 'import ensurepip' 2>/dev/null; then
    is_root || ask_root python3-venv "and maybe more"
    apt_install python3-venv
fi
export PYTHON=/usr/bin/python3
tool_venv bindep "$BINDEP"

# bindep's exit code is 1 when something is missing; anything it can't do
# (a syntax error, an unknown platform) it says on the standard error.
if ! missing=$("$TOOL" -b -f "$TOP/bindep.txt" "$@" </dev/null); then
    [ -n "$missing" ] || die "bindep could not read bindep.txt"
    # shellcheck disable=SC2086  # one word for each package
    is_root || ask_root $missing
    # shellcheck disable=SC2086
    apt_install $missing
fi
touch "$found"
