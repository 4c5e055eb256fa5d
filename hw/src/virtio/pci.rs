//! Virtio over PCI: modern, legacy, or both (transitional).  Virtio 1.2, 4.1.
//!
//! BARs as QEMU has them: 0 the legacy registers (ports), 1 MSI-X, 4 the modern registers: common configuration at 0, ISR
//! at 0x1000, the device's configuration at 0x2000, notifications at 0x3000, four bytes a queue.

mod legacy;
mod modern;
#[cfg(test)]
mod test;

use super::queue::{Io, Queue, Scratch};
use super::*;
use crate::Bytes;
use crate::pci::msi::{Msix, MsixState};
use crate::pci::{self, Bar, Config, Function, Ids};
use modern::Window;

bits! {
    /// Device status: 2.1.
    pub struct Status: u8 { acknowledge: 0, driver: 1, driver_ok: 2, features_ok: 3, needs_reset: 6, failed: 7 }
}

state! {
    /// What the transport remembers, and the device in it.
    pub struct State {
        1 status: Status = Status(0),
        2 isr: u8 = 0,
        /// Which words of the features are shown, and written.
        3 device_select: u32 = 0,
        4 driver_select: u32 = 0,
        /// What driver and device agreed on.
        5 features: u64 = 0,
        6 config_vector: u16 = NO_VECTOR,
        7 queue_select: u16 = 0,
        8 generation: u8 = 0,
        /// Nothing more until the driver resets it.
        9 broken: bool = false,
        10 queues: Vec<Queue> = Vec::new(),
        11 msix: MsixState = MsixState::default(),
        12 device: Bytes = Bytes::default(),
        /// INTx is pulled, until the ISR is read or MSI-X turned on.
        13 intx: bool = false,
    }
}

/// What QEMU's `virtio-*-pci` have as properties.
#[derive(Clone, Copy, Debug)]
pub struct PciOptions {
    /// Not `disable-legacy`, not `disable-modern`.
    pub legacy: bool,
    pub modern: bool,
    /// Interrupt vectors; without: as many as the device likes. 0: no MSI-X.
    pub vectors: Option<u16>,
    pub indirect_desc: bool,
    pub event_idx: bool,
    pub any_layout: bool,
    pub notify_on_empty: bool,
    pub queue_reset: bool,
    /// Another class than the device's; 0: its own.
    pub class: u32,
}

impl Default for PciOptions {
    fn default() -> Self {
        Self {
            legacy: true,
            modern: true,
            vectors: None,
            indirect_desc: true,
            event_idx: true,
            any_layout: true,
            notify_on_empty: true,
            queue_reset: true,
            class: 0,
        }
    }
}

/// A virtio device as a PCI function.
pub struct VirtioPci<D> {
    config: Config,
    options: PciOptions,
    sizes: Vec<u16>,
    vectors: u16,
    msix: Option<Msix>,
    window: Option<Window>,
    s: State,
    scratch: Scratch,
    pub device: D,
}

