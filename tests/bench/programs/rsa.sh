# Signatures with a key of 4096 bits, by OpenSSL: big numbers.
prepare() {
    python3 "$here/rsa.py" > key.cnf
    openssl asn1parse -genconf key.cnf -noout -out key.der
    openssl rsa -inform DER -in key.der -check -noout >&2
    for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo "letter $n" > letter$n; done
}
work() {
    for letter in letter*; do openssl dgst -sha256 -keyform DER -sign key.der "$letter" | sha256sum; done
}
