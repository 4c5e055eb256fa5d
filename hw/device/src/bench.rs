//! A bench: the world in a test's hands.

use crate::*;
use std::collections::BTreeMap;

/// A [`Cx`] that notes what a device does and lets a test move time.
#[derive(Default)]
pub struct Bench {
    pub now: Tick,
    pub wake: Option<Tick>,
    pub pins: BTreeMap<Pin, bool>,
    /// How often each pin rose.
    pub rises: BTreeMap<Pin, u32>,
    pub ram: Vec<u8>,
    pub backing: Backing,
    pub asked: Vec<Request>,
    pub messages: Vec<ApicMessage>,
    pub windows: BTreeMap<u16, Place>,
    pub complaints: Vec<String>,
    random: u64,
}

impl Bench {
    /// A bench with this much memory for DMA.
    pub fn with_ram(bytes: usize) -> Self {
        Self { ram: vec![0; bytes], ..Self::default() }
    }
    pub fn pin(&self, pin: Pin) -> bool {
        self.pins.get(&pin).copied().unwrap_or(false)
    }
    /// Goes to the time the device asked for and wakes it. Panics if it asked for none.
    pub fn run_to_wake(&mut self, d: &mut dyn Device) {
        self.now = self.wake.take().expect("the device asked for no wake-up").max(self.now);
        d.wake(self);
    }
    /// Lets `ticks` pass, waking the device whenever it asked to.
    pub fn run_for(&mut self, d: &mut dyn Device, ticks: Tick) {
        let end = self.now + ticks;
        while self.wake.is_some_and(|at| at <= end) {
            self.run_to_wake(d);
        }
        self.now = end;
    }
    /// All bytes sent so far.
    pub fn sent(&self) -> Vec<u8> {
        let bytes = self.asked.iter().filter_map(|r| match r {
            Request::Send(b) => Some(b.as_slice()),
            _ => None,
        });
        bytes.flatten().copied().collect()
    }
}

/// Bytes for [`Cx::backing`]: as many as a test puts in.
#[derive(Default)]
pub struct Backing(pub Vec<u8>);

fn range(addr: u64, len: usize) -> Result<std::ops::Range<usize>, DmaFault> {
    let from = usize::try_from(addr).map_err(|_| DmaFault)?;
    Ok(from..from.checked_add(len).ok_or(DmaFault)?)
}

impl Dma for Backing {
    fn read(&mut self, addr: u64, into: &mut [u8]) -> Result<(), DmaFault> {
        let bytes = range(addr, into.len()).map(|r| self.0.get(r))?;
        into.copy_from_slice(bytes.ok_or(DmaFault)?);
        Ok(())
    }
    fn write(&mut self, addr: u64, from: &[u8]) -> Result<(), DmaFault> {
        let bytes = range(addr, from.len()).map(|r| self.0.get_mut(r))?;
        bytes.ok_or(DmaFault)?.copy_from_slice(from);
        Ok(())
    }
}

impl Dma for Bench {
    fn read(&mut self, addr: u64, into: &mut [u8]) -> Result<(), DmaFault> {
        let bytes = range(addr, into.len()).map(|r| self.ram.get(r))?;
        into.copy_from_slice(bytes.ok_or(DmaFault)?);
        Ok(())
    }
    fn write(&mut self, addr: u64, from: &[u8]) -> Result<(), DmaFault> {
        let bytes = range(addr, from.len()).map(|r| self.ram.get_mut(r))?;
        bytes.ok_or(DmaFault)?.copy_from_slice(from);
        Ok(())
    }
}

impl Cx for Bench {
    fn now(&self) -> Tick {
        self.now
    }
    fn wake_at(&mut self, at: Option<Tick>) {
        self.wake = at
    }
    fn irq(&mut self, pin: Pin, high: bool) {
        if high && !self.pin(pin) {
            *self.rises.entry(pin).or_default() += 1;
        }
        self.pins.insert(pin, high);
    }
    fn dma(&mut self) -> &mut dyn Dma {
        self
    }
    fn backing(&mut self) -> &mut dyn Dma {
        &mut self.backing
    }
    fn ask(&mut self, what: Request) {
        self.asked.push(what)
    }
    fn apic(&mut self, message: ApicMessage) {
        self.messages.push(message)
    }
    fn map(&mut self, bank: u16, place: Option<Place>) {
        match place {
            Some(p) => self.windows.insert(bank, p),
            None => self.windows.remove(&bank),
        };
    }
    fn random(&mut self) -> u64 {
        self.random =
            self.random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        self.random
    }
    fn complain(&mut self, what: std::fmt::Arguments<'_>) {
        self.complaints.push(what.to_string())
    }
}
