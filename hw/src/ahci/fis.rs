//! Frames between host and drive.  Serial ATA 3.1, 10.5; where AHCI puts them, AHCI 1.3.1, 4.2.1.

use crate::ata::Regs;

/// Offsets into the receive area.
pub const DMA_SETUP_AT: u64 = 0x00;
pub const PIO_SETUP_AT: u64 = 0x20;
pub const REGISTER_AT: u64 = 0x40;
pub const SET_BITS_AT: u64 = 0x58;

/// A register frame from the host.
pub struct FromHost {
    /// A command; else a change of the control register.
    pub command: Option<u8>,
    /// The port of a port multiplier.
    pub pm_port: u8,
    pub regs: Regs,
    pub control: u8,
}

impl FromHost {
    pub fn decode(f: &[u8; 20]) -> Option<Self> {
        if f[0] != 0x27 {
            return None;
        }
        let of = |low: usize, high: usize| u16::from_le_bytes([f[low], f[high]]);
        let regs = Regs {
            feature: of(3, 11),
            count: of(12, 13),
            low: of(4, 8),
            mid: of(5, 9),
            high: of(6, 10),
            device: f[7],
        };
        let command = (f[1] & 0x80 != 0).then_some(f[2]);
        Some(Self { command, pm_port: f[1] & 0xF, regs, control: f[15] })
    }
}

fn with_registers(head: [u8; 4], regs: &Regs) -> [u8; 20] {
    let mut f = [0; 20];
    f[..4].copy_from_slice(&head);
    for (i, r) in [regs.low, regs.mid, regs.high].into_iter().enumerate() {
        [f[4 + i], f[8 + i]] = r.to_le_bytes();
    }
    f[7] = regs.device;
    f[12..14].copy_from_slice(&regs.count.to_le_bytes());
    f
}

/// Registers from the drive.
pub fn register(status: u8, error: u8, interrupt: bool, regs: &Regs) -> [u8; 20] {
    with_registers([0x34, if interrupt { 0x40 } else { 0 }, status, error], regs)
}
/// Data by PIO follows; `end` is the status after it.
pub fn pio_setup(input: bool, regs: &Regs, end: u8, len: usize) -> [u8; 20] {
    let flags = if input { 0x60 } else { 0 };
    let mut f = with_registers([0x5F, flags, 0x58, 0], regs);
    f[15] = end;
    f[16..18].copy_from_slice(&(len.min(0xFFFF) as u16).to_le_bytes());
    f
}
/// Data of a queued command follows.
pub fn dma_setup(slot: u8, input: bool, len: u32) -> [u8; 28] {
    let mut f = [0; 28];
    (f[0], f[1], f[4]) = (0x41, if input { 0x20 } else { 0 }, slot);
    f[20..24].copy_from_slice(&len.to_le_bytes());
    f
}
/// Queued commands are over.
pub fn set_bits(status: u8, error: u8, slots: u32) -> [u8; 8] {
    let [a, b, c, d] = slots.to_le_bytes();
    [0xA1, 0x40, status & 0x77, error, a, b, c, d]
}
