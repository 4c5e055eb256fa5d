//! What a test case is: instruction bytes, all state a user-mode program can see, and what
//! came out. Every column (interpreter, JIT, host CPU) speaks these types.

use crate::mode::Mode;
use crate::rng::{self, Rng};

/// Where the tested code may stand.
pub const CODE: u64 = 0x0E00_0000;
pub const CODE_SIZE: u64 = 0x1_0000;
/// Where a case stands unless it says otherwise.
pub const START: u64 = CODE + 0x100;
/// Near branches go here: a page full of INT3. Arriving ends the case with `End::Done`.
pub const LANDING: u64 = 0x0F00_0000;
pub const LANDING_SIZE: u64 = 0x1000;
/// The two memory windows. The pages before and after each are not mapped.
pub const WINDOWS: [u64; 2] = [0x1000_0000, 0x2000_0000];
pub const WINDOW_SIZE: u64 = 0x4000;
/// Where RSP starts unless the case says otherwise.
pub const STACK: u64 = WINDOWS[1] + 0x2000;

pub const CF: u64 = 1 << 0;
pub const PF: u64 = 1 << 2;
pub const AF: u64 = 1 << 4;
pub const ZF: u64 = 1 << 6;
pub const SF: u64 = 1 << 7;
pub const TF: u64 = 1 << 8;
pub const IF: u64 = 1 << 9;
pub const DF: u64 = 1 << 10;
pub const OF: u64 = 1 << 11;
pub const RF: u64 = 1 << 16;
/// The flags a case sets and compares. IF and bit 1 are always one.
pub const FLAGS: u64 = CF | PF | AF | ZF | SF | DF | OF;

pub const RSP: usize = 4;

/// All that user-mode code can see of a core, bar FS and GS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub gpr: [u64; 16],
    pub rip: u64,
    /// ES, CS, SS, DS; what they hold at the start is the mode's. Zero in 64-bit code, which does not load them.
    pub seg: [u16; 4],
    /// Only the bits of `FLAGS`.
    pub rflags: u64,
    pub ymm: [[u64; 4]; 16],
    pub mxcsr: u32,
    pub fcw: u16,
    pub fsw: u16,
    /// The abridged tag word of FXSAVE: bit n is one if physical register n is not empty.
    pub ftw: u8,
    pub fop: u16,
    pub fip: u64,
    pub fdp: u64,
    /// ST(0) to ST(7), 80 bits each. The low 64 bits of the register MMn are at
    /// `st[(n - TOP) & 7]`.
    pub st: [u128; 8],
}

impl State {
    /// Zero registers, RSP in the second window, MXCSR and x87 as after a reset by software.
    pub fn plain() -> State {
        let mut gpr = [0; 16];
        gpr[RSP] = STACK;
        State {
            gpr,
            rip: START,
            seg: [0; 4],
            rflags: 0,
            ymm: [[0; 4]; 16],
            mxcsr: 0x1F80,
            fcw: 0x37F,
            fsw: 0,
            ftw: 0,
            fop: 0,
            fip: 0,
            fdp: 0,
            st: [0; 8],
        }
    }

    /// A register file full of interesting values; the same seed gives the same state for ever.
    /// Seed 0 is `plain`.
    pub fn from_seed(seed: u64) -> State {
        let mut s = State::plain();
        if seed == 0 {
            return s;
        }
        let r = &mut Rng::of(seed, 1);
        for v in &mut s.gpr {
            let bits = r.pick(&[8, 16, 32, 64, 64, 64]);
            *v = rng::integer(r, bits);
            if bits < 64 && r.below(2) == 0 {
                *v |= r.next() << bits; // dirt above
            }
        }
        s.gpr[RSP] = STACK + 8 * r.below(64);
        s.rflags = r.next() & (FLAGS & !DF) | if r.below(8) == 0 { DF } else { 0 };
        // Mostly one lane kind a case, so that floats meet floats.
        let common = r.below(10);
        for y in &mut s.ymm {
            let kind = if r.below(5) == 0 { r.below(10) } else { common };
            *y = [(); 4].map(|()| rng::lanes(r, kind));
        }
        s.mxcsr = 0x1F80;
        if r.below(2) == 0 {
            s.mxcsr |= (r.below(4) as u32) << 13;
            s.mxcsr |= r.pick(&[0, 0, 0x40, 0x8000, 0x8040]);
            let any = r.below(64) as u32;
            s.mxcsr |= r.pick(&[0, 0, 0x3F, any]);
        }
        if r.below(50) == 0 {
            s.mxcsr &= !(0x80 << r.below(6));
        }
        s.fcw = 0x7F;
        s.fcw |= r.pick(&[0x300, 0x300, 0x200, 0, 0x100]);
        s.fcw |= (r.pick(&[0, 0, 1, 2, 3])) << 10;
        s.fsw = (r.below(8) as u16) << 11;
        s.fsw |= (r.next() as u16) & 0x4700;
        s.fsw |= r.pick(&[0, 0, 0x3F, 0x7F]) & r.next() as u16;
        if r.below(50) == 0 {
            s.fcw &= !(1 << r.below(6));
        }
        if s.fsw & !s.fcw & 0x3F != 0 {
            // Mostly no exception is pending at the start; when one is, the summary says so.
            if r.below(4) == 0 {
                s.fsw |= 0x8080;
            } else {
                s.fsw &= !0x3F;
            }
        }
        let any = r.next() as u8;
        s.ftw = r.pick(&[0xFF, 0xFF, 0xFF, 0, 0x7F, 0xF0, any]);
        for v in &mut s.st {
            *v = rng::extended(r);
        }
        s
    }

