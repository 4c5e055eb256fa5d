#!/bin/busybox sh
# The first program. Without an argument: makes ready and becomes busybox's init, which starts this again on the
# serial line, where it is a shell with job control; when that ends, so does the machine.
export HOME=/root TERM=vt100 PS1='\w # '
cd
if [ "$1" = shell ]; then
    # What the kernel still has to say would stand among the answers; dmesg has it.
    dmesg -n 5
    echo
    echo "Debian's kernel $(uname -r), busybox's shell. Ctrl-C, Ctrl-Z and the arrow keys work."
    echo "poweroff ends the machine; Ctrl-A x ends the emulator at once."
    sh
    poweroff
    exit
fi
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
hostname guest
for m in $(cat /etc/modules 2>/dev/null); do insmod /lib/$m.ko; done
for word in $(cat /proc/cmdline); do
    case $word in run=*) sh -c "$(echo "${word#run=}" | tr , ' ')" ;; esac
done
echo "ttyS0::once:/init shell" > /etc/inittab
exec init
