# What tests/run.sh and examples/demo.sh need of the machine: a root shell, Debian's packages, a Rust
# toolchain, and nothing left behind. Sourced, not run; the caller has `set -euo pipefail`.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Rust that Cargo.toml asks for.
RUST_MIN=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

need_root() {
    [[ $EUID -eq 0 ]] || die "needs root to run a Docker engine and make namespaces; run: sudo $0"
}

# need_disk GIB: the build and the images have room.
need_disk() {
    local free_kib
    free_kib=$(df --output=avail -k . | tail -n 1)
    ((free_kib >= $1 * 1024 * 1024)) ||
        die "needs $1 GiB free in $PWD, and $((free_kib / 1024 / 1024)) GiB are; make room"
}

# need_packages COMMAND:PACKAGE...: installs the packages whose command or file is missing, and nothing
# else. It looks twice: apt-get removes what the machine has in another version where that does not fit.
need_packages() {
    local missing=() pair look
    for look in 1 2 3; do
        missing=()
        for pair in "$@"; do
            is_there "${pair%%:*}" || missing+=("${pair#*:}")
        done
        ((${#missing[@]})) || return 0
        mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
        ((look < 3)) || die "${missing[*]}: apt-get installed it, and its programs are not there"
        install_packages "${missing[@]}"
    done
}

install_packages() {
    command -v apt-get >/dev/null ||
        die "needs $* (Debian's names), and there is no apt-get; install them by hand, see README.md"
    echo "installing $*"
    local log
    log=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get -q update && apt-get -q install -y --no-install-recommends "$@"; } \
        </dev/null >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        die "apt-get could not install $*; its last words are above"
    fi
    rm -f "$log"
}

# Whether a command, or a file by its whole path, is there. Images need a busybox without libraries.
is_there() {
    case $1 in
        /*) [[ -e $1 ]] ;;
        busybox) command -v busybox >/dev/null && ! ldd "$(command -v busybox)" 2>/dev/null | grep -q '=>' ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

# The user who called sudo builds, so that target/ and the package cache stay theirs.
as_user() {
    if [[ -n ${SUDO_UID:-} && $SUDO_UID -ne 0 ]]; then
        setpriv --reuid "$SUDO_UID" --regid "$SUDO_GID" --init-groups \
            env HOME="$(user_home)" USER="$SUDO_USER" LOGNAME="$SUDO_USER" "$@"
    else
        "$@"
    fi
}

user_home() {
    if [[ -n ${SUDO_UID:-} ]]; then getent passwd "$SUDO_UID" | cut -d: -f6; else echo "${HOME:-/root}"; fi
}

# Puts the user's cargo first in PATH.
need_cargo() {
    local bin version
    for bin in "$(dirname "$(command -v cargo || echo /none/cargo)")" "$(user_home)/.cargo/bin" \
        ~root/.cargo/bin /usr/local/cargo/bin; do
        as_user test -x "$bin/cargo" || continue
        export PATH="$bin:$PATH"
        version=$(as_user cargo --version 2>/dev/null | cut -d' ' -f2) || continue
        if [[ $(printf '%s\n' "$RUST_MIN" "$version" | sort -V | head -n 1) == "$RUST_MIN" ]]; then
            own_target
            return 0
        fi
        die "needs Rust $RUST_MIN, and $bin/cargo is $version; run: rustup update stable"
    done
    die "found no cargo in PATH, $(user_home)/.cargo/bin or ~root/.cargo/bin; install Rust $RUST_MIN with rustup"
}

# An earlier run as root may have left files that the user cannot write.
own_target() {
    [[ -n ${SUDO_UID:-} && $SUDO_UID -ne 0 ]] || return 0
    as_user test -w . || die "$PWD is not ${SUDO_USER}'s to write; run: chown -R $SUDO_USER $PWD"
    if [[ -d target ]]; then
        find target -not -user "$SUDO_UID" -exec chown -h "$SUDO_UID:$SUDO_GID" {} +
    fi
}

# sweep DIR: ends every process that has DIR or a path below it in its command line, unmounts what is mounted
# there, and removes it. Safe to repeat, and for leftovers of a run that was killed.
sweep() {
    local dir=$1 process point
    [[ -d $dir ]] || return 0
    for signal in TERM KILL; do
        for process in $(using "$dir"); do
            kill -s "$signal" "$process" 2>/dev/null || true
        done
        for _ in {1..50}; do
            [[ -n $(using "$dir") ]] || break
            sleep 0.1
        done
    done
    while read -r point; do
        umount -l "$point" 2>/dev/null || true
    done < <(cut -d' ' -f5 /proc/self/mountinfo | grep -F "$dir/" | sort -r)
    rm -rf "$dir"
}

using() {
    local file process
    for file in /proc/[0-9]*/cmdline; do
        process=${file#/proc/}
        process=${process%/cmdline}
        [[ $process -ne $$ && $process -ne $BASHPID ]] || continue
        if tr '\0' ' ' 2>/dev/null <"$file" | grep -qF "$1"; then
            echo "$process"
        fi
    done
}

# workplace NAME: a fresh folder in $work, after sweeping those of earlier runs that were killed.
workplace() {
    local old
    for old in "${TMPDIR:-/tmp}/$1."*; do
        if [[ -d $old ]] && ! kill -0 "$(cat "$old/owner" 2>/dev/null || echo none)" 2>/dev/null; then
            sweep "$old"
        fi
    done
    work=$(mktemp -d "${TMPDIR:-/tmp}/$1.XXXXXX")
    chmod 755 "$work"
    echo $$ >"$work/owner"
}

# For `trap finish EXIT`: ends the process group in $running, if there is one, and leaves no $work.
finish() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP
    [[ -z $running ]] || kill -- "-$running" 2>/dev/null || true
    sweep "$work"
    exit $status
}
