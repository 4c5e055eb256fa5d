#!/bin/busybox sh
# The first program: a shell on the console, with job control; when it ends, so does the machine.
/bin/busybox --install -s /bin
export PATH=/sbin:/bin HOME=/root TERM=vt100 PS1='\w # '
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
hostname guest
cd
for word in $(cat /proc/cmdline); do
    case $word in run=*) sh -c "$(echo "${word#run=}" | tr , ' ')" ;; esac
done
echo
echo "Debian's kernel $(uname -r), busybox's shell. Ctrl-C, Ctrl-Z and the arrow keys work."
echo "poweroff ends the machine; Ctrl-A x ends the emulator at once."
setsid cttyhack sh
poweroff
