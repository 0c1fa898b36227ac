#!/bin/sh
# See that a container engine answers and that images can be built; install Debian's where allowed.
set -eu
. "$(dirname "$0")/lib.sh"

builders="buildah mmdebstrap"
log=/var/log/kit-dockerd.log
command_line="sudo apt-get install -y docker.io $builders && sudo service docker start"

state() { "$python" "$here/scripts/engine_state.py" && code=0 || code=$?; }

# What builds images, as programs; a user's own builds map user ids, which needs newuidmap.
programs="buildah mmdebstrap"
[ "$(id -u)" -eq 0 ] || { builders="$builders uidmap" && programs="$programs newuidmap"; }

install_builders() {
    missing=
    for program in $programs; do
        command -v "$program" >/dev/null || missing="$missing $program"
    done
    [ -n "$missing" ] || return 0
    if is_debian && find_root && allowed "Install $builders, which build kit's images?"; then
        # shellcheck disable=SC2086
        apt_install $builders
    else
        say "images cannot be built here without:$missing (a ready image can still be loaded)"
    fi
}

install_engine() {
    step "No container engine answers"
    is_debian && find_root || die 3 "no container engine answers. Install one and start it:" "$command_line"
    allowed "Install Debian's docker.io and start it?" ||
        die 3 "kit needs a container engine. When you like:" "$command_line"
    # shellcheck disable=SC2086
    command -v dockerd >/dev/null || apt_install docker.io $builders
}

start_engine() {
    say "starting dockerd"
    if [ -d /run/systemd/system ]; then
        $root systemctl start docker
    else
        # No systemd: a session of its own, so that it outlives this terminal.
        $root setsid -f sh -c "exec dockerd </dev/null >$log 2>&1"
    fi
}

await_engine() {
    for _ in $(seq 60); do
        state 2>/dev/null
        [ "$code" -eq 10 ] || return 0
        sleep 1
    done
    [ ! -r $log ] || tail -n 5 $log >&2
    die 3 "dockerd was started, but does not answer" "see $log, or journalctl -u docker"
}

# Rights until the engine restarts; membership of the group docker would last, and equals root.
grant() {
    step "The engine is there, but $(id -un) may not speak to it"
    find_root && allowed "Let $(id -un) use it until it restarts (setfacl on its socket, by sudo)?" ||
        die 3 "this user may not speak to the container engine" "sudo usermod -aG docker $(id -un), and log in again"
    command -v setfacl >/dev/null || apt_install acl
    say "sudo setfacl -m u:$(id -un):rw /var/run/docker.sock"
    $root setfacl -m "u:$(id -un):rw" /var/run/docker.sock
    state
}

step "Container engine"
state
if [ "$code" -eq 10 ]; then
    install_engine
    start_engine
    await_engine
fi
[ "$code" -ne 11 ] || grant
[ "$code" -eq 0 ] || exit 3
install_builders
