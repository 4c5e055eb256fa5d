//! Local APIC, in xAPIC and x2APIC mode.  SDM 3A, chapter 11.
//!
//! One per CPU. Bank 0 is the 4 KiB register window of xAPIC mode; it is mapped where IA32_APIC_BASE says, and every CPU
//! sees its own at that address. The model specific registers are [`Lapic::msr_read`] and [`Lapic::msr_write`].
//!
//! What the board does: it gives each message of [`Cx::apic`] to every local APIC that [`Lapic::matches`] it (a lowest
//! priority one to [`lowest_priority`] only), passes [`Request::Eoi`] to its I/O APICs, joins [`LINT0`] to the 8259A and
//! [`LINT1`] to the NMI sources, calls [`Lapic::init`] when the CPU takes an INIT, and asks [`Lapic::ack`] for the vector
//! when the CPU takes the interrupt that [`CpuSignal::Intr`] announced.

mod msr;
mod regs;
#[cfg(test)]
mod test;
mod timer;

pub use msr::{APIC_BASE, GpFault, TSC_DEADLINE};

use device::*;

/// Local interrupt pin 0: the 8259A's INTR.
pub const LINT0: Pin = Pin(0);
/// Local interrupt pin 1: NMI.
pub const LINT1: Pin = Pin(1);

/// Version 0x14 (integrated), six LVT entries, no directed EOI.
const VERSION: u32 = 0x0005_0014;

bits! {
    /// Spurious interrupt vector register.  SDM 3A, figure 11-23.
    pub struct Svr: u32 { vector: 0..8, enabled: 8, focus_off: 9 }
}
bits! {
    /// A local vector table entry.  SDM 3A, figure 11-8.
    pub struct Lvt: u32 {
        vector: 0..8, mode: 8..11, pending: 12, low_active: 13, remote_irr: 14, level: 15, masked: 16,
        /// Timer only: 0 one-shot, 1 periodic, 2 TSC-deadline.
        timer_mode: 17..19,
    }
}
bits! {
    /// IA32_APIC_BASE.  SDM 3A, figure 11-5 and 11-26.
    pub struct Base: u64 { bsp: 8, x2apic: 10, enabled: 11 }
}
impl Base {
    fn address(self) -> u64 {
        self.0 & !0xFFF
    }
}

/// The entries of the local vector table, in the order of [`State::lvt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    Timer,
    Thermal,
    Perf,
    Lint0,
    Lint1,
    Error,
}

/// Bits of the error status register.  SDM 3A, 11.5.3.
const SENT_ILLEGAL: u32 = 1 << 5;
const RECEIVED_ILLEGAL: u32 = 1 << 6;
const BAD_REGISTER: u32 = 1 << 7;

/// A set of vectors: IRR, ISR, TMR.
type Vectors = [u32; 8];

fn set(v: &mut Vectors, n: u8, on: bool) {
    let (word, bit) = (&mut v[n as usize / 32], 1 << (n % 32));
    if on { *word |= bit } else { *word &= !bit }
}
fn has(v: &Vectors, n: u8) -> bool {
    v[n as usize / 32] >> (n % 32) & 1 != 0
}
fn highest(v: &Vectors) -> Option<u8> {
    let word = v.iter().rposition(|w| *w != 0)?;
    Some((word * 32) as u8 + 31 - v[word].leading_zeros() as u8)
}

state! {
    /// Everything the guest can see.
    pub struct State {
        1 base: Base = Base(0xFEE0_0800),
        /// The xAPIC id, which software may change.
        2 id: u8 = 0,
        3 tpr: u8 = 0,
        4 isr: Vectors = [0; 8],
        5 tmr: Vectors = [0; 8],
        6 irr: Vectors = [0; 8],
        /// Logical destination, xAPIC: bits 31:24 of the register.
        7 ldr: u8 = 0,
        8 dfr: u32 = u32::MAX,
        9 svr: Svr = Svr(0xFF),
        10 lvt: [Lvt; 6] = [Lvt(0).with_masked(true); 6],
        /// Error status as software reads it, and what gathered since it last wrote there.
        11 esr: u32 = 0,
        12 errors: u32 = 0,
        13 icr: u64 = 0,
        14 initial: u32 = 0,
        15 divide: u32 = 0,
        /// The counter had the value `count` at the time `since`; zero: stopped.
        16 count: u32 = 0,
        17 since: Tick = 0,
        18 deadline: u64 = 0,
        /// The levels of the pins LINT0 and LINT1.
        19 lint: [bool; 2] = [false; 2],
        /// An ExtINT message that the CPU has not acknowledged yet.
        20 ext_int: bool = false,
    }
}

