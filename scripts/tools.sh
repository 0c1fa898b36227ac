#!/bin/sh
# What the tests use besides the engine: an SNMP agent to read a PDU from, a terminal to type into,
# an SSH server to reach the terminal UI through, buildah to build the recipes' Dockerfiles with,
# mmdebstrap to make other Debians in which kit builds its images, programs that pack a run again,
# a browser in which the report has to fit, and shells that complete kit's commands.
set -eu
. "$(dirname "$0")/lib.sh"

tools="snmpd snmp tmux procps openssh-client openssh-server buildah netavark mmdebstrap"
tools="$tools zip libarchive-tools p7zip-full chromium groff zsh fish"
# shellcheck disable=SC2086
installed $tools 2>/dev/null && exit 0
is_debian && find_root || die 3 "the tests need $tools" "sudo apt-get install -y $tools"
step "Tools for the tests"
if ! installed openssh-server && [ ! -e /etc/systemd/system/ssh.service ]; then
    # The tests start a server of their own on the loopback; this machine is not to be opened to others.
    $root mkdir -p /etc/systemd/system
    $root ln -s /dev/null /etc/systemd/system/ssh.service
    say "ssh.service is masked; should this machine serve SSH one day: systemctl unmask ssh"
fi
# shellcheck disable=SC2086
apt_install $tools
