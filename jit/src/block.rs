//! The cache of decoded code: straight runs of instructions, found by where their first byte is in RAM.
//!
//! A block is keyed by RAM offset and mode, not by linear address: the same bytes mapped twice are decoded once, and page
//! tables may change freely. A block lies within one page, or is one instruction that goes on in the next; that is good as
//! long as the next page is the same. A block whose bytes change is dropped.
//!
//! Memory is bounded: decoded instructions are in a ring, and those that are wanted later are decoded again from the block's
//! bytes; blocks that have no code and are not executed any more are dropped when there are many of them.

use crate::decode::Memo;
use crate::hash::Map;
use crate::native::KEY_MODE;
use crate::plan::{Flow, flow};
use crate::region;
use crate::ring::{NOWHERE, Ring};
use crate::store::About;
use cpu::sem::Big;
use cpu::{Core, Insn, Mode};
use memory::{CODE, PAGE, Ram};

/// A decoded instruction with the function that does it.
#[derive(Clone, Copy)]
pub struct Op {
    pub run: Big,
    pub insn: Insn,
}

/// A place in RAM, in a mode.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(u64);
impl Key {
    pub fn of(at: u64, mode: Mode) -> Key {
        debug_assert!(
            at >> KEY_MODE == 0 && u64::from(mode.0) << KEY_MODE >> KEY_MODE == mode.0.into()
        );
        Key(at ^ u64::from(mode.0) << KEY_MODE)
    }
}

/// Number of a block.
pub type Id = u32;
/// No block.
pub const NONE: Id = u32::MAX;
/// A block that lies in one page has this for the second.
pub const ONE_PAGE: u64 = u64::MAX;

/// A straight run of instructions.
pub struct Block {
    /// RAM offset of the first byte; `u64::MAX` once dropped.
    pub at: u64,
    /// RAM offset of the page that its only instruction goes on in; [`ONE_PAGE`] if it does not.
    pub second: u64,
    pub mode: Mode,
    /// Where its ops are, or were; see [`Blocks::ops`].
    first: u64,
    pub count: u32,
    /// Where control goes behind it.
    pub flow: Flow,
    /// Its length in bytes.
    pub bytes: u16,
    /// Its last instruction may change the mode, the address space, or whether an interrupt is due.
    pub end: bool,
    /// Executions in tier 0.
    pub heat: u32,
    /// How often it had been executed when it became part of a region.
    pub profile: u32,
    /// Number of the region that starts here; [`NONE`] if there is none.
    pub region: u32,
    /// Number of its code in the baseline tier; [`NONE`] if there is none.
    pub base: u32,
    /// It is part of a region that is being compiled: no other is asked for meanwhile.
    pub pending: bool,
    /// Tier 0 has not executed it since somebody looked.
    pub idle: bool,
    /// The region it is part of, if any, by the number of one of its entries.
    pub part: u32,
    /// Entries of all regions it is part of.
    pub users: Vec<u32>,
    /// Tells it from other blocks that had its number.
    pub serial: u64,
    /// Where its bytes are in [`Blocks::bytes`].
    text: u32,
}

impl Block {
    /// Whether it goes on in a second page.
    #[inline(always)]
    pub fn crosses(&self) -> bool {
        self.second != ONE_PAGE
    }
    /// Where its bytes are in RAM: two runs, of which the second may be empty.
    fn runs(&self) -> [(u64, usize); 2] {
        let all = usize::from(self.bytes);
        let first = if self.crosses() { (PAGE - self.at % PAGE) as usize } else { all };
        [(self.at, first), (self.second, all - first)]
    }
    /// Whether nobody but tier 0 has use for it.
    fn is_free(&self) -> bool {
        self.base == NONE && self.region >= region::MAX && self.users.is_empty() && !self.pending
    }
    /// Whether bytes at `at` are some of its own.
    fn touches(&self, at: u64, len: u64) -> bool {
        self.runs().iter().any(|&(from, n)| n > 0 && at < from + n as u64 && from < at + len)
    }
    /// Whether RAM has these bytes where it is.
    fn is(&self, ram: &Ram, bytes: &[u8]) -> bool {
        let mut now = [0; PAGE as usize];
        let mut rest = bytes;
        self.runs().iter().all(|&(from, n)| {
            let (want, more) = rest.split_at(n);
            rest = more;
            n == 0 || ram.read(from, &mut now[..n]).is_some() && now[..n] == *want
        })
    }
}

/// What is known of a page with blocks or with a history of being overwritten.
#[derive(Default)]
struct Page {
    blocks: Vec<Id>,
    /// Writes and lost blocks since `since`, weighted.
    trouble: u32,
    since: u64,
    /// Until this count of instructions nothing of the page is kept.
    shun: u64,
    /// How often that was so.
    shuns: u32,
}

/// So much trouble within [`WINDOW`] instructions makes a page shunned.
const TROUBLE: u32 = 400;
/// What a write weighs that hurts blocks, against 1 for one that hurts none. How many it hurts does not matter: a page that gets
/// other code as a whole is not troubled.
const LOSS: u32 = 20;
/// To make a block again takes as long as to execute a hundred instructions one at a time.
const WINDOW: u64 = 5_000;
/// For so many instructions, and twice as long each time, up to the second: a kernel that patches itself is through with a page
/// soon.
const SHUN: u64 = 30_000;
const LONG_SHUN: u64 = 2_000_000;

