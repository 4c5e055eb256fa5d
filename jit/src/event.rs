//! What happens between instructions: exceptions, interrupts, single steps.

use crate::plan;
use cpu::{Activity, Interp, Mode, flags};

/// Takes what is due before the next instruction, as far as the budget goes. Gives whether somebody wants to see to what came of
/// it: at once, or the end of the run would depend on when the engine looks next.
pub fn pending(s: &mut Interp<'_>) -> bool {
    let mut taken = false;
    while s.c.left > 0 && !s.bus.attention() && cpu::event::pending(s).is_some() {
        taken = true;
    }
    if taken {
        s.c.refresh();
    }
    taken && s.bus.attention()
}

/// Whether native code may go on as it is after an instruction that ends its block. What STI holds off is not there then, so
/// that nobody waits for the end of that.
pub fn nothing_due(s: &mut Interp<'_>) -> bool {
    s.c.stop = false;
    cpu::event::check(s);
    let st = &s.c.state;
    let plain = st.rflags & (flags::TF | flags::RF) == 0 && st.dr7 & 0xff == 0 && st.shadow <= 1;
    let wanted = s.c.left <= 0
        || s.c.activity() != Activity::Running
        || st.init_pending
        || st.sipi != 0
        || s.c.yields
        || s.c.tlb.ram().code_was_written()
        || s.bus.attention();
    if s.c.stop || wanted || !plain {
        return false;
    }
    s.c.state.shadow = 0;
    s.c.refresh();
    s.c.stop = false;
    plan::may(s.c.mode)
}

/// Whether the next instruction must be executed alone.
pub fn single(s: &Interp<'_>) -> bool {
    s.c.mode.has(Mode::STEP) || s.c.state.shadow != 0 || s.c.state.rflags & flags::RF != 0
}

/// Whether it must be only because interrupts are held off until it is over.
pub fn only_shadow(s: &Interp<'_>) -> bool {
    let st = &s.c.state;
    st.shadow != 0
        && st.rflags & (flags::TF | flags::RF) == 0
        && st.pending_debug == 0
        && st.dr7 & 0xff == 0
}
