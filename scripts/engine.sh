#!/bin/sh
# See that a container engine answers; install Debian's where allowed.
set -eu
. "$(dirname "$0")/lib.sh"

log=/var/log/kit-dockerd.log
command_line="sudo apt-get install -y docker.io && sudo service docker start"

state() { "$python" "$here/scripts/engine_state.py" && code=0 || code=$?; }

install_engine() {
    step "No container engine answers"
    is_debian && find_root || die 3 "no container engine answers. Install one and start it:" "$command_line"
    allowed "Install Debian's docker.io and start it?" ||
        die 3 "kit needs a container engine. When you like:" "$command_line"
    command -v dockerd >/dev/null || apt_install docker.io
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