/// All blocks.
pub struct Blocks {
    pub all: Vec<Block>,
    ring: Ring<Op>,
    pub memo: Memo,
    bytes: Vec<u8>,
    /// Bytes of dropped blocks among them.
    waste: usize,
    index: Map<Key, Id>,
    pages: Map<u64, Page>,
    free: Vec<Id>,
    /// So many blocks, and it is looked who can go.
    limit: usize,
    /// RAM pages that became code, in order: TLBs filled before must learn of it.
    pub protected: Vec<u64>,
    /// Blocks dropped since power-on because their bytes changed.
    pub dropped: u64,
    /// Instructions of blocks alive.
    pub insns: u64,
    serial: u64,
}

/// Decoded instructions in the ring.
const OPS: usize = 1 << 14;
/// There are always so many blocks before it is looked who can go, and bytes before those of dropped blocks are taken out.
const FEW: usize = 1 << 16;
/// From so many blocks on, those that were executed lately go, too.
const MANY: usize = 1 << 18;

impl Blocks {
    pub fn new() -> Self {
        Blocks {
            all: Vec::new(),
            memo: Memo::new(),
            ring: Ring::new(OPS),
            bytes: Vec::new(),
            waste: 0,
            index: Map::default(),
            pages: Map::default(),
            free: Vec::new(),
            limit: FEW,
            protected: Vec::new(),
            dropped: 0,
            insns: 0,
            serial: 0,
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self, ram: &Ram) {
        for &page in self.pages.keys() {
            ram.clear_flags(page, CODE);
        }
        let protected = std::mem::take(&mut self.protected);
        let (dropped, serial) = (self.dropped, self.serial);
        *self = Blocks { protected, dropped, serial, ..Blocks::new() };
    }

    /// Whether there are many: see [`Blocks::sweep`].
    pub fn full(&self) -> bool {
        self.index.len() >= self.limit
    }
    /// Drops blocks that are no part of any code and have not been executed since the last time, or, if there are very many,
    /// not at all. As long as those that stay have code, whose memory is bounded, their number is; and since it doubles
    /// before the next time, a block costs the same however many there are.
    pub fn sweep(&mut self, ram: &Ram, now: u64) {
        let many = self.index.len() > MANY;
        for (id, b) in self.all.iter_mut().enumerate().filter(|(_, b)| b.at != u64::MAX) {
            if !b.is_free() {
                continue;
            }
            if std::mem::replace(&mut b.idle, true) || many {
                self.index.remove(&Key::of(b.at, b.mode));
                self.waste += usize::from(b.bytes);
                self.insns -= u64::from(b.count);
                (b.at, b.count) = (u64::MAX, 0);
                self.free.push(id as Id);
            }
        }
        let all = &self.all;
        self.pages.retain(|&page, p| {
            p.blocks.retain(|&id| all[id as usize].at != u64::MAX);
            if p.blocks.is_empty() {
                ram.clear_flags(page, CODE);
            }
            !p.blocks.is_empty() || now < p.shun || now.wrapping_sub(p.since) <= WINDOW
        });
        self.limit = FEW.max(2 * self.index.len());
    }
    /// Takes the bytes of dropped blocks out.
    fn pack(&mut self) {
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.waste);
        for b in self.all.iter_mut().filter(|b| b.at != u64::MAX) {
            let text = &self.bytes[b.text as usize..][..usize::from(b.bytes)];
            b.text = bytes.len() as u32;
            bytes.extend_from_slice(text);
        }
        (self.bytes, self.waste) = (bytes, 0);
    }

    /// The ops of a block, if the ring still has them.
    #[inline(always)]
    pub fn ops(&self, id: Id) -> Option<&[Op]> {
        let b = &self.all[id as usize];
        self.ring.get(b.first, b.count as usize)
    }
    /// A block's bytes, when it was decoded.
    pub fn text(&self, id: Id) -> &[u8] {
        let b = &self.all[id as usize];
        &self.bytes[b.text as usize..][..usize::from(b.bytes)]
    }
    /// Has a block's ops in the ring again.
    pub fn put_again(&mut self, id: Id, ops: &[Op]) {
        let first = self.ring.put(ops);
        let b = &mut self.all[id as usize];
        debug_assert_eq!(b.count as usize, ops.len(), "the same bytes are the same instructions");
        (b.first, b.count) = (first, ops.len() as u32);
    }

    pub fn find(&self, at: u64, mode: Mode) -> Option<Id> {
        self.index.get(&Key::of(at, mode)).copied()
    }
    /// Blocks alive.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether code of this page must not be kept now, because it changes too often.
    pub fn shunned(&self, at: u64, now: u64) -> bool {
        self.pages.get(&(at & !(PAGE - 1))).is_some_and(|p| now < p.shun)
    }

