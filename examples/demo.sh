#!/usr/bin/env bash
# Shows Fizz at work on this machine, from a bare Debian or Ubuntu with a Rust toolchain:
# sudo examples/demo.sh
#
# Installs the packages that are missing, builds, makes the examples' images from busybox, deploys a
# shop of four services, changes it, scales it, and takes everything away again, also after Ctrl-C.
# A Docker engine that runs here is used, and only the demo's own containers, networks, volumes and
# images are touched in it. Without one the demo starts its own, in namespaces that end with it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../tests/machine.sh"

DISK_GIB=4
PACKAGES=(
    cc:gcc ld:binutils /usr/include/stdio.h:libc6-dev curl:curl
    dockerd:docker.io docker:docker.io busybox:busybox-static ip:iproute2 iptables:iptables
)
CGROUP=fizz-demo
export SHOP_PORT=${SHOP_PORT:-8080}

main() {
    need_root
    need_disk "$DISK_GIB"
    need_packages "${PACKAGES[@]}"
    need_cargo
    workplace fizz-demo
    trap finish EXIT
    trap 'exit 130' INT TERM HUP

    say "building fizz, which takes some minutes the first time"
    begin as_user cargo build --locked --quiet 2>"$work/build.log" || {
        cat "$work/build.log" >&2
        die "the build failed; see above"
    }
    if docker version >/dev/null 2>&1; then
        say "using the Docker engine that runs here"
        export RUNTIME_SOCKET=${DOCKER_HOST:-/var/run/docker.sock}
        RUNTIME_SOCKET=${RUNTIME_SOCKET#unix://}
        begin show
    else
        say "starting a Docker engine of the demo's own"
        begin unshare --pid --fork --kill-child --mount-proc --net --propagation private \
            "$0" --with-own-engine "$work"
    fi
    echo
    echo "That was Fizz on one node. Nothing of it is left here but the packages and target/."
}

# Inside the namespaces: nothing here outlives them.
with_own_engine() {
    work=$1
    export RUNTIME_SOCKET=$work/docker.sock DOCKER_HOST=unix://$work/docker.sock
    ip link set lo up
    echo 1 >/proc/sys/net/ipv4/ip_forward
    mount -t tmpfs tmpfs /run
    dockerd --data-root "$work/docker" --exec-root "$work/docker-exec" --pidfile "$work/docker.pid" \
        --host "$DOCKER_HOST" --cgroup-parent "/$CGROUP" >"$work/dockerd.log" 2>&1 &
    wait_for 30 docker version || {
        tail -n 5 "$work/dockerd.log" >&2
        die "dockerd did not start; its last words are above"
    }
    show
}

show() {
    PATH=$PWD/target/debug:$PATH
    export FIZZ_HOST=unix://$work/fizz.sock
    free_port
    examples/images/build.sh
    cd examples/shop

    say "one daemon is one node"
    fizz daemon --data-dir "$work/data" --run-dir "$work/run" --api-socket "$work/fizz.sock" \
        --runtime-socket "$RUNTIME_SOCKET" --node-name demo >"$work/fizz.log" 2>&1 &
    daemon=$!
    deployed=
    trap take_away EXIT
    trap 'exit 130' INT TERM HUP
    wait_for 15 fizz version || {
        tail -n 5 "$work/fizz.log" >&2
        die "the daemon did not start; its last words are above"
    }
    run fizz nodes

    say "a Compose file, deployed and waited for until healthy"
    deployed=1
    run fizz up --wait
    run fizz ps

    say "it answers on its published port"
    run curl -fsS "http://127.0.0.1:$SHOP_PORT/"
    run curl -fsS -d lamp "http://127.0.0.1:$SHOP_PORT/cgi-bin/items"

    say "a change replaces what changed, and only that; the volume stays"
    run env SHOP_GREETING="Fresh today" fizz up --wait
    run curl -fsS "http://127.0.0.1:$SHOP_PORT/cgi-bin/items"

    say "more of one service, and fewer again"
    run fizz scale app=3
    wait_for 30 replicas app 3
    run fizz ps app
    run fizz scale app=1

    say "looking inside"
    run fizz logs --tail 3 web
    run fizz exec -T db cat /data/items

    say "and everything goes"
    run fizz down -v
    deployed=
    run fizz ls
}

# The last thing that `show` does, however it ends.
take_away() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP
    if [[ -n $deployed ]]; then
        fizz down -v >/dev/null 2>&1 || true
    fi
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
    docker image rm shop/web:1 shop/app:1 shop/db:1 fizz-examples/base:1 >/dev/null 2>&1 || true
    exit $status
}

finish() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP
    if [[ -n ${running:-} ]]; then
        kill -- "-$running" 2>/dev/null || true
        wait "$running" 2>/dev/null || true
    fi
    sweep "$work"
    # An engine that ends with its namespaces leaves its empty control groups.
    find /sys/fs/cgroup -depth -type d -path "*/$CGROUP*" -exec rmdir {} + 2>/dev/null || true
    exit $status
}

# Runs a command in a process group of its own and waits for it, so that a signal to this script ends
# it at once.
begin() {
    set -m
    "$@" &
    set +m
    running=$!
    local status=0
    wait "$running" || status=$?
    running=
    return $status
}

say() {
    printf '\n# %s\n' "$*"
}

run() {
    printf '$ %s\n' "$*"
    "$@"
}

wait_for() {
    local seconds=$1 end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || return 1
        sleep 0.2
    done
}

# replicas SERVICE N: whether so many are healthy.
replicas() {
    [[ $(fizz ps "$1" | grep -c healthy) -eq $2 ]]
}

# The first free port from SHOP_PORT on.
free_port() {
    while (exec 3<>"/dev/tcp/127.0.0.1/$SHOP_PORT") 2>/dev/null; do
        SHOP_PORT=$((SHOP_PORT + 1))
    done
}

if [[ ${1:-} == --with-own-engine ]]; then with_own_engine "$2"; else main; fi