impl<D: VirtioDevice> VirtioPci<D> {
    /// Panics if it is neither legacy nor modern.
    pub fn new(device: D, options: PciOptions) -> Self {
        assert!(options.legacy || options.modern, "virtio without any registers");
        let (kind, sizes) = (device.kind(), device.queues());
        let mut config = Config::new(ids(kind, options)).interrupt_pin(1);
        if options.legacy {
            config.set(0x2E, &kind.id.to_le_bytes());
            let len = 24 + device.config().len() as u64;
            config = config.bar(0, Bar::io(len.next_power_of_two()));
        }
        let mut window = None;
        if options.modern {
            config = config.bar(4, Bar::memory(0x4000).wide().prefetchable());
            window = Some(Window::add(&mut config));
        }
        let vectors = options.vectors.unwrap_or(device.vectors()).min(2048);
        let msix = (vectors > 0).then(|| add_msix(&mut config, vectors));
        let s = State::default();
        let mut new = Self {
            config: msix_bar(config, vectors),
            options,
            sizes,
            vectors,
            msix,
            window,
            s,
            scratch: Scratch::default(),
            device,
        };
        new.s.queues = new.fresh_queues();
        new
    }
    fn fresh_queues(&self) -> Vec<Queue> {
        self.sizes.iter().map(|size| Queue { size: *size, ..Queue::default() }).collect()
    }
    /// The features that an interface offers.
    fn offered(&self, legacy: bool) -> u64 {
        let o = &self.options;
        let bit = |on: bool, bit: u32| u64::from(on) << bit;
        let both = bit(o.indirect_desc, INDIRECT_DESC) | bit(o.event_idx, EVENT_IDX);
        let own = if legacy {
            bit(o.notify_on_empty, NOTIFY_ON_EMPTY)
                | bit(o.any_layout, ANY_LAYOUT)
                | bit(true, BAD_FEATURE)
        } else {
            bit(true, VERSION_1) | bit(o.queue_reset, RING_RESET)
        };
        self.device.features() | both | own
    }
    /// Lets the device do something, and tells the driver what came of it.
    fn call<R>(&mut self, cx: &mut dyn Cx, body: impl FnOnce(&mut D, &mut Io) -> R) -> R {
        let s = &mut self.s;
        let live = self.config.bus_master() && !s.broken;
        let running = s.status.driver_ok();
        let mut io = Io::new(cx, s.features, running, &mut s.queues, live, &mut self.scratch);
        let result = body(&mut self.device, &mut io);
        self.device.settle(&mut io);
        while let Some(n) = self.scratch.given.pop() {
            match self.s.queues[n].publish(self.s.features, cx.dma()) {
                Ok(true) => self.interrupt(self.s.queues[n].vector, 1, cx),
                Ok(false) => {}
                Err(DmaFault) => self.scratch.broken |= self.config.bus_master(),
            }
        }
        if std::mem::take(&mut self.scratch.broken) {
            self.s.broken = true;
            // 2.1.2; the legacy interface has no word for it.
            if self.s.features >> VERSION_1 & 1 != 0 {
                self.s.status = self.s.status.with_needs_reset(true);
                self.scratch.config_changed = true;
            }
        }
        if std::mem::take(&mut self.scratch.config_changed) && self.s.status.driver_ok() {
            self.s.generation = self.s.generation.wrapping_add(1);
            self.interrupt(self.s.config_vector, 3, cx);
        }
        result
    }
    fn interrupt(&mut self, vector: u16, isr: u8, cx: &mut dyn Cx) {
        self.s.isr |= isr;
        match &mut self.msix {
            Some(msix) if msix.enabled(&self.config) => {
                if vector != NO_VECTOR {
                    msix.notify(vector, &self.config, cx);
                }
            }
            _ => {
                self.s.intx = true;
                self.set_intx();
            }
        }
    }
    fn msix_enabled(&self) -> bool {
        self.msix.as_ref().is_some_and(|m| m.enabled(&self.config))
    }
    fn set_intx(&mut self) {
        self.s.intx &= !self.msix_enabled();
        self.config.set_intx(self.s.intx);
    }
    fn kick(&mut self, queue: usize, cx: &mut dyn Cx) {
        let ready = self.s.queues.get(queue).is_some_and(|q| q.enabled);
        if ready && self.config.bus_master() && !self.s.broken {
            self.call(cx, |d, io| d.kick(queue, io));
        }
    }
    fn set_status(&mut self, status: u8, cx: &mut dyn Cx) {
        if status == 0 {
            return self.reset_by_driver(cx);
        }
        let old = self.s.status;
        self.s.status = Status(status).with_needs_reset(old.needs_reset());
        if self.s.status.driver_ok() && !old.driver_ok() {
            self.call(cx, |d, io| d.started(io));
        }
    }
    fn reset_by_driver(&mut self, cx: &mut dyn Cx) {
        self.reset_parts();
        self.set_intx();
        self.call(cx, |_, _| ());
    }
    /// All but configuration space and the vectors' table.
    fn reset_parts(&mut self) {
        self.device.reset();
        self.s = State { queues: self.fresh_queues(), ..State::default() };
    }
    fn reset_queue(&mut self, n: usize, cx: &mut dyn Cx) {
        if self.options.queue_reset && self.sizes.get(n).is_some_and(|size| *size > 0) {
            self.s.queues[n] = Queue { size: self.sizes[n], ..Queue::default() };
            self.device.reset_queue(n);
            self.call(cx, |_, _| ());
        }
    }
    /// A vector as the driver writes it; what there is not, is none.
    fn vector(&self, vector: u16) -> u16 {
        if vector < self.vectors { vector } else { NO_VECTOR }
    }
    fn selected(&mut self) -> Option<&mut Queue> {
        self.s.queues.get_mut(usize::from(self.s.queue_select)).filter(|q| q.size > 0)
    }
    fn selected_copy(&self) -> Queue {
        self.s.queues.get(usize::from(self.s.queue_select)).cloned().unwrap_or_default()
    }
    /// The ISR: reading it clears it, and takes the interrupt back.
    fn take_isr(&mut self) -> u8 {
        let isr = std::mem::take(&mut self.s.isr);
        self.s.intx = false;
        self.set_intx();
        isr
    }
    fn read_config(&self, at: u64, w: Width) -> u64 {
        let config = self.device.config();
        let byte = |i: u64| config.get(i as usize).map_or(0xFF, |b| u64::from(*b));
        join(at, w, 1, byte)
    }
    fn write_config(&mut self, at: u64, w: Width, value: u64, cx: &mut dyn Cx) {
        let (at, bytes) = (at as usize, &value.to_le_bytes()[..w.bytes() as usize]);
        self.call(cx, |d, io| d.write_config(at, bytes, io));
    }
    fn fits(&self, s: &State) -> bool {
        let queues = s.queues.iter().zip(&self.sizes);
        s.queues.len() == self.sizes.len()
            && queues.into_iter().all(|(q, max)| q.fits(*max, self.vectors))
            && (s.config_vector == NO_VECTOR || s.config_vector < self.vectors)
    }
}

