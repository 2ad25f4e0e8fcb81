# The disk of the virtual machines of tests/vm/main.rs: Debian as this machine has it, with its kernel, systemd and
# the container runtimes. Sourced, not run; the caller has `tests/machine.sh` and its $work.

IMAGE_PACKAGES=(
    systemd systemd-sysv dbus udev kmod linux-image-amd64 initramfs-tools ca-certificates qemu-guest-agent
    docker.io iptables podman netavark aardvark-dns catatonit
    busybox-static iproute2 iputils-ping nftables procps wireguard-tools
)
# What a machine of virtio devices has no use for, and what nobody reads there.
IMAGE_WITHOUT=(
    /usr/share/{doc,info,locale,man}
    /lib/modules/'*'/kernel/drivers/{ata,bluetooth,gpu,hwmon,iio,infiniband,input,isdn,media,mtd,nvme,scsi,staging,usb}
    /lib/modules/'*'/kernel/drivers/net/{ethernet,wireless} /lib/modules/'*'/kernel/{sound,net/bluetooth,net/wireless}
    /lib/modules/'*'/kernel/fs/{btrfs,f2fs,gfs2,jfs,ocfs2,reiserfs,xfs}
)
IMAGE_MASKED=(
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service
    fstrim.timer getty@tty1.service serial-getty@ttyS0.service
    podman-auto-update.service podman-auto-update.timer podman-restart.service
)

# image: the folder with `root.ext4`, `vmlinuz` and `initrd`, made if it is not in the user's cache.
image() {
    local suite cache
    suite=$(. /etc/os-release && echo "${ID:-}:${VERSION_CODENAME:-}")
    [[ $suite == debian:?* ]] || die "the machines run what this one does, and that is to be Debian"
    suite=${suite#debian:}
    sources >"$work/sources.list"
    grep -q " $suite " "$work/sources.list" || die "apt has no source of Debian's $suite; add one and run: apt-get update"
    # Another list, another image; what Debian mends comes with the next, or once this one is removed.
    cache=${XDG_CACHE_HOME:-$(user_home)/.cache}/fizz/machine-$suite-$(sha256sum <"${BASH_SOURCE[0]}" | cut -c1-12)
    if [[ ! -e $cache/done ]]; then
        rm -rf "${cache%-*}"-*
        mkdir -p "$cache"
        echo "making the machines' disk, once, which takes minutes" >&2
        root_of "$suite" "$work/root" >"$work/image.log" 2>&1 || {
            tail -n 20 "$work/image.log" >&2
            die "the machines' disk could not be made; the last words are above"
        }
        disk_of "$work/root" "$cache"
        rm -rf "$work/root"
        touch "$cache/done"
    fi
    echo "$cache"
}

# Debian's sources, as this machine's apt has them.
sources() {
    apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
        sort -u
}

# root_of SUITE FOLDER
root_of() {
    local suite=$1 root=$2 path options=()
    for path in "${IMAGE_WITHOUT[@]}"; do
        options+=(--dpkgopt="path-exclude=$path/*")
    done
    # How to fetch is the machine's to say, too: through a proxy, from a snapshot that has expired.
    apt-config dump --format '%f "%v";%n' --no-empty | grep -E '^Acquire::(Check-|http)' >"$work/apt.conf" || true
    # shellcheck disable=SC2016
    mmdebstrap --mode=root --variant=minbase --include="$(IFS=,; echo "${IMAGE_PACKAGES[*]}")" \
        --aptopt='APT::Install-Recommends "false"' --aptopt="$work/apt.conf" \
        "${options[@]}" --dpkgopt=force-unsafe-io \
        --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d"' \
        --essential-hook='printf "MODULES=list\nCOMPRESS=gzip\nRESUME=none\n" >"$1/etc/initramfs-tools/conf.d/machine"' \
        --essential-hook='printf "virtio_pci\nvirtio_blk\next4\n" >"$1/etc/initramfs-tools/modules"' \
        "$suite" "$root" "$work/sources.list"
}

# disk_of ROOT FOLDER: what is a machine's own is left open, and its network follows the kernel's command line.
disk_of() {
    local root=$1 folder=$2 unit
    : >"$root/etc/machine-id"
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
    # Nobody answers there, and soon.
    echo 'nameserver 192.0.2.254' >"$root/etc/resolv.conf"
    printf '/dev/vda / ext4 rw,noatime 0 0\nshare /mnt/share 9p trans=virtio,version=9p2000.L,msize=262144,nofail 0 0\n' \
        >"$root/etc/fstab"
    mkdir -p "$root/mnt/share"
    for unit in "${IMAGE_MASKED[@]}"; do
        ln -sfn /dev/null "$root/etc/systemd/system/$unit"
    done
    chroot "$root" systemctl --quiet enable systemd-networkd.service systemd-networkd-wait-online.service \
        systemd-network-generator.service
    rm -rf "$root"/etc/apt/sources.list* "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*
    cp "$root"/boot/vmlinuz-* "$folder/vmlinuz"
    cp "$root"/boot/initrd.img-* "$folder/initrd"
    # Sparse: what is not written takes no room.
    truncate -s 4G "$folder/root.ext4"
    mke2fs -q -F -t ext4 -E lazy_itable_init=1 -d "$root" "$folder/root.ext4"
}
