# Text and a program, packed and unpacked by one thread.
prepare() { (cat /usr/lib/python3.*/[p-z]*.py | head -c 900000; head -c 500000 /usr/bin/perl) > mixed; }
work() {
    xz -6 -T1 < mixed > mixed.xz
    sha256sum mixed.xz
    for round in 1 2 3; do xz -d < mixed.xz | cmp - mixed; done
}
