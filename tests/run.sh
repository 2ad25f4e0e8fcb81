#!/usr/bin/env bash
# Every check and test, from a bare Debian or Ubuntu with a Rust toolchain: sudo tests/run.sh
#
# Installs the packages that are missing, builds once, and leaves nothing else behind. The last line
# is the sum: `N passed, N failed`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

DISK_GIB=6
CARGO_DENY=0.20.2
CORPUS=../shared/compose-corpus
PACKAGES=(
    cc:gcc clang:clang ld:binutils /usr/include/stdio.h:libc6-dev git:git python3:python3 curl:curl
    dockerd:docker.io docker:docker.io docker-registry:docker-registry
    podman:podman /usr/lib/podman/netavark:netavark /usr/lib/podman/aardvark-dns:aardvark-dns
    catatonit:catatonit runc:runc containerd:containerd ps:procps
    busybox:busybox-static openssl:openssl
    ip:iproute2 nft:nftables iptables:iptables
    dig:bind9-dnsutils dnsmasq:dnsmasq-base
)

passed=0 failed=0 complaints=() running=

main() {
    need_root
    need_disk "$DISK_GIB"
    need_packages "${PACKAGES[@]}"
    need_cargo
    workplace fizz-test
    trap finish EXIT
    trap 'exit 130' INT TERM HUP
    # What failed says where by itself; a hundred lines of runtime below it would hide the next one.
    export CARGO_TERM_COLOR=never RUST_BACKTRACE=0
    # A machine that builds once has no use for the files that speed up the next build.
    [[ -z ${CI:-} ]] || export CARGO_INCREMENTAL=0

    step "build" as_user cargo test --locked --no-run || {
        echo "0 passed, 1 failed"
        exit 1
    }
    mapfile -t binaries < <(sed -n 's/^ *Executable .*(\(.*\))$/\1/p' "$work/build.log")

    check "format" as_user cargo fmt --check
    check "lints" as_user cargo clippy --locked --all-targets -- -D warnings
    # All targets are those that `cargo test` runs.
    check "lints of vm" as_user cargo clippy --locked --test vm -- -D warnings
    # Links to private items lead somewhere, because those are documented too.
    check "docs" as_user env RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" \
        cargo doc --locked --no-deps --document-private-items
    check "licences" licences
    check "vagrant" vagrantfile
    for binary in "${binaries[@]}"; do
        name=$(basename "$binary" | sed 's/-[0-9a-f]*$//')
        # The end-to-end tests start engines in namespaces of their own, which takes root.
        if [[ $name == e2e ]]; then
            tests "$name" "$PWD/$binary"
            # What a runtime must do for Fizz, once more. docs/testing.md has the whole.
            tests "$name on podman" env FIZZ_E2E_RUNTIME=podman "$PWD/$binary" runtime:: daemon::a_secret
            # The stories that cannot hold there yet are printed with their reasons.
            tests "$name on containerd" env FIZZ_E2E_RUNTIME=containerd "$PWD/$binary" runtime::
        elif [[ $name == sim ]]; then
            tests "$name" as_user env FIZZ_SIM_SEEDS="${FIZZ_SIM_SEEDS:-0..1000}" \
                FIZZ_SIM_ORCHESTRA_SEEDS="${FIZZ_SIM_ORCHESTRA_SEEDS:-0..20}" "$PWD/$binary"
        else
            tests "$name" as_user "$PWD/$binary"
        fi
    done
    tests "doctests" as_user cargo test --locked --doc
    if [[ -f $CORPUS/check.py ]]; then
        tests "compose corpus" as_user python3 "$CORPUS/check.py" --messages require \
            "$PWD/target/debug/fizz config --format json {args}"
    fi

    echo
    ((${#complaints[@]})) && printf 'failed: %s\n' "${complaints[@]}"
    echo "$passed passed, $failed failed"
    ((failed == 0))
}

# Runs a command with its output in a log, says how it went and how long it took.
step() {
    local name=$1 log="$work/${1// /-}.log" began=$SECONDS status=0
    shift
    printf '%-16s ' "$name"
    # In the background and with a process group of its own, so that an interruption ends it at once.
    set -m
    "$@" </dev/null >"$log" 2>&1 &
    set +m
    running=$!
    wait "$running" || status=$?
    running=
    if ((status == 0)); then
        printf 'ok      %4d s\n' $((SECONDS - began))
    else
        printf 'FAILED  %4d s\n' $((SECONDS - began))
        grep -v ' [.][.][.] ok$' "$log" | tail -n 200 | sed 's/^/    /'
        complaints+=("$name")
    fi
    return $status
}

# A step that is one check.
check() {
    if step "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
}

# A step that counts its own tests, as cargo's test runner and the corpus do.
tests() {
    local status=0 counts
    step "$@" || status=$?
    counts=$(sed -nE 's/^(test result: [a-zA-Z]+\. )?([0-9]+) passed[;,] ([0-9]+) failed.*/\2 \3/p' "$work/${1// /-}.log")
    local its_failed=0 good bad
    while read -r good bad; do
        passed=$((passed + ${good:-0}))
        its_failed=$((its_failed + ${bad:-0}))
    done <<<"$counts"
    # A runner that died did not count what killed it.
    ((status == 0 || its_failed > 0)) || its_failed=1
    failed=$((failed + its_failed))
}

# Whether vagrant/ is right, by Vagrant itself where the system has its package: not all have.
vagrantfile() {
    # Within a condition a failure does not end a function by itself.
    bash -n vagrant/node.sh || return
    if ! command -v vagrant >/dev/null && ! apt-cache show vagrant vagrant-libvirt >/dev/null 2>&1; then
        need_packages ruby:ruby
        ruby -c vagrant/Vagrantfile
        return
    fi
    need_packages vagrant:vagrant /usr/share/doc/vagrant-libvirt:vagrant-libvirt
    # It writes beside its file, and asks for the binary that the machines get.
    mkdir "$work/vagrant"
    cp vagrant/{Vagrantfile,node.sh} "$work/vagrant/"
    (cd "$work/vagrant" && HOME=$work FIZZ_BINARY=$OLDPWD/target/debug/fizz FIZZ_CHECKOUT=$OLDPWD vagrant validate)
}

# What is linked, by .config/deny.toml. Advisories need a download and are checked by hand.
licences() {
    local root
    root="${XDG_CACHE_HOME:-$(user_home)/.cache}/fizz/cargo-deny-$CARGO_DENY"
    if [[ ! -x $root/bin/cargo-deny ]]; then
        as_user cargo install --quiet --locked --root "$root" \
            --target-dir "$PWD/target/tools" "cargo-deny@$CARGO_DENY"
        rm -rf target/tools
    fi
    as_user "$root/bin/cargo-deny" --locked --config .config/deny.toml check licenses bans sources
}

main "$@"
