//! Fixed work with a known answer. Plain Rust without `std`: the tests run the same file on the host.

/// A name, the work, and how often `hash` and `bench` do it.
pub struct Work {
    pub name: &'static str,
    pub run: fn(u64) -> u64,
    pub short: u64,
    pub long: u64,
}

#[rustfmt::skip]
pub const ALL: &[Work] = &[
    Work { name: "sieve",  run: sieve,  short: 2,  long: 1500 },
    Work { name: "sort",   run: sort,   short: 2,  long: 600 },
    Work { name: "matrix", run: matrix, short: 1,  long: 1500 },
    Work { name: "divide", run: divide, short: 20, long: 100000 },
    Work { name: "calls",  run: calls,  short: 1,  long: 2000 },
    Work { name: "bytes",  run: bytes,  short: 2,  long: 1000 },
    Work { name: "orbit",  run: orbit,  short: 20, long: 100000 },
];

/// FNV-1a over all answers.
pub fn hash(long: bool, mut each: impl FnMut(&Work, u64)) -> u64 {
    ALL.iter().fold(0xCBF2_9CE4_8422_2325, |hash, work| {
        let answer = (work.run)(if long { work.long } else { work.short });
        each(work, answer);
        mix(hash, answer)
    })
}

fn mix(hash: u64, value: u64) -> u64 {
    value.to_le_bytes().iter().fold(hash, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01B3))
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn sieve(times: u64) -> u64 {
    let mut sum = 0;
    for round in 0..times {
        let mut composite = [false; 8192];
        for n in 2..composite.len() {
            if !composite[n] {
                sum += n as u64 ^ round;
                (n * n..composite.len()).step_by(n).for_each(|m| composite[m] = true);
            }
        }
    }
    sum
}

fn sort(times: u64) -> u64 {
    let mut random = Random(88_172_645_463_325_252);
    let mut hash = 1;
    for _ in 0..times {
        let mut list = [0u64; 1024];
        list.iter_mut().for_each(|x| *x = random.next());
        list.sort_unstable();
        hash = list.iter().step_by(37).fold(hash, |h, x| mix(h, *x));
    }
    hash
}

fn matrix(times: u64) -> u64 {
    let mut a = [[0f64; 32]; 32];
    let mut b = a;
    for i in 0..32 {
        for j in 0..32 {
            a[i][j] = (i * 3 + j) as f64 / 7.0;
            b[i][j] = (i ^ j) as f64 / 3.0;
        }
    }
    for _ in 0..times {
        let mut c = [[0f64; 32]; 32];
        for i in 0..32 {
            for k in 0..32 {
                let x = a[i][k];
                for j in 0..32 {
                    c[i][j] += x * b[k][j];
                }
            }
        }
        for i in 0..32 {
            for j in 0..32 {
                a[i][j] = c[i][j] / (1.0 + c[i][i]);
            }
        }
    }
    a.iter().flatten().fold(3, |h, x| mix(h, x.to_bits()))
}

fn divide(times: u64) -> u64 {
    let mut random = Random(2_463_534_242);
    let mut hash = 0u64;
    for _ in 0..times {
        let (a, b) = (random.next(), random.next());
        let wide = u128::from(a) * u128::from(b);
        let by = random.next() >> (a & 63) | 1;
        hash = hash.rotate_left(5) ^ (wide >> 32) as u64 ^ (a / by) ^ (a % by);
        hash ^= u64::from(b.count_ones()) << (b.leading_zeros() & 31);
        hash ^= ((b as i32) / (by as i32 | 1)).wrapping_mul(b as i32 >> 3) as u64;
    }
    hash
}

fn calls(times: u64) -> u64 {
    fn ackermann(m: u64, n: u64) -> u64 {
        match (m, n) {
            (0, _) => n + 1,
            (_, 0) => ackermann(m - 1, 1),
            _ => ackermann(m - 1, ackermann(m, n - 1)),
        }
    }
    (0..times).fold(0, |sum, n| sum * 3 + ackermann(2, 40 + n % 7))
}

fn bytes(times: u64) -> u64 {
    let mut text = [0u8; 4096];
    let mut crc = !0u32;
    for round in 0..times {
        for (n, byte) in text.iter_mut().enumerate() {
            *byte = byte.wrapping_mul(5).wrapping_add(n as u8 ^ round as u8);
        }
        text.copy_within(100..3000, 1000);
        for byte in text {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ if crc & 1 != 0 { 0xEDB8_8320 } else { 0 };
            }
        }
    }
    u64::from(!crc)
}

fn orbit(times: u64) -> u64 {
    let (mut x, mut y, mut u, mut v) = (1.0f64, 0.0f64, 0.0f64, 1.0f64);
    for _ in 0..times {
        let r2 = x * x + y * y;
        let mut root = r2;
        for _ in 0..6 {
            root = (root + r2 / root) * 0.5;
        }
        let pull = -0.001 / (r2 * root);
        u += x * pull;
        v += y * pull;
        x += u * 0.001;
        y += v * 0.001;
    }
    [x, y, u, v].iter().fold(7, |h, n| mix(h, n.to_bits()))
}
