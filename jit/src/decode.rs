//! From bytes in RAM to a block.

use crate::block::{Blocks, Id, ONE_PAGE, Op};
use crate::fast;
use cpu::decode::Odd;
use cpu::rows::ROWS;
use cpu::{Core, Features, Insn, Mode, Opnd};
use iced_x86::FlowControl;
use memory::PAGE;

/// Instructions in a block at most.
pub const MAX_BLOCK: usize = 64;

/// Instructions that were decoded, by their bytes: programs have many that are the same. All are of cores with the same features.
pub struct Memo(Vec<Option<(u128, Mode, Insn)>>);
/// A power of two.
const KNOWN: usize = 4096;
/// Bytes of an instruction at most.
const LONGEST: usize = 15;
/// Bytes of a block at most.
pub const LONGEST_BLOCK: usize = MAX_BLOCK * LONGEST;

impl Memo {
    pub fn new() -> Memo {
        Memo(vec![None; KNOWN])
    }
    /// See [`cpu::decode::decode`].
    fn decode(&mut self, bytes: &[u8], mode: Mode, features: &Features) -> Result<Insn, Odd> {
        let Some(all) = bytes.first_chunk::<LONGEST>() else {
            return cpu::decode::decode(bytes, mode, features);
        };
        let mut wide = [0; 16];
        wide[..LONGEST].copy_from_slice(all);
        let key = u128::from_le_bytes(wide);
        // The first four bytes tell most apart.
        let at = (key as u32).wrapping_mul(0x9e37_79b1) >> (32 - KNOWN.trailing_zeros());
        let slot = &mut self.0[at as usize];
        if let Some((known, m, insn)) = slot
            && *m == mode
            && (*known ^ key) << (128 - 8 * u32::from(insn.len)) == 0
        {
            return Ok(*insn);
        }
        let insn = cpu::decode::decode(bytes, mode, features)?;
        *slot = Some((key, mode, insn));
        Ok(insn)
    }
}

/// Whether control may go elsewhere after this instruction.
pub fn leaves(i: &Insn) -> bool {
    !matches!(i.iced().flow_control(), FlowControl::Next) || i.bits & (Insn::REP | Insn::REPNE) != 0
}

/// Whether the mode, the address space, or what is due may change: the row says so, or a system register is written.
pub fn ends(i: &Insn) -> bool {
    let code = i.iced();
    ROWS[i.row as usize].end
        || i.op.iter().any(|o| matches!(o, Opnd::Seg(_) | Opnd::Cr(_) | Opnd::Dr(_) | Opnd::Far))
        || code.is_jmp_far_indirect()
        || code.is_call_far_indirect()
}

/// Bytes of RAM from `at` on, to the end of the page or as many as a block may have.
pub fn ahead<'a>(core: &Core, at: u64, to: &'a mut [u8; LONGEST_BLOCK]) -> Option<&'a [u8]> {
    let room = ((PAGE - at % PAGE) as usize).min(to.len());
    core.tlb.ram().read(at, &mut to[..room])?;
    Some(&to[..room])
}

/// Decodes the block at RAM offset `at` in the core's mode and keeps it. `None`: its first instruction crosses the page.
pub fn block(blocks: &mut Blocks, core: &mut Core, at: u64) -> Option<Id> {
    let page = &mut [0; LONGEST_BLOCK];
    let page = ahead(core, at, page)?;
    let room = page.len();
    let mut ops = Vec::with_capacity(16);
    let (mut n, mut end) = (0, false);
    while n < room && ops.len() < MAX_BLOCK {
        let bytes = &page[n..room.min(n + LONGEST)];
        let Ok(insn) = blocks.memo.decode(bytes, core.mode, &core.features) else { break };
        ops.push(op(insn, core.mode));
        n += insn.len as usize;
        end = ends(&insn);
        if end || leaves(&insn) {
            break;
        }
    }
    if ops.is_empty() {
        return None;
    }
    let mode = core.mode;
    Some(blocks.add((at, ONE_PAGE), mode, &ops, &page[..n], end, core))
}

/// Decodes the instruction at RAM offset `at` that goes on in the page `second`, as a block of its own. `None`: there is none.
pub fn across(blocks: &mut Blocks, core: &mut Core, at: u64, second: u64) -> Option<Id> {
    let mut bytes = [0; LONGEST];
    let first = ((PAGE - at % PAGE) as usize).min(bytes.len());
    core.tlb.ram().read(at, &mut bytes[..first])?;
    core.tlb.ram().read(second, &mut bytes[first..])?;
    let mode = core.mode;
    let insn = cpu::decode::decode(&bytes, mode, &core.features).ok()?;
    let n = usize::from(insn.len);
    (n > first)
        .then(|| blocks.add((at, second), mode, &[op(insn, mode)], &bytes[..n], ends(&insn), core))
}

/// A block's instructions: its bytes are decoded again if need be, which gives the same as before.
pub fn insns<'a>(blocks: &'a Blocks, id: Id, core: &'a Core) -> impl Iterator<Item = Insn> + 'a {
    let known = blocks.ops(id);
    let (mode, mut text) = (blocks.all[id as usize].mode, blocks.text(id));
    let again = std::iter::from_fn(move || {
        let bytes = text.get(..LONGEST).unwrap_or(text);
        let insn = cpu::decode::decode(bytes, mode, &core.features).ok()?;
        text = text.get(usize::from(insn.len)..)?;
        Some(insn)
    });
    let from = known.is_none().then_some(again).into_iter().flatten();
    known.unwrap_or_default().iter().map(|op| op.insn).chain(from)
}

/// Has a block's ops in the ring again.
#[cold]
pub fn again(blocks: &mut Blocks, id: Id, core: &Core) {
    let mode = blocks.all[id as usize].mode;
    let ops: Vec<Op> = insns(blocks, id, core).map(|insn| op(insn, mode)).collect();
    blocks.put_again(id, &ops);
}

fn op(insn: Insn, mode: Mode) -> Op {
    let fast = if mode.long64() { fast::handler(&insn) } else { None };
    Op { run: fast.unwrap_or(ROWS[insn.row as usize].run), insn }
}
