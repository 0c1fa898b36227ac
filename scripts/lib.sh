# Sourced by the other scripts: talk to the person, and act as root where that is allowed.

here=$(cd "$(dirname "$0")/.." && pwd)
python=$here/.venv/bin/python

say() { printf '%s\n' "$*" >&2; }

step() { printf '\n== %s\n' "$*" >&2; }

# die CODE MESSAGE COMMAND: say what is missing and the one command that mends it.
die() {
    code=$1
    say "kit: $2"
    [ -z "${3:-}" ] || say "     $3"
    exit "$code"
}

on_terminal() { [ -t 0 ] && [ -t 2 ]; }

# How to become root: nothing where we are root, sudo where it works, else fails.
find_root() {
    if [ "$(id -u)" -eq 0 ]; then
        root=
    elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || on_terminal; }; then
        root=sudo
    else
        return 1
    fi
}

is_debian() {
    command -v apt-get >/dev/null && [ -r /etc/os-release ] &&
        (. /etc/os-release && case " $ID ${ID_LIKE:-} " in *" debian "* | *" ubuntu "*) true ;; *) false ;; esac)
}

# allowed QUESTION: asks on a terminal; KIT_YES=1, or no terminal to ask on, is a yes.
allowed() {
    [ "${KIT_YES:-}" != 1 ] && on_terminal || return 0
    printf '%s [Y/n] ' "$1" >&2
    read -r answer || return 1
    case $answer in '' | y | Y | yes) ;; *) return 1 ;; esac
}

# installed PACKAGE...: whether dpkg has every one of them.
installed() {
    for package; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || return 1
    done
}

# apt_install PACKAGE...: install what is missing; what apt says is shown only where it fails.
apt_install() {
    installed "$@" && return 0
    say "installing Debian packages: $*"
    apt_log=$(mktemp)
    apt="$root env DEBIAN_FRONTEND=noninteractive apt-get -q -y"
    $apt update >"$apt_log" 2>&1 ||
        say "the package lists could not all be brought up to date; going on with what there is"
    $apt install --no-install-recommends "$@" >>"$apt_log" 2>&1 || {
        tail -n 15 "$apt_log" >&2
        die 3 "apt-get could not install: $*" "see the lines above, mend it, and repeat"
    }
    rm -f "$apt_log"
}
