# Text packed well, and unpacked some times.
prepare() { cat /usr/lib/python3.*/*.py | head -c 6000000 > text; }
work() {
    gzip -n -6 < text > text.gz
    sha256sum text.gz
    for round in 1 2 3 4; do gzip -d < text.gz | cmp - text; done
}
