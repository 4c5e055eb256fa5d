//! FSIN, FCOS, FSINCOS, FPTAN, FPATAN.  SDM vol. 1, 8.3.8 and 8.3.10; vol. 2A, table 3-31.
//!
//! Arguments are reduced by the 66-bit pi of the processor, exactly, so that far from zero the answer is that of the
//! processor and not that of the true pi.

use super::tables::{ATAN, PI_4};
use super::wide::{Wide, factorials, inexact, odd_parts, series};
use super::*;

/// Half of the processor's pi in units of 2^-65.  SDM vol. 1, 8.3.8: 0.C90FDAA2_2168C234_C * 2^2.
const HALF_PI: u128 = 0x3_243f_6a88_85a3_08d3;

/// 1/3!, 1/5!, ...
const SIN: [u128; 16] = factorials(3, 2);
/// 1/2!, 1/4!, ...
const COS: [u128; 16] = factorials(2, 2);
/// 1/3, 2/15, 17/315: enough below 2^-20.
const TAN: [u128; 3] = [u128::MAX / 3, u128::MAX / 15 * 2, u128::MAX / 315 * 17];
/// 1/3, 1/5, ...
const ATAN_SERIES: [u128; 11] = odd_parts();

/// An angle between -pi/4 and pi/4 and the number of quarter turns taken away.
struct Angle {
    rest: Wide,
    turns: u64,
}

/// What comes before any of the functions of an angle.
enum Start {
    /// The answer is known (NaN, invalid, aborted).
    Answer(F80),
    /// Zero, of this sign.
    Zero(bool),
    /// Below 2^-68: the processor takes the sine and tangent for the angle and the cosine for 1 in every rounding mode.
    Tiny(Wide),
    /// Below 2^63.
    Angle(Angle),
    /// 2^63 or more: C2 is set and nothing done.
    Far,
}

fn start(a: F80, env: &mut Env) -> Start {
    if let Some(nan) = nan1(a, env) {
        return Start::Answer(nan);
    }
    match a.class() {
        Class::Infinity => return Start::Answer(invalid(env)),
        Class::Zero => return Start::Zero(a.sign()),
        _ if a.exp() >= BIAS + 63 => return Start::Far,
        _ => {}
    }
    if denormal(a, a, env) {
        return Start::Answer(a);
    }
    let x = Finite::of(a);
    if x.exp < BIAS - 68 { Start::Tiny(Wide::from(x)) } else { Start::Angle(reduce(x)) }
}

fn reduce(x: Finite) -> Angle {
    let exp = x.exp - BIAS;
    if exp < -1 {
        return Angle { rest: Wide::from(x), turns: 0 };
    }
    let whole = (x.sig as u128) << (exp + 2);
    let (mut turns, mut rest) = ((whole / HALF_PI) as u64, whole % HALF_PI);
    let mut sign = x.sign;
    if rest * 2 > HALF_PI {
        (turns, rest, sign) = (turns + 1, HALF_PI - rest, !sign);
    }
    // A negative angle turns backward.
    let turns = if x.sign { turns.wrapping_neg() } else { turns };
    Angle { rest: Wide::fixed(sign, rest, 65), turns }
}

impl Angle {
    /// The square of the rest as a fraction of 2^128.
    fn square(&self) -> u128 {
        self.rest.mul(self.rest).to_fixed(128)
    }

    fn sin_of_rest(&self) -> Wide {
        self.rest.less(series(self.square(), &SIN, false))
    }

    fn cos_of_rest(&self) -> Wide {
        let missing = series(self.square(), &COS, false).max(1);
        Wide::fixed(false, missing.wrapping_neg(), 128)
    }

    fn sin(&self) -> Wide {
        let x = if self.turns & 1 == 0 { self.sin_of_rest() } else { self.cos_of_rest() };
        Wide { sign: x.sign ^ (self.turns & 2 != 0), ..x }
    }

    fn cos(&self) -> Wide {
        Angle { rest: self.rest, turns: self.turns.wrapping_add(1) }.sin()
    }

    fn tan(&self) -> Wide {
        if self.rest.exp < -20 && self.turns & 1 == 0 {
            // So close to the angle that the division's last place would decide the rounding.
            return self.rest.more(series(self.square(), &TAN, true));
        }
        self.sin().div(self.cos())
    }
}

/// FSIN.  None: out of range, C2 is set and ST0 stays.
pub fn sin(a: F80, env: &mut Env) -> Option<F80> {
    Some(match start(a, env) {
        Start::Answer(r) => r,
        Start::Zero(sign) => F80::zero(sign),
        Start::Far => return None,
        Start::Tiny(x) => x.round_as(true, env),
        Start::Angle(x) => x.sin().round(env),
    })
}