/// What a local APIC is told when it is built.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The CPU's number, for [`Request::Cpu`].
    pub cpu: u32,
    /// The APIC id that CPUID tells.
    pub id: u32,
    pub bsp: bool,
    pub phys_bits: u32,
    /// Whether CPUID tells of x2APIC.
    pub x2apic: bool,
    pub tsc_hz: u64,
}

/// What the CPU is to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    Vector(u8),
    /// The vector comes from the 8259A.
    ExtInt,
}

pub struct Lapic {
    s: State,
    config: Config,
    /// TSC = `tsc_offset` + time * `tsc_hz`. The board sets it: it belongs to the CPU.
    tsc_offset: u64,
    /// The level last told to the CPU.
    intr: Option<bool>,
}

impl Lapic {
    pub fn new(config: Config) -> Self {
        let mut lapic = Self { s: State::default(), config, tsc_offset: 0, intr: None };
        lapic.reset();
        lapic
    }
    pub fn state(&self) -> &State {
        &self.s
    }
    /// Where bank 0 is to be seen by this CPU: nowhere unless in xAPIC mode.
    pub fn window(&self) -> Option<u64> {
        self.xapic().then(|| self.s.base.address())
    }
    /// Globally enabled: what CPUID.1:EDX.APIC shows.
    pub fn is_enabled(&self) -> bool {
        self.s.base.enabled()
    }
    pub fn is_x2apic(&self) -> bool {
        self.s.base.enabled() && self.s.base.x2apic()
    }
    fn xapic(&self) -> bool {
        self.s.base.enabled() && !self.s.base.x2apic()
    }
    /// The id that physical destinations name.
    pub fn id(&self) -> u32 {
        if self.is_x2apic() { self.config.id } else { self.s.id.into() }
    }
    /// The logical id of x2APIC mode follows from the id.  SDM 3A, 11.12.10.2.
    fn x2apic_ldr(&self) -> u32 {
        self.config.id >> 4 << 16 | 1 << (self.config.id & 15)
    }
    /// INIT: all but the id and the mode as after power-on.  SDM 3A, 11.4.7.3.
    pub fn init(&mut self, cx: &mut dyn Cx) {
        let State { base, id, lint, .. } = self.s;
        self.s = State { base, id, lint, ..State::default() };
        self.settle(cx);
    }
    /// What firmware does before an operating system starts: the 8259A reaches the CPU through LINT0.
    pub fn virtual_wire(&mut self, cx: &mut dyn Cx) {
        self.s.svr = Svr(0x1FF);
        self.s.lvt[Local::Lint0 as usize] = Lvt(0x8700);
        self.s.lvt[Local::Lint1 as usize] = Lvt(0x8400);
        self.settle(cx);
    }

    // Priorities.  SDM 3A, 11.8.3.

