#!/bin/sh
# What must be there before the kernel's package makes its initial RAM disk.
# Called by mmdebstrap: $1 is the new system's root. ROOT_UUID comes from the caller.
set -eu
root=$1
mkdir -p "$root/etc/initramfs-tools/conf.d"
printf 'MODULES=most\nCOMPRESS=zstd\nRESUME=none\n' > "$root/etc/initramfs-tools/conf.d/reprise"
printf 'UUID=%s / ext4 errors=remount-ro 0 1\n' "$ROOT_UUID" > "$root/etc/fstab"
echo reprise > "$root/etc/hostname"
printf '127.0.0.1 localhost reprise\n::1 localhost\n' > "$root/etc/hosts"
