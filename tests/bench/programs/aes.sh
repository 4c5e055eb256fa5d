# A big file enciphered and deciphered, by OpenSSL. The chain of blocks makes zeros as good as anything.
prepare() { truncate -s 30M zeros && cat zeros > /dev/null; }
work() {
    key=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
    iv=00000000000000000000000000000000
    openssl enc -aes-256-cbc -K $key -iv $iv -in zeros -out secret
    openssl enc -d -aes-256-cbc -K $key -iv $iv -in secret | cmp - zeros
    tail -c 32 secret | od -A n -t x1
}
