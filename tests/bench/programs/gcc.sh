# A compiler on a thousand lines; the program that it makes must work.
prepare() { python3 "$here/source.py" 4 > big.c && wc -l big.c >&2; }
work() {
    gcc -O2 -o big big.c
    ./big
    sha256sum big
}
