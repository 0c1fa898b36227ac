#!/bin/sh
# Make .venv with everything that requirements-dev.lock pins, and the `kit` command.
set -eu
. "$(dirname "$0")/lib.sh"
cd "$here"

# works PYTHON: 3.11 or newer, and able to make a virtual environment with pip in it.
works() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    for candidate in "${PYTHON:-python3}" python3.11 python3.12 python3.13 /usr/bin/python3; do
        if works "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    return 1
}

found=$(find_python) || {
    is_debian && find_root ||
        die 3 "there is no Python 3.11 with venv" "sudo apt-get install -y python3 python3-venv"
    step "Python's venv is missing"
    allowed "Install Debian's python3-venv?" || die 3 "no Python with venv" "apt-get install python3-venv"
    apt_install python3 python3-venv
    found=$(find_python) || die 3 "Debian's Python is older than 3.11" "install Python 3.11 or newer"
}

step "Environment: .venv with $("$found" --version 2>&1), locked packages"
works .venv/bin/python || "$found" -m venv --clear .venv
export PIP_DISABLE_PIP_VERSION_CHECK=1
# -qq: errors only. Pip's warnings about a machine's own index settings would bury kit's words.
.venv/bin/python -m pip install -qq --require-hashes -r requirements-dev.lock
.venv/bin/python -m pip uninstall -qq -y kit # what the distribution was called before
.venv/bin/python -m pip install -qq --no-deps --no-build-isolation -e .
touch .venv/.installed
say "ready: .venv/bin/kit"
