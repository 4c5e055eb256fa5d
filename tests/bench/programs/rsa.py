"""An RSA key for everybody to know, as a configuration for `openssl asn1parse -genconf`.

Its primes are those of two groups for Diffie and Hellman, which their RFCs give as formulas of e and pi.
"""

BITS = 2100


def e():
    total, term, n = 0, 1 << BITS, 1
    while term:
        total, term, n = total + term, term // n, n + 1
    return total


def pi():
    """Machin's formula."""

    def arctan(inverse):
        power, total, n = (1 << BITS) // inverse, 0, 1
        while power:
            total += power // n if n % 4 == 1 else -(power // n)
            power, n = power // (inverse * inverse), n + 2
        return total

    return 4 * (4 * arctan(5) - arctan(239))


def prime(number, addend):
    return 2**2048 - 2**1984 - 1 + 2**64 * ((number >> (BITS - 1918)) + addend)


p = prime(pi(), 124476)  # RFC 3526, 3
q = prime(e(), 560316)  # RFC 7919, A.1
public = 65537
private = pow(public, -1, (p - 1) * (q - 1))
numbers = [0, p * q, public, private, p, q, private % (p - 1), private % (q - 1), pow(q, -1, p)]
print("asn1 = SEQUENCE:key\n[key]")
for place, number in enumerate(numbers):
    print(f"n{place} = INTEGER:{number:#x}")
