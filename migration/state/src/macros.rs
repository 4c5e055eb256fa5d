//! The `state!` and `bits!` macros.

/// Declares the guest-visible state of a part: numbered fields with their reset values.
///
/// ```
/// state::state! {
///     /// A counter.
///     pub struct Counter { 1 value: u32 = 0, 2 running: bool = false }
/// }
/// let c = Counter { value: 5, ..Counter::default() };
/// assert_eq!(Counter::load(&c.save()), Ok(c));
/// ```
#[macro_export]
macro_rules! state {
    ($(#[$m:meta])* $v:vis struct $name:ident {
        $($(#[$fm:meta])* $n:literal $f:ident: $t:ty = $reset:expr),* $(,)?
    }) => {
        $(#[$m])*
        #[derive(Clone, Debug, PartialEq)]
        $v struct $name { $($(#[$fm])* pub $f: $t),* }
        impl Default for $name {
            fn default() -> Self { Self { $($f: $reset),* } }
        }
        impl $name {
            /// The state as numbered fields.
            #[allow(dead_code)]
            pub fn save(&self) -> Vec<u8> {
                let mut out = Vec::new();
                $crate::Field::put(self, &mut out);
                out
            }
            /// The state that `from` holds. Absent fields have their reset value.
            #[allow(dead_code)]
            pub fn load(mut from: &[u8]) -> Result<Self, $crate::Misfit> {
                let mut s = Self::default();
                while let Some((number, body)) = $crate::next_field(&mut from)? {
                    match number {
                        $($n => s.$f = $crate::Field::take(body).ok_or(
                            $crate::Misfit::BadValue { part: stringify!($name), field: $n })?,)*
                        _ => {}
                    }
                }
                Ok(s)
            }
        }
        impl $crate::Field for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $($crate::put_field(out, $n, |o| $crate::Field::put(&self.$f, o));)*
            }
            fn take(from: &[u8]) -> Option<Self> { Self::load(from).ok() }
        }
    };
}

/// A register made of named bits: `one_bit: 3` reads as `bool`, `several: 4..7` as the integer type (end exclusive).
///
/// ```
/// state::bits! {
///     /// A status register.
///     pub struct Status: u8 { ready: 0, mode: 1..3 }
/// }
/// let s = Status(0).with_ready(true).with_mode(2);
/// assert_eq!((s.0, s.ready(), s.mode()), (0b101, true, 2));
/// ```
#[macro_export]
macro_rules! bits {
    ($(#[$m:meta])* $v:vis struct $name:ident: $t:ident { $($body:tt)* }) => {
        $(#[$m])*
        #[derive(Clone, Copy, Default, PartialEq, Eq)]
        $v struct $name(pub $t);
        impl $name { $crate::bits!(@fields $t; $($body)*); }
        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }
        impl $crate::Field for $name {
            fn put(&self, out: &mut Vec<u8>) { $crate::Field::put(&self.0, out) }
            fn take(from: &[u8]) -> Option<Self> { $crate::Field::take(from).map(Self) }
        }
    };
    (@fields $t:ident; ) => {};
    (@fields $t:ident; $(#[$m:meta])* $f:ident: $lo:literal .. $hi:literal $(, $($rest:tt)*)?) => {
        $crate::paste_field!($t, [$(#[$m])*] $f, $lo, $hi);
        $crate::bits!(@fields $t; $($($rest)*)?);
    };
    (@fields $t:ident; $(#[$m:meta])* $f:ident: $bit:literal $(, $($rest:tt)*)?) => {
        $crate::paste_bit!($t, [$(#[$m])*] $f, $bit);
        $crate::bits!(@fields $t; $($($rest)*)?);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! paste_field {
    ($t:ident, [$(#[$m:meta])*] $f:ident, $lo:literal, $hi:literal) => { $crate::paste::paste! {
        $(#[$m])*
        #[allow(dead_code)]
        pub fn $f(self) -> $t { self.0 >> $lo & ($t::MAX >> ($t::BITS - ($hi - $lo))) }
        #[allow(dead_code)]
        #[must_use]
        pub fn [<with_ $f>](self, v: $t) -> Self {
            let m = ($t::MAX >> ($t::BITS - ($hi - $lo))) << $lo;
            Self(self.0 & !m | v << $lo & m)
        }
    } };
}

#[doc(hidden)]
#[macro_export]
macro_rules! paste_bit {
    ($t:ident, [$(#[$m:meta])*] $f:ident, $bit:literal) => { $crate::paste::paste! {
        $(#[$m])*
        #[allow(dead_code)]
        pub fn $f(self) -> bool { self.0 >> $bit & 1 != 0 }
        #[allow(dead_code)]
        #[must_use]
        pub fn [<with_ $f>](self, v: bool) -> Self {
            Self(self.0 & !(1 << $bit) | (v as $t) << $bit)
        }
    } };
}
