//! What a `virtio-blk` is told about itself, and what it tells the driver.  Virtio 1.2, 5.2.3 and 5.2.4.

use super::*;

// Feature bits.
const SEG_MAX: u32 = 2;
const GEOMETRY: u32 = 4;
const READ_ONLY: u32 = 5;
const BLK_SIZE: u32 = 6;
/// The driver can ask for a flush.
pub(super) const FLUSHES: u32 = 9;
const TOPOLOGY: u32 = 10;
pub(super) const CONFIG_WCE: u32 = 11;
const MANY_QUEUES: u32 = 12;
const DISCARDS: u32 = 13;
const ZEROES: u32 = 14;

/// Where the configuration has the write cache.
pub(super) const WRITEBACK: usize = 0x20;

/// A disk as the options of `virtio-blk-pci` describe it.
#[derive(Clone, Debug)]
pub struct BlkConfig {
    pub unit: u16,
    pub serial: String,
    /// QEMU's default: one for each CPU.
    pub queues: u16,
    pub queue_size: u16,
    /// As many segments as fit into a queue, rather than 126.
    pub seg_max_adjust: bool,
    /// Powers of two; 0: as the medium has.
    pub logical_block_size: u32,
    pub physical_block_size: u32,
    /// In bytes.
    pub min_io_size: u32,
    pub opt_io_size: u32,
    pub discard_granularity: Option<u32>,
    /// Cylinders, heads, sectors; otherwise from the length.
    pub geometry: Option<(u16, u8, u8)>,
    /// The driver may turn the write cache on and off.
    pub config_wce: bool,
    pub discard: bool,
    pub write_zeroes: bool,
    /// Most sectors of one request.
    pub max_discard: u32,
    pub max_write_zeroes: u32,
}

impl Default for BlkConfig {
    fn default() -> Self {
        Self {
            unit: 0,
            serial: String::new(),
            queues: 1,
            queue_size: 256,
            seg_max_adjust: true,
            logical_block_size: 0,
            physical_block_size: 0,
            min_io_size: 0,
            opt_io_size: 0,
            discard_granularity: None,
            geometry: None,
            config_wce: true,
            discard: true,
            write_zeroes: true,
            max_discard: 0x3F_FFFF,
            max_write_zeroes: 0x3F_FFFF,
        }
    }
}

state! {
    /// What the guest knows of the disk.
    pub struct Known {
        /// In bytes; 0: there is none.
        1 len: u64 = 0,
        2 read_only: bool = false,
        3 block: u32 = 512,
        4 physical: u32 = 512,
        5 write_cache: bool = true,
    }
}

impl Known {
    pub(super) fn new(medium: Option<Medium>) -> Self {
        medium.map_or_else(Self::default, |m| Self {
            len: m.len,
            read_only: m.read_only,
            block: m.block,
            physical: m.physical,
            write_cache: m.write_cache,
        })
    }
}

/// A block size that can be.
fn block(size: u32) -> u32 {
    size.clamp(512, 2 << 20).next_power_of_two()
}

impl Blk {
    /// Bytes of a logical block.
    pub(super) fn logical(&self) -> u32 {
        block(self.s.disk.block.max(self.config.logical_block_size))
    }
    fn physical(&self) -> u32 {
        let own = self.config.physical_block_size;
        block(if own == 0 { self.s.disk.physical } else { own }).max(self.logical())
    }
    pub(super) fn sectors(&self) -> u64 {
        self.s.disk.len / SECTOR
    }
    pub(super) fn own_features(&self) -> u64 {
        let c = &self.config;
        let always = [SEG_MAX, GEOMETRY, BLK_SIZE, FLUSHES, TOPOLOGY];
        let sometimes = [
            (READ_ONLY, self.s.disk.read_only),
            (CONFIG_WCE, c.config_wce),
            (MANY_QUEUES, c.queues > 1),
            (DISCARDS, c.discard),
            (ZEROES, c.write_zeroes),
        ];
        let on = sometimes.into_iter().filter(|(_, on)| *on).map(|(bit, _)| bit);
        always.into_iter().chain(on).fold(0, |all, bit| all | 1 << bit)
    }
    /// Cylinders, heads and sectors. There have to be whole blocks in a track.
    fn geometry(&self) -> (u16, u8, u8) {
        let guess = ((self.sectors() / (16 * 63)).clamp(2, 16383) as u16, 16, 63);
        let (c, h, s) = self.config.geometry.unwrap_or(guess);
        let track = u64::from(h.max(1)) * u64::from(s.max(1)) * u64::from(self.logical());
        let whole = if self.s.disk.len / track > 0 { (self.logical() / 512 - 1) as u8 } else { 0 };
        (c, h, s & !whole)
    }
    pub(super) fn own_config(&self) -> Vec<u8> {
        let (c, block) = (&self.config, self.logical());
        let (cylinders, heads, sectors) = self.geometry();
        let mut out = Vec::with_capacity(60);
        let segments = if c.seg_max_adjust { u32::from(c.queue_size) - 2 } else { 126 };
        out.extend(self.sectors().to_le_bytes());
        out.extend(0u32.to_le_bytes());
        out.extend(segments.to_le_bytes());
        out.extend(cylinders.to_le_bytes());
        out.extend([heads, sectors]);
        out.extend(block.to_le_bytes());
        out.extend([(self.physical() / block).trailing_zeros() as u8, 0]);
        out.extend(((c.min_io_size / block) as u16).to_le_bytes());
        out.extend((c.opt_io_size / block).to_le_bytes());
        out.extend([self.s.cache as u8, 0]);
        out.extend(c.queues.to_le_bytes());
        if c.discard || c.write_zeroes {
            let alignment = c.discard_granularity.unwrap_or(block) / 512;
            out.extend([c.max_discard, 1, alignment].map(u32::to_le_bytes).concat());
        }
        if c.write_zeroes {
            out.extend([c.max_write_zeroes, 1, 1].map(u32::to_le_bytes).concat());
        }
        out
    }
}