/// FCOS.  None: out of range.
pub fn cos(a: F80, env: &mut Env) -> Option<F80> {
    Some(match start(a, env) {
        Start::Answer(r) => r,
        Start::Zero(_) => ONE,
        Start::Far => return None,
        Start::Tiny(_) => inexact(ONE, env),
        Start::Angle(x) => x.cos().round(env),
    })
}

/// FSINCOS: (sine, cosine), the second to be pushed.  None: out of range.
pub fn sincos(a: F80, env: &mut Env) -> Option<(F80, F80)> {
    Some(match start(a, env) {
        Start::Answer(r) => (r, r),
        Start::Zero(sign) => (F80::zero(sign), ONE),
        Start::Far => return None,
        Start::Tiny(x) => (x.round_as(true, env), ONE),
        Start::Angle(x) => (x.sin().round(env), x.cos().round(env)),
    })
}

/// FPTAN: (tangent, what is pushed: 1, or the NaN).  None: out of range.
pub fn tan(a: F80, env: &mut Env) -> Option<(F80, F80)> {
    Some(match start(a, env) {
        Start::Answer(r) => (r, r),
        Start::Zero(sign) => (F80::zero(sign), ONE),
        Start::Far => return None,
        Start::Tiny(x) => (x.round_as(true, env), ONE),
        Start::Angle(x) => (x.tan().round(env), ONE),
    })
}

/// FPATAN: the angle of the point (`x`, `y`), `y` being ST1 and `x` ST0.
pub fn atan(y: F80, x: F80, env: &mut Env) -> F80 {
    if let Some(nan) = nan2(x, y, env) {
        return nan;
    }
    if denormal(x, y, env) {
        return x;
    }
    let eighths = |n: u128| Wide::fixed(y.sign(), n * (PI_4 >> 2), 126);
    match (y.class(), x.class()) {
        (Class::Zero, _) if !x.sign() => F80::zero(y.sign()),
        (Class::Zero, _) => eighths(4).round(env),
        (Class::Infinity, Class::Infinity) if x.sign() => eighths(3).round(env),
        (Class::Infinity, Class::Infinity) => eighths(1).round(env),
        (Class::Infinity, _) | (_, Class::Zero) => eighths(2).round(env),
        (_, Class::Infinity) if !x.sign() => F80::zero(y.sign()),
        (_, Class::Infinity) => eighths(4).round(env),
        _ => {
            let (y, x) = (Finite::of(y), Finite::of(x));
            if !x.sign && x.exp - y.exp > 40 {
                let (quotient, exact) = Wide::from(y).div_exact(Wide::from(x));
                if exact {
                    return quotient.round_as(true, env);
                }
            }
            angle(y, x).round(env)
        }
    }
}

/// The angle of a point off the axes.
fn angle(y: Finite, x: Finite) -> Wide {
    let steep = (y.exp, y.sig) > (x.exp, x.sig);
    let (num, den) = if steep { (x, y) } else { (y, x) };
    let first_octant = arc(num, den);
    if !steep && !x.sign {
        return Wide { sign: y.sign, ..first_octant };
    }
    let small = first_octant.to_fixed(126).max(1);
    let quarter = PI_4 >> 2;
    let turned = match (steep, x.sign) {
        (false, _) => quarter * 4 - small,
        (true, false) => quarter * 2 - small,
        (true, true) => quarter * 2 + small,
    };
    Wide::fixed(y.sign, turned, 126)
}

/// The arc tangent of `num / den`, which is at most one; signs do not count.
fn arc(num: Finite, den: Finite) -> Wide {
    let positive = |x| Wide { sign: false, ..Wide::from(x) };
    let apart = den.exp - num.exp;
    if apart >= 7 {
        return small_arc(positive(num).div(positive(den)));
    }
    // atan(n/d) = atan(i/32) + atan((32 n - i d) / (32 d + i n)), i/32 being near n/d; the fraction is exact.
    let (n, d) = (num.sig as u128, (den.sig as u128) << apart);
    let i = (((n >> 16) as u64 / (d >> 22) as u64 + 1) >> 1) as u128;
    let (above, below) = (32 * n as i128 - (i * d) as i128, 32 * d + i * n);
    if above == 0 {
        return Wide::fixed(false, ATAN[i as usize], 126);
    }
    let t = small_arc(Wide::signed(above, 0).div(Wide::fixed(false, below, 0)));
    match (i, t.sign) {
        (0, _) => t,
        (_, false) => Wide::fixed(false, ATAN[i as usize] + t.to_fixed(126), 126),
        (_, true) => Wide::fixed(false, ATAN[i as usize] - t.to_fixed(126), 126),
    }
}

/// The arc tangent of a number of at most 1/64.
fn small_arc(t: Wide) -> Wide {
    t.less(series(t.mul(t).to_fixed(128), &ATAN_SERIES, false))
}
