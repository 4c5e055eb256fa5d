"""What people write in Python, without a module written in C doing the work."""


def queens(n):
    def place(row, columns, left, right):
        if row == n:
            return 1
        found = 0
        free = ~(columns | left | right) & ((1 << n) - 1)
        while free:
            bit = free & -free
            free ^= bit
            found += place(row + 1, columns | bit, (left | bit) << 1, (right | bit) >> 1)
        return found

    return place(0, 0, 0, 0)


def mandelbrot(size):
    inside = 0
    for y in range(size):
        for x in range(size):
            c = complex(3.0 * x / size - 2.25, 3.0 * y / size - 1.5)
            z = 0j
            for _ in range(50):
                z = z * z + c
                if z.real * z.real + z.imag * z.imag > 4.0:
                    break
            else:
                inside += 1
    return inside


def pi(digits):
    """Gibbons's spigot: big numbers only."""
    q, r, t, k, n, l = 1, 0, 1, 1, 3, 3
    out = []
    while len(out) < digits:
        if 4 * q + r - t < n * t:
            out.append(str(n))
            q, r, n = 10 * q, 10 * (r - n * t), 10 * (3 * q + r) // t - 10 * n
        else:
            q, r, n = q * k, (2 * q + r) * l, (q * (7 * k + 2) + r * l) // (t * l)
            t, k, l = t * l, k + 1, l + 2
    return "".join(out)


class Body:
    __slots__ = ("x", "y", "vx", "vy", "mass")

    def __init__(self, x, y, vx, vy, mass):
        self.x, self.y, self.vx, self.vy, self.mass = x, y, vx, vy, mass

    def pull(self, other, step):
        dx, dy = other.x - self.x, other.y - self.y
        square = dx * dx + dy * dy + 0.01
        force = step * other.mass / (square * square**0.5)
        self.vx += dx * force
        self.vy += dy * force

    def move(self, step):
        self.x += self.vx * step
        self.y += self.vy * step


def planets(steps):
    bodies = [Body(n * 1.5, n * n * 0.25, 0.1 * n, -0.05 * n, 1.0 + n) for n in range(6)]
    for _ in range(steps):
        for one in bodies:
            for other in bodies:
                if one is not other:
                    one.pull(other, 0.001)
        for one in bodies:
            one.move(0.001)
    return " ".join(f"{b.x:.9f} {b.y:.9f}" for b in bodies)


def words(count):
    seed, counts = 12345, {}
    for _ in range(count):
        word = ""
        for _ in range(3):
            seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
            word += "abcdefghijk"[(seed >> 16) % 11]
        counts[word] = counts.get(word, 0) + 1
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:20]
    return ", ".join(f"{w.upper()}={n}" for w, n in top)


def primes():
    found = {}
    n = 2
    while True:
        step = found.pop(n, None)
        if step is None:
            yield n
            found[n * n] = [n]
        else:
            for p in step:
                found.setdefault(n + p, []).append(p)
        n += 1


def nth_prime(count):
    source = primes()
    for _ in range(count):
        last = next(source)
    return last


print(queens(9))
print(mandelbrot(120))
print(pi(500))
print(planets(1500))
print(words(40000))
print(nth_prime(8000))
