//! A machine at work: the loop that runs its cores, wakes its devices and obeys its front end.

use crate::board::{self, Board, End};
use crate::bus::CoreBus;
use crate::clock::Clock;
use crate::config::{Backend, Config, DriveId, RtcClock};
use crate::drives::{Disk, DriveEvent};
use crate::fabric::World;
use crate::parts::{DeviceId, Parts};
use crate::profile::Profile;
use cpu::{Activity, Core, Interp};
use device::{CpuSignal, Input, Request, Tick};
use hw::chipset::lapic::Lapic;
use hw::chipset::rtc::Rtc;
use jit::Engine;
use std::time::Duration;

/// Why a machine cannot be built or loaded.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    #[error("{0}")]
    Memory(#[from] memory::RamError),
    #[error("{0}")]
    Boot(#[from] crate::boot::BootError),
    #[error("{0}")]
    Jit(#[from] jit::JitError),
    /// An option that the machine cannot take; the text says which and why.
    #[error("{0}")]
    Option(String),
}

/// How a slice of running ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Slice {
    /// There is more to do at once.
    Ran,
    /// All CPUs wait; the next timer is due after this long in host time. `None`: only input can wake them.
    Idle { until: Option<Duration> },
    /// All CPUs are in a state that only a reset ends.
    Stuck,
}

/// Instructions that a core may run before another has its turn that has something to do, too: so many that what it has in the
/// host's caches pays.
pub(crate) const TURN: u64 = 4_000_000;
/// The same in a round of turns that begins when one has been called or woken.
const SOON: u64 = 10_000;
/// Instructions that a core runs before the host's clock is looked at.
const LOOK: u64 = 50_000;
/// Guest time stays below this (73 years), so that sums of times make sense.
pub(crate) const END_OF_TIME: Tick = 1 << 61;
/// Turns in a slice.
const TURNS: u32 = 64;

/// A machine.
pub struct Machine {
    pub config: Config,
    pub board: Board,
    pub world: World,
    pub parts: Parts,
    pub cores: Vec<Box<Core>>,
    pub engine: Engine,
    pub clock: Clock,
    /// Instructions that all cores have retired.
    pub count: u64,
    /// The core whose turn it is.
    pub(crate) turn: usize,
    /// Its turn is over when [`Machine::count`] is this, if another has something to do, too.
    pub(crate) turn_ends: u64,
    /// How many turns from here on are short ones.
    pub(crate) hurry: u32,
    /// How many cores had something to do when it was last looked.
    pub(crate) busy: usize,
    /// The core that works now, or did last.
    pub(crate) working: usize,
    pub(crate) running: bool,
    /// The address-map version that the TLBs were filled from.
    pub(crate) map_version: u64,
    pub(crate) a20: bool,
    /// No core goes on once [`Machine::count`] is this.
    pub until: u64,
    /// Cores are run by the plain interpreter, the oracle of the engine: for tests that compare the two.
    pub plain: bool,
    /// Samples of where the guest is.
    pub profile: Option<Box<Profile>>,
    /// Devices that were taken out since the front end last asked.
    pub(crate) unplugged: Vec<crate::config::DeviceSpec>,
}

impl Machine {
    /// Builds what `config` says and puts it in the state after power-on.
    pub fn new(config: Config) -> Result<Machine, MachineError> {
        board::build(config)
    }

    /// Power-on values everywhere; with a kernel to boot, the cores and memory as its loader wants them.
    pub fn reset(&mut self) -> Result<(), MachineError> {
        self.world.drives.reset();
        self.parts.reset(&mut self.world);
        self.a20 = true;
        for (n, core) in self.cores.iter_mut().enumerate() {
            cpu::event::power_on(core, n == 0);
            core.phys_mask = !0;
        }
        (self.turn, self.working) = (0, 0);
        (self.turn_ends, self.hurry, self.busy) = (0, 0, 0);
        self.engine.flush();
        self.flush_tlbs();
        self.obey();
        board::start(self)
    }
    fn flush_tlbs(&mut self) {
        self.map_version = self.world.map_changes();
        self.cores.iter_mut().for_each(|c| c.tlb.flush());
    }

    /// Lets guest time run, or stand still.
    pub fn set_running(&mut self, on: bool) {
        self.running = on;
        if on {
            let now = self.clock.now(self.count);
            self.world.drives.go_on(now);
        }
        let held = self.clock.set_running(on);
        // The real-time clock has a battery: it goes on while the machine stands still, unless it was told not to.
        if held > 0 && self.config.rtc.clock != RtcClock::Vm {
            self.world.now = self.clock.now(self.count);
            let id = self.board.rtc;
            self.parts.with_as(&mut self.world, id, |r: &mut Rtc, cx| r.forward(held, cx));
            self.obey();
        }
    }
    pub fn is_running(&self) -> bool {
        self.running
    }
    /// Guest time.
    pub fn now(&self) -> Tick {
        self.clock.now(self.count)
    }

    /// Runs for a short while, or until a device asks the front end for something.
    pub fn run_slice(&mut self) -> Slice {
        if !self.running {
            return Slice::Idle { until: None };
        }
        for _ in 0..TURNS {
            self.wake_devices();
            if self.has_news() || self.count >= self.until {
                break;
            }
            match self.next_runnable() {
                Some(n) => self.run_core(n),
                None => match self.idle() {
                    Slice::Ran => {}
                    other => return other,
                },
            }
        }
        Slice::Ran
    }

    /// Brings guest time up to date and wakes the devices whose time has come.
    fn wake_devices(&mut self) {
        self.working = 0;
        self.world.now = self.clock.now(self.count);
        self.parts.wake_due(&mut self.world);
        let now = self.world.now;
        while let Some((to, answer)) = self.world.drives.answer(now) {
            self.parts.input(&mut self.world, to, answer);
        }
        self.obey();
    }
    /// Whether the front end has something to hear.
    fn has_news(&self) -> bool {
        !self.world.requests.is_empty() || !self.world.drives.events.is_empty()
    }

    /// The next core in turn that has something to do.
    fn next_runnable(&mut self) -> Option<usize> {
        let all = self.cores.len();
        let n = (0..all)
            .map(|k| (self.turn + k) % all)
            .find(|&n| cpu::event::runnable(&self.cores[n]))?;
        self.turn = n;
        Some(n)
    }

    fn run_core(&mut self, n: usize) {
        // Those that MWAIT has waiting have something to do as soon as this one writes there.
        let (mut run, mut wait) = (0, 0);
        for core in &self.cores {
            match cpu::event::runnable(core) {
                true => run += 1,
                false => wait += usize::from(core.activity() == Activity::Mwait),
            }
        }
        if run > 1 && self.turn_ends <= self.count {
            self.turn_ends = self.count + if self.hurry > 0 { SOON } else { TURN };
            self.hurry = self.hurry.saturating_sub(1);
        }
        if run > self.busy {
            self.hurry_up();
        }
        self.busy = run;
        let mut budget = if run > 1 { LOOK.min(self.turn_ends - self.count) } else { LOOK };
        if let Some(at) = self.world.next_wake()
            && let Some(left) = self.clock.instructions_until(self.count, at)
        {
            budget = budget.min(left.max(1));
        }
        budget = budget.min(self.until - self.count);
        self.clock.set_waiting(false);
        self.working = n;
        let core = &mut self.cores[n];
        let before = core.retired();
        let end = before + budget;
        (core.stop, core.shares) = (false, run + wait > 1);
        self.world.attention = false;
        let lapic = self.parts.lapic_ids().get(n).copied();
        let window = lapic.and_then(|id| self.parts.get::<Lapic>(id)).and_then(Lapic::window);
        let mut bus = CoreBus {
            world: &mut self.world,
            parts: &mut self.parts,
            clock: &self.clock,
            base: self.count.wrapping_sub(before),
            lapic,
            pic: self.board.pic,
            lapic_at: window,
            smm: core.state.smm,
        };
        loop {
            let (from, mut part) = (core.retired(), end - core.retired());
            if let Some(p) = &self.profile {
                part = part.min(p.until_next(bus.base.wrapping_add(from)));
            }
            core.set_budget(part);
            if self.plain {
                interpret(&mut Interp { c: core, bus: &mut bus });
            } else {
                self.engine.run(core, &mut bus);
            }
            let Some(p) = &mut self.profile else { break };
            let now = core.retired();
            if p.is_due(bus.base.wrapping_add(from), bus.base.wrapping_add(now)) {
                p.sample(core);
            }
            // Where only a part is over, nobody but us has to do with it.
            if core.left > 0 || now >= end {
                break;
            }
        }
        let done = core.retired() - before;
        self.count += done;
        let called = self.obey();
        // Another core's turn: when this one's is over, it waits, or it spins. One that has called another goes on for a while:
        // it may hold locks that the other wants.
        let core = &mut self.cores[n];
        // Who spins does little in much time, and only waits for it to go by.
        self.clock.set_waiting(core.yields || called);
        let over = run > 1 && self.count >= self.turn_ends;
        if over || core.activity() != Activity::Running || core.yields {
            core.yields = false;
            self.turn = (n + 1) % self.cores.len();
            self.turn_ends = 0;
        }
    }
    /// A core has something to do that it did not have: this turn and a whole round of others are short.
    fn hurry_up(&mut self) {
        self.turn_ends = self.turn_ends.min(self.count + SOON);
        self.hurry = self.cores.len() as u32;
    }

    /// All cores wait.
    fn idle(&mut self) -> Slice {
        self.clock.set_waiting(true);
        // What is due after the end of time never comes: a guest that waits for it must not jump there.
        let Some(at) = self.world.next_wake().filter(|at| *at < END_OF_TIME) else {
            let stuck = self.cores.iter().all(|c| c.activity() == Activity::Shutdown);
            return if stuck { Slice::Stuck } else { Slice::Idle { until: None } };
        };
        let wait = at.saturating_sub(self.clock.now(self.count));
        if !self.clock.skip_to(self.count, at) || self.clock.sleeps() && wait > 0 {
            return Slice::Idle { until: Some(Duration::from_nanos(wait)) };
        }
        Slice::Ran
    }

    /// Carries out what devices ordered of the cores and the board. Gives whether a core has something to do by it.
    pub(crate) fn obey(&mut self) -> bool {
        let mut called = false;
        while !self.world.orders.is_empty() {
            for order in std::mem::take(&mut self.world.orders) {
                match order {
                    Request::Cpu { cpu, what } => {
                        if what != CpuSignal::Intr(false) {
                            called = true;
                        }
                        self.signal(cpu as usize, what)
                    }
                    Request::A20(on) => self.set_a20(on),
                    Request::FirmwareItem => {
                        crate::firmware::make_item(self, self.board.fw_cfg);
                    }
                    Request::Smi { all: false } => self.signal(self.working, CpuSignal::Smi),
                    Request::Smi { all: true } => {
                        (0..self.cores.len()).for_each(|n| self.signal(n, CpuSignal::Smi));
                    }
                    Request::Reset => self.world.requests.push((DeviceId(0), Request::Reset)),
                    _ => {}
                }
            }
        }
        if self.cores.iter().any(|c| c.activity() == Activity::Shutdown) {
            // A triple fault resets the machine, as chipsets do.
            for core in self.cores.iter_mut().filter(|c| c.activity() == Activity::Shutdown) {
                core.set_activity(Activity::WaitForSipi);
            }
            self.world.requests.push((DeviceId(0), Request::Reset));
        }
        if self.map_version != self.world.map_changes() {
            self.flush_tlbs();
        }
        if called {
            self.hurry_up();
        }
        called
    }

    fn signal(&mut self, n: usize, what: CpuSignal) {
        let Some(core) = self.cores.get_mut(n) else { return };
        match what {
            CpuSignal::Intr(level) => core.intr = level,
            CpuSignal::Nmi => core.state.nmi_pending = true,
            CpuSignal::Smi => core.state.smi_pending = self.config.board.smm,
            CpuSignal::Init => {
                core.state.init_pending = true;
                if let Some(&id) = self.parts.lapic_ids().get(n) {
                    self.parts.with_as(&mut self.world, id, |l: &mut Lapic, cx| l.init(cx));
                }
            }
            CpuSignal::Startup(v) => core.state.sipi = 0x100 | v as u16,
        }
    }

    /// Everything that follows from a state just loaded.
    pub(crate) fn after_load(&mut self, a20: bool) {
        self.world.now = self.clock.now(self.count);
        // Whatever the line was, the cores are told.
        self.a20 = !a20;
        self.set_a20(a20);
        self.engine.flush();
        self.parts.resume(&mut self.world);
        self.tell_media();
        self.obey();
        self.flush_tlbs();
    }

    fn set_a20(&mut self, on: bool) {
        if self.a20 != on {
            self.a20 = on;
            for core in &mut self.cores {
                core.phys_mask = if on { !0 } else { !(1 << 20) };
                core.tlb.flush();
            }
        }
    }

    /// What devices asked of the world since the last call.
    pub fn take_requests(&mut self) -> Vec<(DeviceId, Request)> {
        self.note_unplugged();
        std::mem::take(&mut self.world.requests)
    }
    /// What the screen shows now: of the first display adapter there is.
    pub fn picture(&mut self) -> Option<hw::Picture> {
        self.world.now = self.clock.now(self.count);
        let root: &hw::Root = self.parts.get(self.board.pci)?;
        let vga = root.functions().find_map(|n| root.function::<hw::Vga>(n))?;
        let ram = &self.world.ram;
        let mut read = |at: u64, into: &mut [u8]| {
            if ram.read(at, into).is_none() {
                into.fill(0);
            }
        };
        Some(vga.picture(&mut read, self.world.now))
    }
    /// What happened to drives since the last call.
    pub fn take_drive_events(&mut self) -> Vec<DriveEvent> {
        std::mem::take(&mut self.world.drives.events)
    }
    /// What wakes the front end when a disk has answered while all cores wait. Only the first one counts.
    pub fn set_waker(&mut self, waker: Box<dyn Fn() + Send + Sync>) {
        self.world.drives.set_waker(waker);
    }
    /// Puts a disk into a drive, or takes it out.
    pub fn insert(&mut self, drive: DriveId, disk: Option<Disk>) -> std::io::Result<()> {
        self.world.drives.insert(drive, disk)?;
        self.tell_medium(drive);
        Ok(())
    }
    /// Tells a device what is in its drive: after a change of its length, too.
    pub fn tell_medium(&mut self, drive: DriveId) {
        if let Some((to, medium)) = self.world.drives.medium(drive) {
            self.input(to, medium);
        }
    }
    /// The same of all drives.
    pub(crate) fn tell_media(&mut self) {
        let drives: Vec<_> = self.world.drives.iter().map(|(id, _)| id).collect();
        drives.into_iter().for_each(|id| self.tell_medium(id));
    }
    /// Asks the guest to give a medium back.
    pub fn ask_to_eject(&mut self, drive: DriveId) {
        if let Some((to, request)) = self.world.drives.eject_request(drive) {
            self.input(to, request);
        }
    }
    /// Something from outside, for one device.
    pub fn input(&mut self, to: DeviceId, what: Input) {
        self.world.now = self.clock.now(self.count);
        self.parts.input(&mut self.world, to, what);
        self.obey();
    }
    /// A non-maskable interrupt for all cores.
    pub fn nmi(&mut self) {
        (0..self.cores.len()).for_each(|n| self.signal(n, CpuSignal::Nmi));
    }
    /// Which device, and which part of it, a back end is joined to.
    pub fn end_of(&self, backend: Backend) -> Option<&End> {
        self.board.backends.iter().find(|(b, _)| *b == backend).map(|(_, end)| end)
    }

    /// Lets `f` use a core with its view of the machine, as between two of its instructions.
    pub fn with_core<R>(&mut self, n: usize, f: impl FnOnce(&mut Interp<'_>) -> R) -> R {
        let n = n.min(self.cores.len() - 1);
        self.working = n;
        let core = &mut self.cores[n];
        let lapic = self.parts.lapic_ids().get(n).copied();
        let window = lapic.and_then(|id| self.parts.get::<Lapic>(id)).and_then(Lapic::window);
        let mut bus = CoreBus {
            world: &mut self.world,
            parts: &mut self.parts,
            clock: &self.clock,
            base: self.count.wrapping_sub(core.retired()),
            lapic,
            pic: self.board.pic,
            lapic_at: window,
            smm: core.state.smm,
        };
        let r = f(&mut Interp { c: core, bus: &mut bus });
        self.obey();
        r
    }
}

/// What [`Engine::run`] does, by the plain interpreter: it ends for the same reasons.
fn interpret(s: &mut Interp<'_>) {
    while s.c.left > 0 && !s.c.yields && !s.bus.attention() {
        s.c.stop = false;
        s.c.refresh();
        cpu::run(s);
        if s.c.activity() != Activity::Running {
            break;
        }
    }
}
