//! From bytes in RAM to a block.

use crate::block::{Blocks, Id, ONE_PAGE, Op};
use crate::fast;
use cpu::decode::decode;
use cpu::rows::ROWS;
use cpu::{Core, Insn, Mode, Opnd};
use iced_x86::FlowControl;
use memory::PAGE;

/// Instructions in a block at most.
pub const MAX_BLOCK: usize = 64;

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

/// Decodes the block at RAM offset `at` in the core's mode and keeps it. `None`: its first instruction crosses the page.
pub fn block(blocks: &mut Blocks, core: &mut Core, at: u64) -> Option<Id> {
    let mut page = [0; MAX_BLOCK * 15];
    let room = ((PAGE - at % PAGE) as usize).min(page.len());
    core.tlb.ram().read(at, &mut page[..room])?;
    let mut ops = Vec::with_capacity(16);
    let (mut n, mut end) = (0, false);
    while n < room && ops.len() < MAX_BLOCK {
        let bytes = &page[n..room.min(n + 15)];
        let Ok(insn) = decode(bytes, core.mode, &core.features) else { break };
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
    let mut bytes = [0; 15];
    let first = ((PAGE - at % PAGE) as usize).min(bytes.len());
    core.tlb.ram().read(at, &mut bytes[..first])?;
    core.tlb.ram().read(second, &mut bytes[first..])?;
    let mode = core.mode;
    let insn = decode(&bytes, mode, &core.features).ok()?;
    let n = usize::from(insn.len);
    (n > first)
        .then(|| blocks.add((at, second), mode, &[op(insn, mode)], &bytes[..n], ends(&insn), core))
}

/// A block's instructions: its bytes are decoded again if need be, which gives the same as before.
pub fn insns<'a>(blocks: &'a Blocks, id: Id, core: &'a Core) -> impl Iterator<Item = Insn> + 'a {
    let known = blocks.ops(id);
    let (mode, mut text) = (blocks.all[id as usize].mode, blocks.text(id));
    let again = std::iter::from_fn(move || {
        let insn = decode(text.get(..15).unwrap_or(text), mode, &core.features).ok()?;
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
