#!/usr/bin/env bash
# The mesh's stories on the kernel's own WireGuard, in a virtual machine: sudo tests/vm/run.sh [FILTER]
#
# Many machines on which Fizz is built have a kernel without it. QEMU emulates one (TCG: no virtualization is
# needed) that starts Debian's kernel from memory, with the modules, a few commands and the test binary, and ends
# with the tests. The kernel is downloaded once into the user's cache, and is installed nowhere.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../machine.sh"

PACKAGES=(
    qemu-system-x86_64:qemu-system-x86 cpio:cpio modprobe:kmod dpkg-deb:dpkg
    busybox:busybox-static ip:iproute2 strip:binutils
)
MODULES=(wireguard veth bridge)
SECONDS_MAX=${FIZZ_VM_SECONDS_MAX:-120}

main() {
    need_root
    need_packages "${PACKAGES[@]}"
    need_cargo
    workplace fizz-vm
    trap 'sweep "$work"' EXIT
    trap 'exit 130' INT TERM HUP

    local binary kernel
    binary=${FIZZ_E2E_BINARY:-$(build)}
    kernel=$(kernel)
    pack "$binary" "$kernel" "${1:-mesh::}"
    run "$kernel"
}

build() {
    as_user cargo test --locked --test e2e --no-run 2>&1 |
        tee /dev/stderr | sed -n 's/^ *Executable .*(\(.*\))$/\1/p'
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
