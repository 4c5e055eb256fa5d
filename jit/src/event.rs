//! What happens between instructions: exceptions, interrupts, single steps.

use cpu::{Interp, Mode, flags};

/// Takes what is due before the next instruction, as far as the budget goes.
pub fn pending(s: &mut Interp<'_>) {
    let mut taken = false;
    while s.c.left > 0 && cpu::event::pending(s).is_some() {
        taken = true;
    }
    if taken {
        s.c.refresh();
    }
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
