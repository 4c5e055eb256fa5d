//! What can stand in a numbered field.

/// A value with a byte form. `take` gets exactly the bytes that `put` wrote, or anything at all from a hostile stream.
pub trait Field: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(from: &[u8]) -> Option<Self>;
}

macro_rules! int_field { ($($t:ty)*) => {$(impl Field for $t {
    fn put(&self, out: &mut Vec<u8>) { out.extend(self.to_le_bytes()) }
    fn take(from: &[u8]) -> Option<Self> { Some(<$t>::from_le_bytes(from.try_into().ok()?)) }
})*}}
int_field!(u8 u16 u32 u64 u128 i8 i16 i32 i64);

impl Field for usize {
    fn put(&self, out: &mut Vec<u8>) {
        (*self as u64).put(out)
    }
    fn take(from: &[u8]) -> Option<Self> {
        usize::try_from(u64::take(from)?).ok()
    }
}

impl Field for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self as u8)
    }
    fn take(from: &[u8]) -> Option<Self> {
        match from {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl Field for String {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.as_bytes())
    }
    fn take(from: &[u8]) -> Option<Self> {
        String::from_utf8(from.to_vec()).ok()
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(self.is_some() as u8);
        if let Some(v) = self {
            v.put(out)
        }
    }
    fn take(from: &[u8]) -> Option<Self> {
        match from.split_first()? {
            (0, []) => Some(None),
            (1, rest) => Some(Some(T::take(rest)?)),
            _ => None,
        }
    }
}

/// Items each with their length, so that they may differ in size.
fn put_items<T: Field>(items: &[T], out: &mut Vec<u8>) {
    for item in items {
        let at = out.len();
        out.extend([0; 4]);
        item.put(out);
        let len = (out.len() - at - 4) as u32;
        out[at..at + 4].copy_from_slice(&len.to_le_bytes());
    }
}

fn take_items<T: Field>(mut from: &[u8]) -> Option<Vec<T>> {
    let mut items = Vec::new();
    while !from.is_empty() {
        let (len, rest) = from.split_first_chunk::<4>()?;
        let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        items.push(T::take(body)?);
        from = rest;
    }
    Some(items)
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_items(self, out)
    }
    fn take(from: &[u8]) -> Option<Self> {
        take_items(from)
    }
}

impl<T: Field> Field for std::collections::VecDeque<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|item| put_items(std::slice::from_ref(item), out))
    }
    fn take(from: &[u8]) -> Option<Self> {
        take_items(from).map(Into::into)
    }
}

impl<T: Field, const N: usize> Field for [T; N] {
    fn put(&self, out: &mut Vec<u8>) {
        put_items(self, out)
    }
    fn take(from: &[u8]) -> Option<Self> {
        take_items::<T>(from)?.try_into().ok()
    }
}

macro_rules! tuple_field { ($($t:ident $n:tt),*) => {
    impl<$($t: Field),*> Field for ($($t,)*) {
        fn put(&self, out: &mut Vec<u8>) { $(put_items(std::slice::from_ref(&self.$n), out);)* }
        fn take(mut from: &[u8]) -> Option<Self> {
            let v = ($({
                let (len, rest) = from.split_first_chunk::<4>()?;
                let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
                from = rest;
                $t::take(body)?
            },)*);
            from.is_empty().then_some(v)
        }
    }
}}
tuple_field!(A 0, B 1);
tuple_field!(A 0, B 1, C 2);
tuple_field!(A 0, B 1, C 2, D 3);