    pub fn top(&self) -> usize {
        usize::from(self.fsw >> 11 & 7)
    }

    pub fn mm(&self, n: usize) -> u64 {
        self.st[n.wrapping_sub(self.top()) & 7] as u64
    }
}

/// Bytes put into a window before the case runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    pub at: u64,
    pub bytes: Vec<u8>,
}

/// One thing to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    pub mode: Mode,
    /// The instructions; they stand at `state.rip`, inside the code window.
    pub code: Vec<u8>,
    /// How many instructions `code` holds.
    pub count: usize,
    /// What `state` was made from, before some registers were given special values.
    pub seed: u64,
    pub state: State,
    /// What the windows hold (`background`) before the patches.
    pub mem_seed: u64,
    pub patches: Vec<Patch>,
    /// Whether some instruction may write memory: if not, columns need not look for changes.
    pub writes: bool,
}

impl Case {
    /// The linear address of the code.
    pub fn at(&self) -> u64 {
        self.mode.code(self.state.rip)
    }

    /// The state that the case's seed makes.
    pub fn seeded(&self) -> State {
        self.mode.adapt(State::from_seed(self.seed))
    }
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Done,
    /// An exception; the state is the one at the fault. `address` and `write` are for #PF only.
    Fault {
        vector: u8,
        address: u64,
        write: bool,
    },
}

/// What came out of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub end: End,
    pub state: State,
    /// The 8-byte words of the windows that are not as before: address and new value, rising.
    pub mem: Vec<(u64, u64)>,
}

/// The contents of both windows, one after the other, as 8-byte words. Seed 0 is all zero.
pub fn background(mem_seed: u64) -> Vec<u64> {
    let words = (WINDOW_SIZE / 8) as usize * WINDOWS.len();
    if mem_seed == 0 {
        return vec![0; words];
    }
    let r = &mut Rng::of(mem_seed, 2);
    let mut out = Vec::with_capacity(words);
    while out.len() < words {
        let kind = r.below(11);
        for _ in 0..8 {
            out.push(rng::lanes(r, kind));
        }
    }
    out
}

/// The offset in `background` bytes of a window address.
pub fn window_offset(at: u64) -> Option<usize> {
    (0..WINDOWS.len()).find_map(|w| {
        let off = at.wrapping_sub(WINDOWS[w]);
        (off < WINDOW_SIZE).then(|| w * WINDOW_SIZE as usize + off as usize)
    })
}

/// The address of an offset in `background` bytes.
pub fn window_address(offset: usize) -> u64 {
    let size = WINDOW_SIZE as usize;
    WINDOWS[offset / size] + (offset % size) as u64
}

/// Puts patches into the words of the windows. Bytes outside of the windows are left out.
pub fn apply(patches: &[Patch], words: &mut [u64]) {
    for p in patches {
        for (i, b) in p.bytes.iter().enumerate() {
            if let Some(off) = window_offset(p.at.wrapping_add(i as u64)) {
                let shift = 8 * (off % 8);
                words[off / 8] = words[off / 8] & !(0xFF << shift) | u64::from(*b) << shift;
            }
        }
    }
}

/// The indices of the words that a patch touches.
pub fn patched_words(p: &Patch) -> impl Iterator<Item = usize> {
    let (at, len) = (p.at, p.bytes.len() as u64);
    let words = if len == 0 { 0 } else { (at % 8 + len).div_ceil(8) };
    (0..words).filter_map(move |i| window_offset((at & !7).wrapping_add(8 * i))).map(|off| off / 8)
}

/// What the windows hold when a case starts.
pub fn memory(case: &Case) -> Vec<u64> {
    let mut words = background(case.mem_seed);
    apply(&case.patches, &mut words);
    words
}
