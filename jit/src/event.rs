//! What happens between instructions: exceptions, interrupts, single steps.

use cpu::{Activity, Exception, Interp, Mode};

/// Takes an exception.
pub fn deliver(s: &mut Interp<'_>, _e: Exception) {
    s.c.set_activity(Activity::Shutdown);
}

/// Takes what is due before the next instruction.
pub fn pending(_s: &mut Interp<'_>) {}

/// Whether the next instruction must be executed alone.
pub fn single(s: &Interp<'_>) -> bool {
    s.c.mode.has(Mode::STEP) || s.c.state.shadow != 0
}

/// After an instruction that was executed alone.
pub fn stepped(s: &mut Interp<'_>, shadow: u8) {
    if shadow != 0 && s.c.state.shadow == shadow {
        s.c.state.shadow = 0;
    }
}
