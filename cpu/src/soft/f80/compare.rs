//! FCOM, FUCOM, FCOMI, FTST.  SDM vol. 2A, FCOM.

use super::*;

/// The order of two registers.  A quiet NaN is invalid if `signals` (FCOM, FCOMI), not with FUCOM and FUCOMI.
pub fn compare(a: F80, b: F80, signals: bool, env: &mut Env) -> Order {
    let (ca, cb) = (a.class(), b.class());
    let odd = |c| c == Class::Nan || c == Class::Unsupported;
    if odd(ca) || odd(cb) {
        let unsupported = ca == Class::Unsupported || cb == Class::Unsupported;
        if signals || unsupported || a.is_signalling() || b.is_signalling() {
            env.raise(flag::IE);
        }
        return Order::Unordered;
    }
    denormal(a, b, env);
    let key = |x: F80| {
        // A pseudo-denormal has the value of exponent one.
        let exp = if x.exp() == 0 { (x.sig >> 63) as i32 } else { x.exp() };
        let size = ((exp as i128) << 64) | x.sig as i128;
        if x.sign() { -size } else { size }
    };
    match key(a).cmp(&key(b)) {
        core::cmp::Ordering::Less => Order::Less,
        core::cmp::Ordering::Equal => Order::Equal,
        core::cmp::Ordering::Greater => Order::Greater,
    }
}

/// FTST: compared with zero.
pub fn test(a: F80, env: &mut Env) -> Order {
    compare(a, ZERO, true, env)
}
