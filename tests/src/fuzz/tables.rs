//! What a case's memory holds besides its code: page tables, descriptor tables, task states, handlers.

use crate::rng::Rng;
use cpu::Segment;
use memory::Ram;

/// Places in memory, for all modes the same. Linear addresses below 2 MiB are physical ones.
pub const REAL_HANDLERS: u64 = 0x5000;
pub const CODE: u64 = 0x1_0000;
pub const STACK: u64 = 0x2_0000;
pub const DATA: u64 = 0x3_0000;
pub const PML5: u64 = 0x10_0000;
pub const PML4: u64 = 0x10_1000;
pub const PDPT: u64 = 0x10_2000;
const PD: u64 = 0x10_3000;
const PT: u64 = 0x10_4000;
pub const PD32: u64 = 0x10_5000;
const PT32: u64 = 0x10_6000;
pub const PDPT_PAE: u64 = 0x10_7000;
const PT_DEVICES: u64 = 0x10_8000;
pub const GDT: u64 = 0x10_9000;
pub const IDT: u64 = 0x10_A000;
pub const TSS: u64 = 0x10_B000;
const LDT: u64 = 0x10_E000;
const OTHER_TSS: u64 = 0x10_F000;
const HANDLERS: u64 = 0x11_0000;
const HANDLER_STACK: u64 = 0x11_F000;
/// Where the linear addresses of devices begin.
pub const DEVICES: u64 = 0x20_0000;
pub const RAM: u64 = 0x20_0000;

/// Descriptors by their index: code of 64, 32 and 16 bits and data for privilege 0, then for 3, then others.
pub const CODE64: u16 = 1;
pub const CODE32: u16 = 2;
pub const CODE16: u16 = 3;
pub const DATA32: u16 = 4;
pub const DATA16: u16 = 5;
/// How much further those for privilege 3 are.
pub const USER: u16 = 5;
pub const TASK: u16 = 14;
pub const LOCAL: u16 = 18;

/// A descriptor of a segment: `kind` is its bits 8 to 15, `size` G, D, L and AVL.
fn descriptor(base: u64, limit: u64, kind: u64, size: u64) -> u64 {
    limit & 0xFFFF
        | (base & 0xFF_FFFF) << 16
        | kind << 40
        | (limit >> 16 & 15) << 48
        | size << 52
        | (base >> 24 & 0xFF) << 56
}

/// A gate: selector, offset, `kind` as above, `more` in bits 32 to 36 (IST, or words to copy).
fn gate(selector: u16, offset: u64, kind: u64, more: u64) -> u64 {
    offset & 0xFFFF
        | u64::from(selector) << 16
        | more << 32
        | kind << 40
        | (offset >> 16 & 0xFFFF) << 48
}

/// What a segment register holds after a load of this descriptor.
pub fn segment(selector: u16, d: u64) -> Segment {
    let raw = (d & 0xFFFF | d >> 32 & 0xF_0000) as u32;
    let big = d >> 55 & 1 != 0;
    Segment {
        sel: selector,
        attr: (d >> 32) as u32 & 0x00F0_FF00,
        limit: if big { raw << 12 | 0xFFF } else { raw },
        base: d >> 16 & 0xFF_FFFF | d >> 56 << 24,
    }
}

pub struct Tables<'a> {
    pub ram: &'a Ram,
    pub r: &'a mut Rng,
    /// IA-32e mode.
    pub long: bool,
    /// Whether code runs at privilege 3.
    pub user: bool,
}

