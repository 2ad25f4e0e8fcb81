#!/usr/bin/env bash
# Shows Fizz at work on this machine, from a bare Debian or Ubuntu with a Rust toolchain:
# sudo examples/demo.sh
#
# Installs the packages that are missing, builds, makes a cluster of three nodes in namespaces of this
# machine (see docs/guide/lab.md), each with a Docker engine of its own, deploys a shop of four services,
# looks at it from every side, deploys a service of three replicas, takes the power from a node, shows
# what becomes of it, rolls a new version out and goes back again.
# Everything goes away again, also after Ctrl-C. A Docker engine that runs here is not touched.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../tests/machine.sh"

DISK_GIB=4
PACKAGES=(
    cc:gcc clang:clang ld:binutils /usr/include/stdio.h:libc6-dev curl:curl nft:nftables
    dockerd:docker.io docker:docker.io busybox:busybox-static iptables:iptables
)
export FIZZ_LAB=demo
NODES=(a b c)

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
    PATH=$PWD/target/debug:$PATH
    begin show
    echo
    echo "That was Fizz on three nodes. Nothing of it is left here but the packages and target/."
}

show() {
    say "three machines: each a network namespace with a daemon and a Docker engine of its own"
    run fizz lab up --nodes "${#NODES[@]}" --runtime docker
    say "no node is special; each answers for the whole cluster"
    on b fizz nodes

    say "a Compose file, built and deployed from node a, and waited for until healthy"
    images
    cd examples/shop
    on a fizz up --wait
    home=$(where)
    local other
    other=$(but "$home")
    say "any node tells how it is: its services are on several nodes, its database on node $home"
    on b fizz ps

    say "every node answers on its published port, its parts find each other by name, and it keeps what it is told"
    on "$other" curl -fsS http://127.0.0.1:8080/
    on "$home" curl -fsS -d lamp http://127.0.0.1:8080/cgi-bin/items
    on "$other" curl -fsS http://127.0.0.1:8080/cgi-bin/items

    say "looking inside, from a node that does not run the database"
    on "$other" fizz logs --tail 3 web
    on "$other" fizz exec -T db cat /data/items

    say "more of one service, and fewer again"
    on "$other" fizz scale app=3
    wait_for 30 replicas "$other" app 3
    on "$other" fizz ps app
    on "$other" fizz scale app=1

    say "a service that keeps nothing has its replicas on all nodes"
    on "$other" fizz up -f ../hello/compose.yaml --wait
    on "$home" fizz -p hello ps

    say "node $other loses its power"
    run fizz lab kill "$other"
    wait_for 10 stands "$home" "$other" suspicious
    on "$home" fizz nodes
    say "the others give it some seconds to speak up; then it is dead, and its replica starts elsewhere"
    wait_for 20 stands "$home" "$other" dead
    wait_for 30 greeters "$home" 3
    on "$home" fizz -p hello ps

    say "when it is back, it finds the others by itself, and what it had stays where it is now"
    run fizz lab start "$other"
    wait_for 20 stands "$home" "$other" alive
    on "$other" fizz nodes
    on "$other" fizz -p hello ps

    say "a new version replaces the old one, one replica after the other"
    fizz lab exec "$other" -- env WORD=Hi fizz up -f ../hello/compose.yaml --wait </dev/null
    on "$other" fizz -p hello exec -T greeter wget -q -O - http://127.0.0.1/
    say "what was before can be had again"
    on "$home" fizz history hello
    on "$home" fizz rollback hello

    say "and everything goes"
    on "$other" fizz -p hello down
    on "$other" fizz down -v
    on "$other" fizz ls
}

# The examples' images on every node: a registry would serve them, and here is none.
images() {
    local node
    fizz lab exec a -- examples/images/build.sh
    fizz lab exec a -- fizz build --quiet -f examples/shop/compose.yaml
    fizz lab exec a -- docker save fizz-examples/base:1 shop/web:1 shop/app:1 shop/db:1 >"$work/images.tar"
    for node in "${NODES[@]:1}"; do
        fizz lab exec "$node" -- docker load <"$work/images.tar" >/dev/null
    done
}

# on NODE COMMAND...: says what is run where, and runs it.
on() {
    local node=$1
    shift
    printf '%s$ %s\n' "$node" "$*"
    fizz lab exec "$node" -- "$@" </dev/null
}

# where [NODE]: the name of the node that runs the shop's database, as a node sees it.
where() {
    fizz lab exec "${1:-a}" -- fizz ps --format json db </dev/null |
        tr '{' '\n' | sed -n 's/.*"node_name": *"\([^"]*\)".*/\1/p' | tail -n 1
}

# but NODE: another.
but() {
    local node
    for node in "${NODES[@]}"; do
        [[ $node == "$1" ]] || { echo "$node"; return; }
    done
}

# stands OBSERVER NODE STATE: whether a node sees another so.
stands() {
    fizz lab exec "$1" -- fizz nodes </dev/null | grep -qE "^$2 .* $3 "
}

# replicas OBSERVER SERVICE N: whether so many are healthy.
replicas() {
    [[ $(fizz lab exec "$1" -- fizz ps "$2" </dev/null | grep -c healthy) -eq $3 ]]
}

# greeters OBSERVER N: whether so many are healthy, not counting those that were lost with their node.
greeters() {
    [[ $(fizz lab exec "$1" -- fizz -p hello ps </dev/null | grep -c '(healthy)') -eq $2 ]]
}

finish() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP
    if [[ -n ${running:-} ]]; then
        kill -- "-$running" 2>/dev/null || true
        wait "$running" 2>/dev/null || true
    fi
    if [[ -x target/debug/fizz ]]; then
        target/debug/fizz lab down >/dev/null || true
    fi
    sweep "$work"
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
        ((SECONDS < end)) || die "waited $seconds s in vain: $*"
        sleep 0.2
    done
}

main