    /// Keeps a block of `ops`, decoded from `text` at `at` and in the page `second`.
    pub fn add(
        &mut self,
        (at, second): (u64, u64),
        mode: Mode,
        ops: &[Op],
        text: &[u8],
        end: bool,
        core: &mut Core,
    ) -> Id {
        let flow = ops.last().map_or(Flow::default(), |op| flow(&op.insn));
        let about = About { count: ops.len() as u32, end, flow };
        let id = self.add_kept((at, second), mode, &about, text, core);
        self.all[id as usize].first = self.ring.put(ops);
        id
    }
    /// Keeps a block that was decoded when its bytes were met earlier.
    pub fn add_kept(
        &mut self,
        (at, second): (u64, u64),
        mode: Mode,
        about: &About,
        text: &[u8],
        core: &mut Core,
    ) -> Id {
        self.serial += 1;
        if self.waste > FEW.max(self.bytes.len() / 2) {
            self.pack();
        }
        let &About { count, end, flow } = about;
        self.insns += u64::from(count);
        let block = Block {
            at,
            second,
            mode,
            first: NOWHERE,
            count,
            flow,
            bytes: text.len() as u16,
            end,
            heat: 0,
            profile: 0,
            part: NONE,
            region: NONE,
            base: NONE,
            pending: false,
            idle: false,
            users: Vec::new(),
            serial: self.serial,
            text: self.bytes.len() as u32,
        };
        self.bytes.extend_from_slice(text);
        let id = match self.free.pop() {
            Some(id) => {
                self.all[id as usize] = block;
                id
            }
            None => {
                self.all.push(block);
                self.all.len() as Id - 1
            }
        };
        self.index.insert(Key::of(at, mode), id);
        self.watch(at & !(PAGE - 1), id, core);
        if second != ONE_PAGE {
            self.watch(second, id, core);
        }
        id
    }
    /// From now on writes to the page are told.
    fn watch(&mut self, page: u64, id: Id, core: &mut Core) {
        let ram = core.tlb.ram();
        if ram.flags(page) & CODE == 0 {
            ram.set_flags(page, CODE);
            core.tlb.protect(page);
            self.protected.push(page);
        }
        self.pages.entry(page).or_default().blocks.push(id);
    }

    /// Notes writes to code pages, drops the blocks whose bytes are no longer the same, and gives the numbers of their regions
    /// and of their code in the baseline tier.
    pub fn written(&mut self, ram: &Ram, writes: &[(u64, u32)], now: u64) -> (Vec<u32>, Vec<u32>) {
        let mut gone = Gone::default();
        for &(at, len) in writes {
            let page = at & !(PAGE - 1);
            let Some(p) = self.pages.get_mut(&page) else {
                ram.clear_flags(page, CODE);
                continue;
            };
            if now.wrapping_sub(p.since) > WINDOW {
                (p.since, p.trouble) = (now, 0);
            }
            let (mut k, mut hurt) = (0, false);
            while k < p.blocks.len() {
                let id = p.blocks[k];
                let b = &mut self.all[id as usize];
                let text = &self.bytes[b.text as usize..][..usize::from(b.bytes)];
                if !b.touches(at, len.into()) || b.is(ram, text) {
                    k += 1;
                    continue;
                }
                p.blocks.swap_remove(k);
                hurt = true;
                drop_block(id, b, &mut self.index, &mut gone);
            }
            p.trouble += if hurt { LOSS } else { 1 };
            if p.trouble > TROUBLE {
                p.shun = now + (SHUN << p.shuns.min(16)).min(LONG_SHUN);
                (p.trouble, p.shuns) = (0, p.shuns + 1);
                for id in p.blocks.drain(..) {
                    drop_block(id, &mut self.all[id as usize], &mut self.index, &mut gone);
                }
            }
            if p.blocks.is_empty() {
                ram.clear_flags(page, CODE);
            }
            // Those of two pages are gone from both.
            for (page, id) in gone.halves.drain(..) {
                if let Some(p) = self.pages.get_mut(&page) {
                    p.blocks.retain(|b| *b != id);
                }
            }
        }
        self.dropped += gone.blocks.len() as u64;
        for id in gone.blocks {
            let b = &mut self.all[id as usize];
            self.waste += usize::from(b.bytes);
            self.insns -= u64::from(b.count);
            b.count = 0;
            self.free.push(id);
        }
        (gone.regions, gone.bases)
    }
}

/// What goes with dropped blocks.
#[derive(Default)]
struct Gone {
    blocks: Vec<Id>,
    regions: Vec<u32>,
    bases: Vec<u32>,
    /// Pages that still list a block.
    halves: Vec<(u64, Id)>,
}

fn drop_block(id: Id, b: &mut Block, index: &mut Map<Key, Id>, gone: &mut Gone) {
    index.remove(&Key::of(b.at, b.mode));
    gone.blocks.push(id);
    gone.regions.append(&mut b.users);
    gone.bases.extend((b.base != NONE).then_some(b.base));
    if b.crosses() {
        gone.halves.extend([(b.at & !(PAGE - 1), id), (b.second, id)]);
    }
    (b.at, b.region, b.base) = (u64::MAX, NONE, NONE);
}