impl Tables<'_> {
    fn put(&self, at: u64, bytes: &[u8]) {
        let _ = self.ram.write(at, bytes);
    }
    fn put64(&self, at: u64, v: u64) {
        self.put(at, &v.to_le_bytes());
    }

    /// Page tables of all kinds at once.
    pub fn pages(&mut self) {
        let all = if self.user { 0x67 } else { 0x63 };
        for (table, next) in [(PML5, PML4), (PML4, PDPT), (PDPT, PD)] {
            for n in [0, 1, 256, 511] {
                let flags = if self.r.permille(30) { self.r.next() & 0xFFF } else { 0x67 };
                self.put64(table + 8 * n, next | flags);
            }
        }
        for n in 0..4 {
            self.put64(PDPT_PAE + 8 * n, PD | 1);
            self.put64(PD + 8 * (508 + n), PT | 0x67);
        }
        let first = if self.r.permille(150) { 0x80 | all } else { PT | 0x67 };
        self.put64(PD, first);
        self.put64(PD + 8, PT_DEVICES | 0x67);
        self.put64(PD32, u64::from(PT32 as u32 | 0x67) | 0x83 << 32 | u64::from(self.user) << 34);
        for n in 0..512 {
            let (narrow, wide) = (self.own(n), self.device());
            let (own, device) = (narrow | self.odd(), wide | self.odd());
            self.put64(PT + 8 * n, own);
            self.put64(PT_DEVICES + 8 * n, device);
            self.put(PT32 + 4 * n, &(narrow as u32).to_le_bytes());
            self.put(PT32 + 2048 + 4 * n, &(wide as u32).to_le_bytes());
        }
    }

    /// The entry of one of the first 512 pages.
    fn own(&mut self, n: u64) -> u64 {
        let system = n >= 0x100;
        let user = if self.user && !system { 4 } else { 0 };
        let usual = n << 12 | 0x63 | user;
        match self.r.below(if system { 300 } else { 60 }) {
            0 => usual & !1,
            1 => usual & !2,
            2 => usual ^ 4,
            3 | 4 => usual & !0x60,
            5 => usual ^ 1 << self.r.below(12),
            6 => usual | 0x18,
            _ => usual,
        }
    }
    /// The entry of a page of something special.
    fn device(&mut self) -> u64 {
        const PAGES: [u64; 14] = [
            0xFEC00, 0xFEE00, 0xFED00, 0xA0, 0xB0000, 0xB0008, 0xFF000, 0xF0, 0x10, 0x30, 0x104,
            0x109, 0xFFFFF, 0xE0000,
        ];
        let page = self.r.pick(&PAGES);
        page << 12 | if self.user { 0x67 } else { 0x63 } & !(self.r.below(2) << 6)
    }
    /// Upper bits of an entry, which 32-bit paging does not have.
    fn odd(&mut self) -> u64 {
        match self.r.below(60) {
            0 => 1 << 63,
            1 => self.r.below(16) << 59,
            2 => 1 << (32 + self.r.below(31)),
            _ => 0,
        }
    }

    /// The descriptors of the GDT (and the LDT, which has the same).
    pub fn descriptors(&mut self, narrow_base: u64) -> Vec<u64> {
        let mut all = vec![0];
        for dpl in [0, 3 << 5] {
            let big = if self.r.permille(150) { self.r.next() & 0xF_FFFF } else { 0xF_FFFF };
            all.push(descriptor(0, 0xF_FFFF, 0x9B | dpl, 0xA));
            all.push(descriptor(0, big, 0x9B | dpl, 0xC));
            all.push(descriptor(CODE, 0xFFFF, 0x9B | dpl, 0));
            all.push(descriptor(0, big, 0x93 | dpl, 0xC));
            all.push(descriptor(narrow_base, 0xFFFF, 0x93 | dpl, 0));
        }
        all.push(descriptor(0, 0xF_FFFF, 0x9F, 0xC));
        all.push(descriptor(0x1000, 0xFF, 0x97 | 0x60, 0xC));
        all.push(descriptor(0, 0xF_FFFF, 0x99, 0xC));
        assert_eq!(all.len(), TASK as usize);
        // Two tasks, of 104 bytes and the I/O bitmap; the other is available. Each takes two places in long mode.
        all.extend([descriptor(TSS, 0x67 + 0x2000, 0x8B, 0), 0]);
        let kind = if self.r.below(3) == 0 && !self.long { 0x81 } else { 0x89 };
        all.extend([descriptor(OTHER_TSS, 0x67, kind, 0), 0]);
        all.extend([descriptor(LDT, 0xFF, 0x82, 0), 0]);
        let target = CODE + self.r.below(0x100);
        for (code, kind) in [(CODE32, 0xEC), (CODE16, 0xE4), (CODE64, 0xEC), (CODE32 + USER, 0xEC)]
        {
            let words = self.r.below(4);
            all.extend([gate(code << 3, target, kind, if self.long { 0 } else { words }), 0]);
        }
        all.push(gate(TASK + 2 << 3, 0, 0xE5, 0));
        all.push(self.r.next());
        all.push(self.r.next() | 1 << 47);
        while all.len() < 40 {
            let d = all[1 + self.r.below(13) as usize];
            all.push(d ^ 1 << self.r.below(64));
        }
        for (n, d) in all.iter().enumerate() {
            self.put64(GDT + 8 * n as u64, *d);
            self.put64(LDT + 8 * n as u64, *d);
        }
        all
    }

    /// Task states: stacks for every privilege, a bitmap with ports open here and there.
    pub fn tasks(&mut self) {
        for at in [TSS, OTHER_TSS] {
            if self.long {
                (0..10).for_each(|n| self.put64(at + 4 + 8 * n, HANDLER_STACK - 0x400 * n));
            } else {
                for n in 0..3 {
                    self.put64(at + 4 + 8 * n, HANDLER_STACK | u64::from(DATA32 << 3) << 32);
                }
            }
            self.put(at + 0x66, &[0x68, 0]);
        }
        if !self.long {
            // What the other task begins with: CR3, EIP, EFLAGS, registers, segments.
            let now = [PD32, CODE + self.r.below(0x200), 0x202 | self.r.below(4) << 12];
            (0..3).for_each(|n| {
                self.put(OTHER_TSS + 0x1C + 4 * n, &now[n as usize].to_le_bytes()[..4])
            });
            (0..8).for_each(|n| {
                self.put(OTHER_TSS + 0x28 + 4 * n, &(DATA as u32 + 64).to_le_bytes())
            });
            for n in 0..6 {
                let sel = if n == 1 { CODE32 } else { DATA32 } << 3;
                self.put(OTHER_TSS + 0x48 + 4 * n, &sel.to_le_bytes());
            }
        }
        let open = self.r.below(3);
        let map: Vec<u8> = (0..0x2000)
            .map(|_| match open {
                0 => 0,
                1 => 0xFF,
                _ => self.r.next() as u8,
            })
            .collect();
        self.put(TSS + 0x68, &map);
        self.put(TSS + 0x2068, &[0xFF; 32]);
    }

    /// Handlers of all vectors: most go on a few bytes after what faulted.
    pub fn handlers(&mut self) {
        for v in 0..256u64 {
            let code = self.handler(v, if self.long { 64 } else { 32 });
            self.put(HANDLERS + 64 * v, &code);
            let at = HANDLERS + 64 * v;
            let kind = self.r.pick(&[0xEE, 0xEF, 0x8E, 0x8E, 0x8F]);
            let code = if self.long { CODE64 } else { CODE32 } << 3;
            let ist = if self.long && self.r.permille(100) { self.r.below(8) } else { 0 };
            let mut gate = match self.r.below(150) {
                0 => gate(TASK + 2 << 3, 0, 0xE5, 0),
                1 => gate(CODE16 << 3, at, 0xE6, 0),
                _ => gate(code, at, kind, ist),
            };
            if self.r.permille(5) {
                gate ^= 1 << self.r.below(64);
            }
            if self.long {
                self.put64(IDT + 16 * v, gate);
                self.put64(IDT + 16 * v + 8, 0);
            } else {
                self.put64(IDT + 8 * v, gate);
            }
            let code = self.handler(v, 16);
            self.put(REAL_HANDLERS + 32 * v, &code);
            self.put(4 * v, &((REAL_HANDLERS + 32 * v) as u32).to_le_bytes());
        }
    }

    fn handler(&mut self, v: u64, bits: u32) -> Vec<u8> {
        if self.r.permille(20) {
            return (0..16).map(|_| self.r.next() as u8).collect();
        }
        // An interrupt goes back to where it came from.
        let by = if v < 32 { 1 + self.r.below(6) as u8 } else { 0 };
        let code = matches!(v, 8 | 10..=14 | 17 | 21 | 29 | 30) && bits != 16;
        let mut out = Vec::new();
        match bits {
            16 => out.extend([0x55, 0x89, 0xE5, 0x83, 0x46, 2, by, 0x5D, 0xCF]),
            32 => {
                out.extend([0x83, 0x44, 0x24, if code { 4 } else { 0 }, by]);
                out.extend(code.then_some([0x83, 0xC4, 4]).into_iter().flatten());
                out.push(0xCF);
            }
            _ => {
                out.extend([0x48, 0x83, 0x44, 0x24, if code { 8 } else { 0 }, by]);
                out.extend(code.then_some([0x48, 0x83, 0xC4, 8]).into_iter().flatten());
                out.extend([0x48, 0xCF]);
            }
        }
        out
    }

    /// Some wrong bits anywhere in the tables.
    pub fn corrupt(&mut self) {
        for _ in 0..1 + self.r.below(6) {
            let at = PML5 + self.r.below(0x1_0000);
            let mut b = [0];
            let _ = self.ram.read(at, &mut b);
            b[0] ^= 1 << self.r.below(8);
            self.put(at, &b);
        }
    }
}
