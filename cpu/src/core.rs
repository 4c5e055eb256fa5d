//! One core with what surrounds its state: TLB, budget, a waiting fault.

use crate::{Exception, Features, Mode, State};
use memory::{CODE_SETS, DATA_SETS, PAGE, Ram, Tlb};
use std::sync::Arc;

/// With the sets that [`crate::mmu`] has.
pub type CoreTlb = Tlb<{ DATA_SETS + CODE_SETS }>;

/// What a core is doing, in [`State::activity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Activity {
    Running,
    /// HLT: an interrupt wakes it.
    Halted,
    /// After INIT: a start-up message wakes it.
    WaitForSipi,
    /// Triple fault: only a reset helps.
    Shutdown,
    /// MWAIT: an interrupt or a write to the monitored line wakes it.
    Mwait,
}

/// What translated code compares addresses with. In each instruction they would take four bytes.
#[repr(C, align(64))]
pub struct Numbers {
    /// The bits of a page's number.
    pub page: u64,
    /// How far within a page accesses of 1, 2, 4 bytes and so on may begin.
    pub within: [u64; 6],
}
impl Numbers {
    const ALL: Numbers = {
        let mut within = [PAGE; 6];
        let mut k = 0;
        while k < within.len() {
            within[k] -= 1 << k;
            k += 1;
        }
        Numbers { page: !(PAGE - 1), within }
    };
}

/// One core. Emitted code knows the offsets of its fields.
#[repr(C)]
pub struct Core {
    /// Right before the registers, so that translated code names either in one byte.
    pub numbers: Numbers,
    pub state: State,
    /// Instructions that may still retire before the run must end. A block is entered only when it fits.
    pub left: i64,
    /// The count of retired instructions at which `left` is zero.
    pub end: u64,
    /// Leave after this instruction: a device wants attention, code was overwritten, or the mode changed.
    pub stop: bool,
    /// The core waits for another one (PAUSE): a good time for that one's turn.
    pub yields: bool,
    /// There is another one that has something to do: PAUSE is not for nothing.
    pub shares: bool,
    /// [`Mode::of`] the state, brought up to date by [`Core::refresh`].
    pub mode: Mode,
    /// The exception behind a [`crate::Raised`].
    pub fault: Exception,
    /// The level of the external interrupt request.
    pub intr: bool,
    /// This core's number and APIC id.
    pub id: u32,
    pub features: Features,
    /// CPUID's answers beyond `features`.
    pub model: Arc<crate::big::cpuid::Model>,
    /// Address line 20 and width of physical addresses, as a mask.
    pub phys_mask: u64,
    pub tlb: CoreTlb,
    /// Large pages that have pieces in the TLB.
    pub large: crate::walk::Large,
    /// A pointer of the translator's, for its code that runs.
    pub context: usize,
}

impl Core {
    /// A core after power-on.
    pub fn new(id: u32, ram: Arc<Ram>, model: Arc<crate::big::cpuid::Model>) -> Box<Core> {
        let state = State::default();
        let mut core = Box::new(Core {
            numbers: Numbers::ALL,
            mode: Mode::of(&state),
            state,
            left: 0,
            end: 0,
            stop: false,
            yields: false,
            shares: false,
            fault: Exception::UD,
            intr: false,
            id,
            features: model.features(),
            model,
            phys_mask: !0,
            tlb: Tlb::new(ram),
            large: crate::walk::Large::default(),
            context: 0,
        });
        core.refresh();
        core
    }

    /// Instructions retired since power-on.
    #[inline(always)]
    pub fn retired(&self) -> u64 {
        self.end.wrapping_sub(self.left as u64)
    }
    /// Gives the core `insns` more instructions.
    pub fn set_budget(&mut self, insns: u64) {
        self.end = self.retired() + insns;
        self.left = insns as i64;
    }
    /// Works the mode out again, after anything it depends on has changed. What was decoded for another mode ends here.
    pub fn refresh(&mut self) {
        let mode = Mode::of(&self.state);
        if self.mode != mode {
            self.mode = mode;
            self.stop = true;
        }
    }
    pub fn activity(&self) -> Activity {
        match self.state.activity {
            0 => Activity::Running,
            1 => Activity::Halted,
            2 => Activity::WaitForSipi,
            4 => Activity::Mwait,
            _ => Activity::Shutdown,
        }
    }
    pub fn set_activity(&mut self, a: Activity) {
        self.state.activity = a as u8;
        self.stop = true;
    }
}
