#!/usr/bin/env bash
# Makes a Debian or Ubuntu machine a node of a cluster, as root. Beside this file are the binary `fizz`, `packaging/`
# and `examples/`. Every part may be repeated: what is so already stays.
#
#   node.sh install ADDRESS    what Fizz needs, Fizz, and its unit; other nodes reach this one at ADDRESS
#   node.sh found              a cluster of this node
#   node.sh join ADDRESS       the cluster of the node at ADDRESS, with the token on standard input
#   node.sh deploy             examples/hello, on all nodes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# COMMAND:PACKAGE
PACKAGES=(dockerd:docker.io iptables:iptables nft:nftables wg:wireguard-tools busybox:busybox-static)

install_node() {
    local missing=() pair
    for pair in "${PACKAGES[@]}"; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    if ((${#missing[@]})); then
        export DEBIAN_FRONTEND=noninteractive
        apt-get -q update
        apt-get -q install -y --no-install-recommends "${missing[@]}"
    fi
    mkdir -p /etc/fizz
    # A machine of Vagrant's has two addresses, and the first is the same on all of them.
    [[ -e /etc/fizz/config.yaml ]] || echo "cluster: {advertise: \"$1:7780\"}" >/etc/fizz/config.yaml
    # As packaging/fizz.service says.
    install -m 755 fizz /usr/bin/fizz
    groupadd --system --force fizz
    install -m 644 packaging/fizz.service /etc/systemd/system/
    systemctl daemon-reload
    systemctl enable fizz
    systemctl restart fizz
    # A registry would have the example's image; without one, each node makes it.
    examples/images/build.sh
}

found() {
    is_member || fizz init
}

join() {
    is_member || fizz join "$1" -
}

deploy() {
    fizz up -f examples/hello/compose.yaml --wait
    fizz nodes
    fizz -p hello ps
}

is_member() {
    # After a boot it may not be there yet; this waits.
    systemctl start fizz
    fizz cluster status -o json | grep -q '"id": *"'
}

case ${1:-} in
    install) install_node "$2" ;;
    found) found ;;
    join) join "$2" ;;
    deploy) deploy ;;
    *) sed -n '2,/^set/{/^#/p}' "$0"; exit 2 ;;
esac
