//! Saved state: numbered fields, declared once.
//!
//! A part lists what a guest can see of it in one [`state!`] struct. Saving, loading, resetting and hashing all follow from
//! that list. On the wire a struct is a run of `(number: u16, length: u32, bytes)` in little endian. A number never changes
//! its meaning and is never used again; a reader skips numbers it does not know and gives absent ones their reset value.

mod field;
mod macros;

#[doc(hidden)]
pub use paste;

pub use field::Field;

/// Why a saved state cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// The bytes end inside a field.
    Truncated,
    /// The field's bytes are not a value of its type.
    BadValue { part: &'static str, field: u16 },
    /// A value that the part cannot take (for example, a different RAM size).
    Unfit(String),
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Misfit::Truncated => write!(f, "saved state ends in the middle of a field"),
            Misfit::BadValue { part, field } => {
                write!(f, "saved state: {part}: field {field} has a value of another type")
            }
            Misfit::Unfit(why) => write!(f, "saved state: {why}"),
        }
    }
}
impl std::error::Error for Misfit {}

/// One field as it stands in a stream: `(number, length, bytes)`.
pub fn put_field(out: &mut Vec<u8>, number: u16, put: impl FnOnce(&mut Vec<u8>)) {
    out.extend(number.to_le_bytes());
    let at = out.len();
    out.extend([0; 4]);
    put(out);
    let len = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
}

/// Splits the next field off `from`; `None` at the end.
pub fn next_field<'a>(from: &mut &'a [u8]) -> Result<Option<(u16, &'a [u8])>, Misfit> {
    if from.is_empty() {
        return Ok(None);
    }
    let (number, rest) = from.split_first_chunk::<2>().ok_or(Misfit::Truncated)?;
    let (len, rest) = rest.split_first_chunk::<4>().ok_or(Misfit::Truncated)?;
    let len = u32::from_le_bytes(*len) as usize;
    let (body, rest) = rest.split_at_checked(len).ok_or(Misfit::Truncated)?;
    *from = rest;
    Ok(Some((u16::from_le_bytes(*number), body)))
}

#[cfg(test)]
mod test {
    use super::*;
    use crate as state;

    state::state! {
        /// A part.
        pub struct Inner { 1 a: u8 = 3, 2 b: [u16; 2] = [1, 2] }
    }
    state::state! {
        /// A part with parts.
        pub struct Outer {
            1 n: u64 = 9,
            2 inner: Inner = Inner::default(),
            5 list: Vec<u32> = Vec::new(),
            6 maybe: Option<u8> = None,
            7 on: bool = false,
            8 text: String = String::new(),
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let s = Outer {
            n: 1,
            inner: Inner { a: 7, b: [8, 9] },
            list: vec![1, 2, 3],
            maybe: Some(4),
            on: true,
            text: "x".into(),
        };
        assert_eq!(Outer::load(&s.save()), Ok(s));
    }

    #[test]
    fn absent_fields_are_reset_and_unknown_ones_skipped() {
        let mut bytes = Vec::new();
        put_field(&mut bytes, 99, |o| o.extend(b"whatever"));
        put_field(&mut bytes, 1, |o| 77u64.put(o));
        assert_eq!(Outer::load(&bytes), Ok(Outer { n: 77, ..Outer::default() }));
    }

    #[test]
    fn damage_is_an_error() {
        let good = Outer { list: vec![1; 10], ..Outer::default() }.save();
        for n in 1..good.len() {
            let _ = Outer::load(&good[..n]);
        }
        assert_eq!(Outer::load(&good[..3]), Err(Misfit::Truncated));
        let mut bytes = Vec::new();
        put_field(&mut bytes, 1, |o| o.push(1));
        assert_eq!(Outer::load(&bytes), Err(Misfit::BadValue { part: "Outer", field: 1 }));
        let mut bytes = Vec::new();
        put_field(&mut bytes, 7, |o| o.push(2));
        assert!(Outer::load(&bytes).is_err());
        // A list that claims more than there is must not allocate for it.
        let mut bytes = Vec::new();
        put_field(&mut bytes, 5, |o| u32::MAX.put(o));
        assert!(Outer::load(&bytes).is_err());
    }
}
