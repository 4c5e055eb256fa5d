# Pure Python: objects, dictionaries, strings, generators, floating point, big numbers.
prepare() { :; }
work() { python3 "$here/python.py"; }
