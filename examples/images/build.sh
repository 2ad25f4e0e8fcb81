#!/usr/bin/env bash
# Makes the base image of the examples, `fizz-examples/base:1`, from this machine's busybox: no registry
# is asked. The examples' own images are built on it by `fizz up`, from their Dockerfiles.
# Needs `busybox-static` and a Docker engine; DOCKER_HOST says which.
set -euo pipefail

image=fizz-examples/base:1
busybox=$(command -v busybox) || { echo "build.sh: install busybox-static" >&2; exit 1; }
version=$(cat "$busybox" "$(dirname "$0")/serve" | sha256sum | cut -c1-12)
if [[ $(docker image inspect -f '{{.Config.Labels.contents}}' "$image" 2>/dev/null) == "$version" ]]; then
    exit 0
fi

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,etc,tmp,www/cgi-bin}
chmod 755 "$root"
chmod 1777 "$root/tmp"
cp "$busybox" "$root/bin/busybox"
"$busybox" --list | while read -r name; do
    [[ $name == busybox ]] || ln -s busybox "$root/bin/$name"
done
printf 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
cp "$(dirname "$0")/serve" "$root/bin/serve"
tar -C "$root" -c . | docker import --change "LABEL contents=$version" \
    --change 'ENV PATH=/bin' --change 'CMD ["/bin/sh"]' - "$image" >/dev/null
echo "made $image"
