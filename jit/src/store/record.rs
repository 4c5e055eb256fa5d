//! What a block's code is outside the program: numbers of four bytes, the least significant first, then runs of bytes.

use crate::emit::Emitted;
use crate::emit::asm::{Asm, Hole, Mark};
use crate::plan::Flow;

/// What is known of a block besides its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Instructions.
    pub count: u32,
    /// See [`crate::block::Block::end`].
    pub end: bool,
    pub flow: Flow,
}

const COUNTER: u32 = 0;
const INSN: u32 = 1;
const PAGE: u32 = 2;

/// A block's code whose guest code is `text`, at RAM offset `at`, all in one page.
pub fn write(about: &About, at: u64, text: &[u8], code: &Emitted) -> Vec<u8> {
    let asm = &code.asm;
    let Flow { taken, falls, calls, returns } = about.flow;
    let bits = [about.end, falls, calls, returns, taken.is_some(), asm.cut.is_some()];
    let bits = bits.iter().enumerate().fold(0, |all, (n, bit)| all | u32::from(*bit) << n);
    let mut out = Out(Vec::with_capacity(64 + text.len() + asm.code.len()));
    out.words([about.count, bits, taken.unwrap_or(0) as u32, code.inner, asm.cut.unwrap_or(0)]);
    out.words([asm.crossing.len() as u32]);
    out.words(asm.crossing.iter().copied());
    out.words([code.links.len() as u32]);
    out.words(code.links.iter().flat_map(|(hole, to)| [hole.0, to.wrapping_sub(at) as u32]));
    out.words([asm.marks.len() as u32]);
    for &(place, mark) in &asm.marks {
        let (kind, number) = match mark {
            Mark::Counter => (COUNTER, 0),
            Mark::Insn(n) => (INSN, n),
            Mark::Page(d) => (PAGE, d as u32),
        };
        out.words([place, kind, number]);
    }
    out.run(text);
    out.run(&asm.code);
    out.0
}

/// What [`write`] wrote, for the guest code at RAM offset `at`, where memory goes on with `ahead`. `None`: it is of other
/// guest code, or no record at all.
pub fn read(record: &[u8], at: u64, ahead: &[u8]) -> Option<(About, usize, Emitted)> {
    let mut from = In(record);
    let [count, bits, taken, inner, cut] = from.words()?;
    let bit = |n: u32| bits >> n & 1 != 0;
    let flow = Flow {
        taken: bit(4).then_some(taken as i32),
        falls: bit(1),
        calls: bit(2),
        returns: bit(3),
    };
    let crossing = from.list(|[at]| Some(at))?;
    let near = |to: u32| at.wrapping_add(to as i32 as u64);
    let links = from.list(|[hole, to]| Some((Hole(hole), near(to))))?;
    let marks = from.list(|[place, kind, n]| match kind {
        COUNTER => Some((place, Mark::Counter)),
        INSN if n < count => Some((place, Mark::Insn(n))),
        PAGE => Some((place, Mark::Page((n as i32).into()))),
        _ => None,
    })?;
    let text = from.run()?;
    if !ahead.starts_with(text) || text.is_empty() {
        return None;
    }
    let code = from.run()?.to_vec();
    let len = code.len() as u32;
    let inside = |at: u32, bytes: u32| at.checked_add(bytes).is_some_and(|end| end <= len);
    let whole = count > 0
        && inner < len
        && cut <= len
        && crossing.iter().all(|&at| inside(at, 4))
        && links.iter().all(|l| inside(l.0.0, 4))
        && marks.iter().all(|m| inside(m.0, m.1.bytes() as u32));
    let calls = marks.iter().any(|m| matches!(m.1, Mark::Insn(_)));
    let asm = Asm { code, cut: bit(5).then_some(cut), crossing, marks };
    let about = About { count, end: bit(0), flow };
    whole.then_some((about, text.len(), Emitted { asm, inner, links, calls }))
}

struct Out(Vec<u8>);
impl Out {
    fn words(&mut self, all: impl IntoIterator<Item = u32>) {
        all.into_iter().for_each(|w| self.0.extend(w.to_le_bytes()));
    }
    fn run(&mut self, bytes: &[u8]) {
        self.words([bytes.len() as u32]);
        self.0.extend(bytes);
    }
}

struct In<'a>(&'a [u8]);
impl<'a> In<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (all, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(all)
    }
    fn words<const N: usize>(&mut self) -> Option<[u32; N]> {
        let all = self.take(4 * N)?;
        Some(std::array::from_fn(|n| {
            all[4 * n..].first_chunk().map_or(0, |w| u32::from_le_bytes(*w))
        }))
    }
    fn list<T, const N: usize>(&mut self, one: impl Fn([u32; N]) -> Option<T>) -> Option<Vec<T>> {
        let [many] = self.words()?;
        let mut all = In(self.take((many as usize).checked_mul(4 * N)?)?);
        (0..many).map(|_| one(all.words()?)).collect()
    }
    fn run(&mut self) -> Option<&'a [u8]> {
        let [n] = self.words()?;
        self.take(n as usize)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn one() -> (About, Emitted) {
        let flow = Flow { taken: Some(-7), falls: true, calls: false, returns: false };
        let marks = vec![(4, Mark::Counter), (8, Mark::Insn(2)), (16, Mark::Page(-0x3000))];
        let asm = Asm { code: (0..40).collect(), cut: Some(30), crossing: vec![20, 32], marks };
        let links = vec![(Hole(24), 0x1ff8), (Hole(28), 0x2010)];
        let code = Emitted { asm, inner: 2, links, calls: true };
        (About { count: 3, end: false, flow }, code)
    }

    #[test]
    fn a_block_comes_back_as_it_was_where_its_code_is_now() {
        let (about, code) = one();
        let record = write(&about, 0x2000, b"guest", &code);
        let (also, bytes, back) = read(&record, 0x5000, b"guest code").unwrap();
        assert_eq!((also, bytes, back.inner, back.calls), (about, 5, 2, true));
        assert_eq!(back.links, [(Hole(24), 0x4ff8), (Hole(28), 0x5010)]);
        assert_eq!((&back.asm.code, back.asm.cut), (&code.asm.code, Some(30)));
        assert_eq!((&back.asm.crossing, &back.asm.marks), (&code.asm.crossing, &code.asm.marks));
        assert!(read(&record, 0x5000, b"guess code").is_none());
    }

    #[test]
    fn what_is_cut_short_or_points_outside_is_no_record() {
        let (about, code) = one();
        let record = write(&about, 0, b"guest", &code);
        for n in 0..record.len() {
            assert!(read(&record[..n], 0, b"guest").is_none(), "{n}");
        }
        // Each number as large as can be: none is believed, or it says nothing of places.
        for n in (0..record.len() - 40).step_by(4) {
            let mut bad = record.clone();
            bad[n..n + 4].fill(0x7f);
            if let Some((_, _, code)) = read(&bad, 0, b"guest") {
                let far = |at: u32| at as usize + 4 > code.asm.code.len();
                assert!(!code.asm.crossing.iter().any(|&at| far(at)), "{n}");
                assert!(!code.links.iter().any(|l| far(l.0.0)), "{n}");
                assert!(!code.asm.marks.iter().any(|m| far(m.0)), "{n}");
            }
        }
    }
}