    /// The processor priority: nothing of its class or below is delivered.
    pub fn ppr(&self) -> u8 {
        let serviced = highest(&self.s.isr).unwrap_or(0) & 0xF0;
        if self.s.tpr & 0xF0 >= serviced { self.s.tpr } else { serviced }
    }
    pub fn tpr(&self) -> u8 {
        self.s.tpr
    }
    pub fn cr8(&self) -> u8 {
        self.s.tpr >> 4
    }
    pub fn set_tpr(&mut self, tpr: u8, cx: &mut dyn Cx) {
        self.s.tpr = tpr;
        self.tell(cx);
    }
    pub fn set_cr8(&mut self, cr8: u8, cx: &mut dyn Cx) {
        self.set_tpr(cr8 << 4, cx);
    }
    /// What the CPU would take now.
    pub fn pending(&self) -> Option<Interrupt> {
        let lint0 = self.s.lvt[Local::Lint0 as usize];
        let open = !self.s.base.enabled() || !lint0.masked() && lint0.mode() == 7;
        if self.s.lint[0] && open || self.s.ext_int {
            return Some(Interrupt::ExtInt);
        }
        self.deliverable().map(Interrupt::Vector)
    }
    fn deliverable(&self) -> Option<u8> {
        let v = highest(&self.s.irr).filter(|_| self.s.base.enabled())?;
        (v >> 4 > self.ppr() >> 4).then_some(v)
    }
    /// The CPU takes an interrupt. If it has gone meanwhile, the spurious vector.
    pub fn ack(&mut self, cx: &mut dyn Cx) -> Interrupt {
        let what = self.pending().unwrap_or(Interrupt::Vector(self.s.svr.vector() as u8));
        match what {
            Interrupt::ExtInt => self.s.ext_int = false,
            Interrupt::Vector(v) if has(&self.s.irr, v) && self.deliverable() == Some(v) => {
                set(&mut self.s.irr, v, false);
                set(&mut self.s.isr, v, true);
            }
            Interrupt::Vector(_) => {}
        }
        self.tell(cx);
        what
    }
    /// The CPU's interrupt request follows from the state.
    fn tell(&mut self, cx: &mut dyn Cx) {
        let level = self.pending().is_some();
        if self.intr.replace(level) != Some(level) {
            self.cpu(CpuSignal::Intr(level), cx);
        }
    }
    fn cpu(&self, what: CpuSignal, cx: &mut dyn Cx) {
        cx.ask(Request::Cpu { cpu: self.config.cpu, what });
    }

    // Messages.

    /// Whether a message is for this APIC ([`Target::AllButSender`]: the board leaves out the sender).
    /// SDM 3A, 11.6.2 and 11.12.10.
    pub fn matches(&self, m: &ApicMessage) -> bool {
        if !self.s.base.enabled() {
            return false;
        }
        match m.to {
            Target::All | Target::AllButSender => true,
            Target::Oneself => false,
            Target::Physical(to) => to == self.id() || to == self.everybody(),
            Target::Logical(to) if to == self.everybody() => true,
            Target::Logical(to) if self.is_x2apic() => {
                let own = self.x2apic_ldr();
                to >> 16 == own >> 16 && to & own & 0xFFFF != 0
            }
            Target::Logical(to) => match self.s.dfr >> 28 {
                0xF => to & u32::from(self.s.ldr) != 0,
                0 => {
                    to >> 4 & 0xF == u32::from(self.s.ldr) >> 4
                        && to & u32::from(self.s.ldr) & 0xF != 0
                }
                _ => false,
            },
        }
    }
    fn everybody(&self) -> u32 {
        if self.is_x2apic() { u32::MAX } else { 0xFF }
    }
    /// Takes a message that [`Lapic::matches`].
    pub fn accept(&mut self, m: &ApicMessage, cx: &mut dyn Cx) {
        if !self.s.base.enabled() {
            return;
        }
        match m.how {
            Delivery::Fixed | Delivery::LowestPriority if !self.s.svr.enabled() => {}
            Delivery::Fixed | Delivery::LowestPriority => {
                self.request(m.vector, m.level_triggered, cx)
            }
            Delivery::Smi => self.cpu(CpuSignal::Smi, cx),
            Delivery::Nmi => self.cpu(CpuSignal::Nmi, cx),
            Delivery::Init => self.cpu(CpuSignal::Init, cx),
            Delivery::InitDeassert => {}
            Delivery::Startup => self.cpu(CpuSignal::Startup(m.vector), cx),
            Delivery::ExtInt => {
                self.s.ext_int = true;
                self.tell(cx)
            }
        }
    }
    fn request(&mut self, vector: u8, level: bool, cx: &mut dyn Cx) {
        if vector < 16 {
            return self.error(RECEIVED_ILLEGAL, cx);
        }
        set(&mut self.s.irr, vector, true);
        set(&mut self.s.tmr, vector, level);
        self.tell(cx);
    }
    /// Notes an error; a new one is an interrupt by the LVT's error entry.  SDM 3A, 11.5.3.
    fn error(&mut self, what: u32, cx: &mut dyn Cx) {
        let new = what & !self.s.errors != 0;
        self.s.errors |= what;
        let lvt = self.s.lvt[Local::Error as usize];
        if !new || lvt.masked() {
            return;
        }
        match lvt.vector() as u8 {
            // An illegal vector here cannot be told by itself.
            ..16 => self.s.errors |= RECEIVED_ILLEGAL,
            v => self.request(v, false, cx),
        }
    }
    /// EOI: ends the highest interrupt in service; the I/O APICs hear of a level-triggered one.  SDM 3A, 11.8.5.
    pub fn eoi(&mut self, cx: &mut dyn Cx) {
        let Some(v) = highest(&self.s.isr) else { return };
        set(&mut self.s.isr, v, false);
        if has(&self.s.tmr, v) {
            cx.ask(Request::Eoi(v));
            for pin in [Local::Lint0, Local::Lint1] {
                let lvt = &mut self.s.lvt[pin as usize];
                if lvt.remote_irr() && lvt.vector() == u32::from(v) {
                    *lvt = lvt.with_remote_irr(false);
                    if self.s.lint[pin as usize - Local::Lint0 as usize] {
                        self.local(pin, cx);
                    }
                }
            }
        }
        self.tell(cx);
    }

