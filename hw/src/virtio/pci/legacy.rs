//! The legacy registers: ports.  Virtio 1.2, 4.1.4.10 and 2.7.2.
//!
//! 0x00 features offered, 0x04 taken, 0x08 page of the queue, 0x0C its size, 0x0E which queue, 0x10 notify, 0x12 status,
//! 0x13 ISR; with MSI-X on 0x14 vector of configuration changes, 0x16 of the queue; then the device's configuration.

use super::*;
use crate::virtio::queue::le;

/// What can be written: offset and length.
const FIELDS: [(usize, usize); 7] =
    [(0x04, 4), (0x08, 4), (0x0E, 2), (0x10, 2), (0x12, 1), (0x14, 2), (0x16, 2)];

impl<D: VirtioDevice> VirtioPci<D> {
    /// Where the device's configuration begins.
    fn own(&self) -> usize {
        if self.msix_enabled() { 24 } else { 20 }
    }
    fn registers(&self) -> [u8; 24] {
        let (s, q) = (&self.s, self.selected_copy());
        let mut out = [0; 24];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x00, &(self.offered(true) as u32).to_le_bytes());
        put(0x04, &(s.features as u32).to_le_bytes());
        put(0x08, &((q.desc >> 12) as u32).to_le_bytes());
        put(0x0C, &q.size.to_le_bytes());
        put(0x0E, &s.queue_select.to_le_bytes());
        put(0x12, &[s.status.0, s.isr]);
        put(0x14, &s.config_vector.to_le_bytes());
        put(0x16, &q.vector.to_le_bytes());
        out
    }
    pub(super) fn read_legacy(&mut self, at: u64, w: Width) -> u64 {
        let own = self.own() as u64;
        if at >= own {
            return self.read_config(at - own, w);
        }
        let (registers, config) = (self.registers(), self.device.config());
        if (at..at + w.bytes()).contains(&0x13) {
            self.take_isr();
        }
        join(at, w, 1, |i| match i.checked_sub(own) {
            None => registers[i as usize].into(),
            Some(i) => config.get(i as usize).map_or(0xFF, |b| u64::from(*b)),
        })
    }
    pub(super) fn write_legacy(&mut self, at: u64, w: Width, value: u64, cx: &mut dyn Cx) {
        let own = self.own();
        if at >= own as u64 {
            return self.write_config(at - own as u64, w, value, cx);
        }
        if (at, w) == (0x10, Width::W16) {
            return self.kick(value as usize, cx);
        }
        let (at, len) = (at as usize, w.bytes() as usize);
        let (mut image, end) = (self.registers(), (at + len).min(own));
        image[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
        for (field, len) in FIELDS {
            if field < end && at < field + len {
                self.set_legacy(field, le(&image[field..field + len]), cx);
            }
        }
    }
    fn set_legacy(&mut self, field: usize, value: u64, cx: &mut dyn Cx) {
        match field {
            0x04 => {
                // A driver that takes this bit takes anything.
                let taken = if value >> BAD_FEATURE & 1 != 0 { 0 } else { value };
                self.s.features = taken & self.offered(true);
            }
            0x08 if value == 0 => self.reset_by_driver(cx),
            0x08 => self.place_queue(value << 12),
            0x0E => self.s.queue_select = value as u16,
            0x10 => self.kick(value as usize, cx),
            0x12 => {
                if value == 3 {
                    // Old drivers forget bus mastering, and QEMU helps them at this point.
                    let command = self.config.u8(4);
                    self.config.put(4, command | 4);
                }
                self.set_status(value as u8, cx)
            }
            0x14 => self.s.config_vector = self.vector(value as u16),
            _ => {
                let vector = self.vector(value as u16);
                if let Some(q) = self.selected() {
                    q.vector = vector;
                }
            }
        }
    }
    /// The one place of a legacy queue: descriptors, the available ring, and on the next page the used ring.
    fn place_queue(&mut self, at: u64) {
        if let Some(q) = self.selected() {
            let size = u64::from(q.size);
            q.desc = at;
            q.avail = at + 16 * size;
            q.used = (q.avail + 4 + 2 * size).next_multiple_of(4096);
            q.enabled = true;
        }
    }
}
