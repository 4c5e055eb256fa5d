#!/bin/sh
# Makes the installed packages a machine that boots without waiting and without asking.
# Called by mmdebstrap: $1 is the new system's root. ROOT_UUID and MENU (grub.cfg) come from the caller.
set -eu
root=$1

# Root has no password. One fixed identity: nothing is a first boot.
chroot "$root" passwd -d root
echo 526570726973652044656269616e3132 > "$root/etc/machine-id"
mkdir -p "$root/var/lib/dbus"
ln -sf /etc/machine-id "$root/var/lib/dbus/machine-id"
printf 'LANG=C.UTF-8\n' > "$root/etc/default/locale"

# Text alone on the serial line: what a shell says should read as what it is.
echo 'set enable-bracketed-paste off' >> "$root/etc/inputrc"

# Services that look after things which no test has, and all that starts by the clock.
for unit in \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer man-db.timer systemd-tmpfiles-clean.timer systemd-networkd.service \
    systemd-networkd-wait-online.service systemd-resolved.service systemd-timesyncd.service \
    smartmontools.service smartd.service grub-common.service grub-initrd-fallback.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

# The menu names the kernel without its version.
ln -sf "$(cd "$root/boot" && ls -d vmlinuz-* | tail -1)" "$root/boot/vmlinuz"
ln -sf "$(cd "$root/boot" && ls -d initrd.img-* | tail -1)" "$root/boot/initrd.img"

# GRUB for BIOS: its third partition is ours. For UEFI: found by its file system, as the disk may be any.
grub=$root/boot/grub
mkdir -p "$grub/fonts"
for format in i386-pc x86_64-efi; do
    mkdir -p "$grub/$format"
    cp "$root/usr/lib/grub/$format"/*.mod "$root/usr/lib/grub/$format"/*.lst "$grub/$format/"
done
cp "$root/usr/lib/grub/i386-pc/boot.img" "$grub/i386-pc/"
cp "$MENU" "$grub/grub.cfg"
printf 'search.fs_uuid %s root\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n' \
    "$ROOT_UUID" > "$grub/uefi.cfg"
common="part_gpt ext2 normal linux configfile search search_fs_uuid serial terminal echo test ls cat halt reboot"
chroot "$root" grub-mkimage -O i386-pc -p '(,gpt3)/boot/grub' -o /boot/grub/i386-pc/core.img biosdisk $common
chroot "$root" grub-mkimage -O x86_64-efi -p /boot/grub -c /boot/grub/uefi.cfg \
    -o /boot/grub/x86_64-efi/core.efi fat part_msdos all_video $common

# Traces of how and where it was made.
rm -f "$root/etc/apt/apt.conf.d/99mmdebstrap" "$root/etc/resolv.conf"
rm -f "$root/var/log/dpkg.log" "$root/var/log/alternatives.log" "$root"/var/log/apt/*
rm -rf "$root/var/log/journal" "$root/var/cache/ldconfig/aux-cache"
find "$root/var/log" -type f -exec truncate -s 0 {} +

# Nothing is newer than what systemd has seen, so it makes nothing anew at the first start.
for dir in etc var; do
    printf 'TIMESTAMP_NSEC=%s000000000\n' "$SOURCE_DATE_EPOCH" > "$root/$dir/.updated"
done
