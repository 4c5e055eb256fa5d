# Perl on text: regular expressions, hashes, sorting, substitution.
prepare() { cat /usr/lib/python3.*/[a-h]*.py | head -c 1500000 > text; }
work() { perl "$here/perl.pl" text; }