    // Local interrupts.  SDM 3A, 11.5.

    /// A local source wants an interrupt: as its LVT entry says.
    pub fn local(&mut self, source: Local, cx: &mut dyn Cx) {
        let lvt = self.s.lvt[source as usize];
        if lvt.masked() || !self.s.base.enabled() {
            return;
        }
        // Timer and error entries have no mode field, and are always fixed.
        match if matches!(source, Local::Timer | Local::Error) { 0 } else { lvt.mode() } {
            0 if matches!(source, Local::Lint0 | Local::Lint1) && lvt.level() => {
                self.s.lvt[source as usize] = lvt.with_remote_irr(true);
                if !lvt.remote_irr() {
                    self.request(lvt.vector() as u8, true, cx);
                }
            }
            0 => self.request(lvt.vector() as u8, false, cx),
            2 => self.cpu(CpuSignal::Smi, cx),
            4 => self.cpu(CpuSignal::Nmi, cx),
            5 => self.cpu(CpuSignal::Init, cx),
            _ => {}
        }
        // A performance interrupt masks its own entry.  SDM 3B, 20.6.2.2.
        if source == Local::Perf {
            self.s.lvt[source as usize] = lvt.with_masked(true);
        }
    }
    fn send(&mut self, to: Target, how: Delivery, vector: u8, cx: &mut dyn Cx) {
        let message = ApicMessage { to, how, vector, level_triggered: false };
        if matches!(how, Delivery::Fixed | Delivery::LowestPriority) && vector < 16 {
            self.error(SENT_ILLEGAL, cx);
        }
        match to {
            Target::Oneself => self.accept(&message, cx),
            _ => cx.apic(message),
        }
    }
    /// What the lower half of an interrupt command register sends; `None` and a complaint if it is reserved.
    fn delivery(icr: u64, cx: &mut dyn Cx) -> Option<Delivery> {
        let deassert = icr & 0xC000 == 0x8000;
        Some(match icr >> 8 & 7 {
            0 => Delivery::Fixed,
            1 => Delivery::LowestPriority,
            2 => Delivery::Smi,
            4 => Delivery::Nmi,
            5 if deassert => Delivery::InitDeassert,
            5 => Delivery::Init,
            6 => Delivery::Startup,
            // Remote read and ExtINT are not for software to send.
            _ => {
                cx.complain(format_args!("lapic: ICR with reserved delivery mode: {icr:#x}"));
                return None;
            }
        })
    }
    /// Sends to one APIC by its id, past the register.
    pub fn send_to(&mut self, id: u32, command: u32, cx: &mut dyn Cx) {
        if let Some(how) = Self::delivery(command.into(), cx) {
            self.send(Target::Physical(id), how, command as u8, cx);
        }
    }
    /// Obeys the interrupt command register.  SDM 3A, 11.6.1.
    fn command(&mut self, cx: &mut dyn Cx) {
        let icr = self.s.icr;
        let vector = icr as u8;
        let Some(how) = Self::delivery(icr, cx) else { return };
        let to = if self.is_x2apic() { (icr >> 32) as u32 } else { (icr >> 56) as u32 };
        let to = match (icr >> 18 & 3, icr >> 11 & 1) {
            (1, _) => Target::Oneself,
            (2, _) => Target::All,
            (3, _) => Target::AllButSender,
            _ if to == self.everybody() => Target::All,
            (_, 0) => Target::Physical(to),
            _ => Target::Logical(to),
        };
        self.send(to, how, vector, cx);
    }
    /// The arbitration priority of lowest priority delivery.  SDM 3A, 11.6.2.4.
    fn apr(&self) -> u8 {
        let wanted = highest(&self.s.irr).unwrap_or(0) & 0xF0;
        self.ppr().max(wanted)
    }
}