fn ids(kind: Kind, o: PciOptions) -> Ids {
    let class = if o.class == 0 { kind.class } else { o.class << 8 };
    let device = if o.legacy { kind.transitional } else { 0x1040 + kind.id };
    Ids { vendor: 0x1AF4, device, class, revision: !o.legacy as u8 }
}

/// Where the pending bits begin: in the second half of 4 KiB, or after a long table.
fn pending_at(vectors: u16) -> u32 {
    (u32::from(vectors) * 16).max(0x800)
}

fn add_msix(config: &mut Config, vectors: u16) -> Msix {
    Msix::add(config, vectors, 1, 0, pending_at(vectors))
}

fn msix_bar(config: Config, vectors: u16) -> Config {
    if vectors == 0 {
        return config;
    }
    let len = u64::from(pending_at(vectors)) + u64::from(vectors).div_ceil(64) * 8;
    config.bar(1, Bar::memory(len.next_power_of_two().max(0x1000)))
}

impl<D: VirtioDevice> Function for VirtioPci<D> {
    fn config(&self) -> &Config {
        &self.config
    }
    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }
    fn config_written(&mut self, cx: &mut dyn Cx) {
        if !self.config.bus_master() && self.config.written().contains(&4) {
            // As on QEMU: a device that cannot reach memory is not driven any more.
            self.s.status = self.s.status.with_driver_ok(false);
        }
        if let Some(msix) = &mut self.msix {
            msix.flush(&self.config, cx);
        }
        self.set_intx();
        self.window_written(cx);
    }
    fn config_reading(&mut self, at: u64, w: Width, cx: &mut dyn Cx) -> bool {
        self.window_reading(at, w, cx)
    }
}

