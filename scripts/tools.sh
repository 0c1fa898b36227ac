#!/bin/sh
# What the tests use besides the engine: an SNMP agent to read a PDU from, a terminal to type into.
set -eu
. "$(dirname "$0")/lib.sh"

tools="snmpd snmp tmux procps"
# shellcheck disable=SC2086
installed $tools 2>/dev/null && exit 0
is_debian && find_root || die 3 "the tests need $tools" "sudo apt-get install -y $tools"
step "Tools for the tests"
# shellcheck disable=SC2086
apt_install $tools