/// Which local APIC gets a lowest priority message: of those it matches, the one with the least to do; then by id.
pub fn lowest_priority<'a>(
    all: impl IntoIterator<Item = (usize, &'a Lapic)>,
    m: &ApicMessage,
) -> Option<usize> {
    let able = all.into_iter().filter(|(_, l)| l.s.svr.enabled() && l.matches(m));
    able.min_by_key(|(_, l)| (l.apr(), l.id())).map(|(n, _)| n)
}

impl Device for Lapic {
    fn name(&self) -> &'static str {
        "lapic"
    }
    fn read(&mut self, at: Reg, w: Width, cx: &mut dyn Cx) -> u64 {
        if !self.xapic() || at.at >= 0x1000 {
            return w.mask();
        }
        join(
            at.at,
            w,
            4,
            |at| if at & 0xF == 0 { self.read_reg((at >> 4) as u8, cx).into() } else { 0 },
        )
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, cx: &mut dyn Cx) {
        // Narrower writes have no meaning.  SDM 3A, 11.4.1.
        if self.xapic() && at.at < 0x1000 && at.at & 0xF == 0 && w >= Width::W32 {
            self.write_reg((at.at >> 4) as u8, value as u32, cx);
        }
    }
    fn wake(&mut self, cx: &mut dyn Cx) {
        self.advance(cx);
        self.arm(cx);
    }
    fn input(&mut self, what: Input, cx: &mut dyn Cx) {
        if what == Input::Nmi {
            self.cpu(CpuSignal::Nmi, cx);
        }
    }
    fn wire(&mut self, pin: Pin, high: bool, cx: &mut dyn Cx) {
        let (n, source) = match pin {
            LINT0 => (0, Local::Lint0),
            LINT1 => (1, Local::Lint1),
            _ => return,
        };
        let rose = high && !self.s.lint[n];
        self.s.lint[n] = high;
        if rose && self.s.base.enabled() {
            self.local(source, cx);
        } else if rose && pin == LINT1 {
            self.cpu(CpuSignal::Nmi, cx);
        }
        self.tell(cx);
    }
    fn reset(&mut self) {
        let Config { id, bsp, .. } = self.config;
        let base = Base(0xFEE0_0800).with_bsp(bsp);
        self.s = State { base, id: id as u8, ..State::default() };
        self.intr = None;
    }
    fn settle(&mut self, cx: &mut dyn Cx) {
        let place = |base| Place { space: Space::Memory, base, len: 0x1000, what: Seen::Registers };
        cx.map(0, self.window().map(place));
        self.intr = None;
        self.tell(cx);
        self.arm(cx);
    }
    saved!();
    fn describe(&self) -> String {
        use std::fmt::Write;
        let s = &self.s;
        let mut out = format!(
            "id {:#x} base {:#x} tpr {:#04x} ppr {:#04x} svr {:#x} esr {:#x} icr {:#x}\n",
            self.id(),
            s.base.0,
            s.tpr,
            self.ppr(),
            s.svr.0,
            s.esr,
            s.icr
        );
        let _ = writeln!(
            out,
            "timer: initial {:#x} divide {:#x} deadline {:#x}",
            s.initial, s.divide, s.deadline
        );
        for (name, lvt) in
            ["timer", "thermal", "perf", "lint0", "lint1", "error"].iter().zip(&s.lvt)
        {
            let masked = if lvt.masked() { " masked" } else { "" };
            let _ = writeln!(out, "lvt {name}: {:#07x}{masked}", lvt.0);
        }
        for (name, set) in [("isr", &s.isr), ("irr", &s.irr)] {
            let all: Vec<_> = (0..=255).filter(|v| has(set, *v)).map(|v| v.to_string()).collect();
            let _ = writeln!(out, "{name}: {}", all.join(" "));
        }
        out
    }
}