impl<D: VirtioDevice> Device for VirtioPci<D> {
    fn name(&self) -> &'static str {
        self.device.kind().name
    }
    fn read(&mut self, at: Reg, w: Width, cx: &mut dyn Cx) -> u64 {
        match (at.bank, &self.msix) {
            (0, _) if self.options.legacy => self.read_legacy(at.at, w),
            (1, Some(msix)) => {
                let pending = u64::from(pending_at(self.vectors));
                match at.at.checked_sub(pending) {
                    Some(at) => msix.read_pending(at, w),
                    None => msix.read_table(at.at, w),
                }
            }
            (4, _) if self.options.modern => self.read_modern(at.at, w, cx),
            _ => w.mask(),
        }
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, cx: &mut dyn Cx) {
        match (at.bank, &mut self.msix) {
            (0, _) if self.options.legacy => self.write_legacy(at.at, w, value, cx),
            (1, Some(msix)) if at.at < u64::from(pending_at(self.vectors)) => {
                msix.write_table(at.at, w, value, &self.config, cx)
            }
            (4, _) if self.options.modern => self.write_modern(at.at, w, value, cx),
            _ => {}
        }
    }
    fn wake(&mut self, cx: &mut dyn Cx) {
        self.call(cx, |d, io| d.wake(io));
    }
    fn input(&mut self, what: Input, cx: &mut dyn Cx) {
        self.call(cx, |d, io| d.input(what, io));
    }
    fn reset(&mut self) {
        self.config.reset();
        if let Some(msix) = &mut self.msix {
            msix.reset();
        }
        self.reset_parts();
    }
    fn settle(&mut self, cx: &mut dyn Cx) {
        self.set_intx();
        self.call(cx, |_, _| ());
    }
    fn save(&self) -> Vec<u8> {
        let msix = self.msix.as_ref().map(|m| m.s.clone()).unwrap_or_default();
        let s = State { msix, device: Bytes(self.device.save()), ..self.s.clone() };
        pci::save(&self.config, s.save())
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        let mut config = std::mem::replace(&mut self.config, Config::new(NOBODY));
        let result = pci::load(&mut config, from, |rest| self.load_rest(rest));
        self.config = config;
        result
    }
    fn describe(&self) -> String {
        self.describe_all()
    }
}

/// Stands in for a moment.
const NOBODY: Ids = Ids { vendor: 0, device: 0, class: 0, revision: 0 };

impl<D: VirtioDevice> VirtioPci<D> {
    fn load_rest(&mut self, from: &[u8]) -> Result<(), Misfit> {
        let mut s = State::load(from)?;
        if !self.fits(&s) {
            return Err(Misfit::Unfit("a virtio device with other queues or vectors".into()));
        }
        let (msix, device) = (std::mem::take(&mut s.msix), std::mem::take(&mut s.device));
        let before = self.msix.as_ref().map(|m| m.s.clone());
        if let Some(own) = &mut self.msix {
            own.load(msix)?;
        }
        if let Err(misfit) = self.device.load(&device.0) {
            if let (Some(own), Some(before)) = (&mut self.msix, before) {
                own.s = before;
            }
            return Err(misfit);
        }
        self.s = s;
        Ok(())
    }
    fn describe_all(&self) -> String {
        let s = &self.s;
        let mut out = format!(
            "status {:#04x} features {:#x} isr {} vector {:#x}{}\n",
            s.status.0,
            s.features,
            s.isr,
            s.config_vector,
            if s.broken { " broken" } else { "" }
        );
        for (n, q) in s.queues.iter().enumerate().filter(|(_, q)| q.enabled) {
            out += &format!(
                "queue {n}: size {} desc {:#x} avail {:#x} used {:#x} taken {} given {} vector {:#x}\n",
                q.size, q.desc, q.avail, q.used, q.taken, q.given, q.vector
            );
        }
        out + &self.device.describe()
    }
}
