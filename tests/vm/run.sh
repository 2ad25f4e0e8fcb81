#!/usr/bin/env bash
# Fizz on Debian's kernel, which has WireGuard, in virtual machines. Many machines on which Fizz is built have a
# kernel without it. QEMU emulates machines (TCG): no virtualization is needed.
#
#   sudo tests/vm/run.sh [FILTER]   the mesh's stories on the kernel's own device: a minute
#   sudo tests/vm/run.sh cluster    three machines with systemd and all runtimes, from the unit's installation to
#                                   the death of one (tests/vm/main.rs): docs/testing.md says how long
#
# What is downloaded and made once is in the user's cache, and is installed nowhere.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../machine.sh"
source "$(dirname "${BASH_SOURCE[0]}")/image.sh"

PACKAGES=(
    qemu-system-x86_64:qemu-system-x86 cpio:cpio modprobe:kmod dpkg-deb:dpkg
    busybox:busybox-static ip:iproute2 strip:binutils
)
CLUSTER_PACKAGES=(
    qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils mmdebstrap:mmdebstrap mke2fs:e2fsprogs
    ip:iproute2 nft:nftables curl:curl setpriv:util-linux strip:binutils
)
DISK_GIB=6
MODULES=(wireguard veth bridge sch_ingress cls_bpf)
SECONDS_MAX=${FIZZ_VM_SECONDS_MAX:-120}
CLUSTER_SECONDS_MAX=${FIZZ_VM_SECONDS_MAX:-3600}

running=

main() {
    need_root
    if [[ ${1:-} == cluster ]]; then
        need_disk "$DISK_GIB"
        need_packages "${CLUSTER_PACKAGES[@]}"
    else
        need_packages "${PACKAGES[@]}"
    fi
    need_cargo
    workplace fizz-vm
    trap finish EXIT
    trap 'exit 130' INT TERM HUP

    local binary kernel
    if [[ ${1:-} == cluster ]]; then
        binary=${FIZZ_VM_BINARY:-$(build vm)}
        cluster "$binary"
    else
        binary=${FIZZ_E2E_BINARY:-$(build e2e)}
        kernel=$(kernel)
        pack "$binary" "$kernel" "${1:-mesh::}"
        run "$kernel"
    fi
}

build() {
    as_user cargo test --locked --test "$1" --no-run 2>&1 |
        tee >(cat >&2) | sed -n 's/^ *Executable .*(\(.*\))$/\1/p'
}

# cluster BINARY: the story of three machines, in the background, so that an interruption ends it at once.
cluster() {
    local image
    image=$(image)
    set -m
    FIZZ_VM_IMAGE=$image FIZZ_VM_WORK=$work RUST_BACKTRACE=0 timeout "$CLUSTER_SECONDS_MAX" "$1" </dev/null &
    set +m
    running=$!
    wait "$running"
    running=
}

# The folder of Debian's newest kernel, as its package has it.
kernel() {
    local cache package
    package=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
    [[ -n $package ]] || die "apt knows no linux-image-amd64: it is Debian's; run: apt-get update"
    cache=${XDG_CACHE_HOME:-$(user_home)/.cache}/fizz/$package
    if [[ ! -e $cache/done ]]; then
        rm -rf "$cache"
        mkdir -p "$cache"
        (cd "$work" && apt-get -q download "$package") >&2
        dpkg-deb -x "$work/$package"_*.deb "$cache"
        rm -f "$work/$package"_*.deb
        depmod -b "$cache" "${package#linux-image-}"
        touch "$cache/done"
    fi
    echo "$cache"
}

# pack BINARY KERNEL FILTER: all that is in the machine's memory when it starts.
pack() {
    local binary=$1 kernel=$2 root="$work/root" version file
    version=$(ls "$kernel/lib/modules")
    mkdir -p "$root"/{bin,dev,etc,proc,run,sys,tmp,modules}
    cp "$(command -v busybox)" "$root/bin/busybox"
    strip -o "$root/bin/e2e" "$binary"
    cp "$(command -v ip)" "$root/bin/ip"
    for file in "$root/bin/ip" "$root/bin/e2e"; do
        while read -r library; do
            mkdir -p "$root$(dirname "$library")"
            cp -n "$library" "$root$library"
        done < <(ldd "$file" | grep -o '/[^ ]*')
    done
    for module in "${MODULES[@]}"; do
        modprobe -d "$kernel" -S "$version" --show-depends "$module"
    done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' >"$work/modules"
    while read -r file; do
        cp "$file" "$root/modules/"
        basename "$file"
    done <"$work/modules" >"$root/modules/order"
    cat >"$root/init" <<INIT
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/ FIZZ_E2E_MESH=kernel RUST_BACKTRACE=0
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mount -t tmpfs run /run; mount -t tmpfs tmp /tmp
while read -r module; do insmod "/modules/\$module"; done </modules/order
echo "Linux \$(uname -r) after \$(cut -d' ' -f1 /proc/uptime) s"
/bin/e2e $3 --test-threads 4
echo "status \$? after \$(cut -d' ' -f1 /proc/uptime) s"
poweroff -f
INIT
    chmod +x "$root/init"
    (cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initrd"
}

# run KERNEL: the machine, with what it says on our standard output.
run() {
    local log="$work/log"
    timeout "$SECONDS_MAX" qemu-system-x86_64 -accel tcg,thread=multi -cpu max,-la57 -smp 2 -m 1024 \
        -nographic -nodefaults -no-reboot -serial stdio \
        -kernel "$1"/boot/vmlinuz-* -initrd "$work/initrd" \
        -append "console=ttyS0 quiet panic=-1 mitigations=off" </dev/null | tr -d '\r' | tee "$log"
    grep -q '^status 0 ' "$log" || die "the tests did not pass in the virtual machine"
}

main "$@"
