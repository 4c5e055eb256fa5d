//! The modern registers, and the window to them in configuration space.  Virtio 1.2, 4.1.4.

use super::*;
use crate::virtio::queue::le;

const ISR: u64 = 0x1000;
const CONFIG: u64 = 0x2000;
const NOTIFY: u64 = 0x3000;
const END: u64 = 0x4000;

/// The fields of the common configuration that can be written: offset and length.  4.1.4.3.
#[rustfmt::skip]
const FIELDS: [(usize, usize); 13] = [
    (0x00, 4), (0x08, 4), (0x0C, 4), (0x10, 2), (0x14, 1), (0x16, 2), (0x18, 2), (0x1A, 2), (0x1C, 2),
    (0x20, 8), (0x28, 8), (0x30, 8), (0x3A, 2),
];

/// The capability that is a window into the modern BAR, for whoever cannot reach that.  4.1.4.9.
#[derive(Clone, Copy)]
pub struct Window {
    at: usize,
}

/// A capability that says where a structure lies.  4.1.4.
fn place(config: &mut Config, kind: u8, at: u64, extra: &[u8]) {
    let mut body = vec![16 + extra.len() as u8, kind, 4, 0, 0, 0];
    body.extend((at as u32).to_le_bytes());
    body.extend(0x1000u32.to_le_bytes());
    body.extend(extra);
    config.capability(9, &body, &[]);
}

impl Window {
    /// Adds all of the capabilities.
    pub(super) fn add(config: &mut Config) -> Self {
        place(config, 1, 0, &[]);
        place(config, 3, ISR, &[]);
        place(config, 4, CONFIG, &[]);
        place(config, 2, NOTIFY, &4u32.to_le_bytes());
        let mut writable = [0xFF; 18];
        for fixed in [0, 1, 3, 4, 5] {
            writable[fixed] = 0;
        }
        let mut body = [0; 18];
        body[..2].copy_from_slice(&[20, 5]);
        Self { at: config.capability(9, &body, &writable) }
    }
    /// The place that software chose.
    fn target(self, config: &Config) -> Option<(u64, Width)> {
        let w = match config.u32(self.at + 12) {
            1 => Width::W8,
            2 => Width::W16,
            4 => Width::W32,
            _ => return None,
        };
        let at = u64::from(config.u32(self.at + 8)) & !(w.bytes() - 1);
        (config.u8(self.at + 4) == 4 && at < END).then_some((at, w))
    }
    fn data(self) -> std::ops::Range<usize> {
        self.at + 16..self.at + 20
    }
}

fn overlap(a: &std::ops::Range<usize>, b: &std::ops::Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

impl<D: VirtioDevice> VirtioPci<D> {
    pub(super) fn window_written(&mut self, cx: &mut dyn Cx) {
        let Some(window) = self.window else { return };
        if !overlap(&self.config.written(), &window.data()) {
            return;
        }
        if let Some((at, w)) = window.target(&self.config) {
            let value = u64::from(self.config.u32(window.at + 16)) & w.mask();
            self.write_modern(at, w, value, cx);
        }
    }
    pub(super) fn window_reading(&mut self, at: u64, w: Width, cx: &mut dyn Cx) -> bool {
        let (Some(window), at) = (self.window, at as usize) else { return false };
        if !overlap(&(at..at + w.bytes() as usize), &window.data()) {
            return false;
        }
        let Some((at, w)) = window.target(&self.config) else { return false };
        let value = self.read_modern(at, w, cx).to_le_bytes();
        for (i, byte) in value[..w.bytes() as usize].iter().enumerate() {
            self.config.put(window.at + 16 + i, *byte);
        }
        true
    }

    pub(super) fn read_modern(&mut self, at: u64, w: Width, _: &mut dyn Cx) -> u64 {
        match at {
            ..ISR => {
                let common = self.common();
                join(at, w, 1, |i| common.get(i as usize).map_or(0, |b| u64::from(*b)))
            }
            ISR => self.take_isr().into(),
            CONFIG..NOTIFY => self.read_config(at - CONFIG, w),
            _ => 0,
        }
    }
    pub(super) fn write_modern(&mut self, at: u64, w: Width, value: u64, cx: &mut dyn Cx) {
        match at {
            NOTIFY..END => self.kick(((at - NOTIFY) / 4) as usize, cx),
            ..ISR => self.write_common(at as usize, w.bytes() as usize, value, cx),
            CONFIG..NOTIFY => self.write_config(at - CONFIG, w, value, cx),
            _ => {}
        }
    }
    /// The common configuration as it reads.
    fn common(&self) -> [u8; 64] {
        let (s, q) = (&self.s, self.selected_copy());
        let word = |features: u64, select: u32| match select {
            0 => features as u32,
            1 => (features >> 32) as u32,
            _ => 0,
        };
        let mut out = [0; 64];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x00, &s.device_select.to_le_bytes());
        put(0x04, &word(self.offered(false), s.device_select).to_le_bytes());
        put(0x08, &s.driver_select.to_le_bytes());
        put(0x0C, &word(s.features, s.driver_select).to_le_bytes());
        put(0x10, &s.config_vector.to_le_bytes());
        put(0x12, &(self.sizes.len() as u16).to_le_bytes());
        put(0x14, &[s.status.0, s.generation]);
        put(0x16, &s.queue_select.to_le_bytes());
        put(0x18, &q.size.to_le_bytes());
        put(0x1A, &q.vector.to_le_bytes());
        put(0x1C, &[q.enabled as u8, 0]);
        put(0x1E, &s.queue_select.to_le_bytes());
        put(0x20, &q.desc.to_le_bytes());
        put(0x28, &q.avail.to_le_bytes());
        put(0x30, &q.used.to_le_bytes());
        out
    }
    fn write_common(&mut self, at: usize, len: usize, value: u64, cx: &mut dyn Cx) {
        if at >= 64 {
            return;
        }
        let (mut image, end) = (self.common(), (at + len).min(64));
        image[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
        for (field, len) in FIELDS {
            if field < end && at < field + len {
                self.set_common(field, le(&image[field..field + len]), cx);
            }
        }
    }
    fn set_common(&mut self, field: usize, value: u64, cx: &mut dyn Cx) {
        let (vector, max) = (self.vector(value as u16), self.selected_max());
        match field {
            0x00 => self.s.device_select = value as u32,
            0x08 => self.s.driver_select = value as u32,
            0x0C => self.set_features(value as u32),
            0x10 => self.s.config_vector = vector,
            0x14 => self.set_status(value as u8, cx),
            0x16 => self.s.queue_select = value as u16,
            0x3A if value == 1 => self.reset_queue(self.s.queue_select.into(), cx),
            _ => {
                let Some(q) = self.selected() else { return };
                match field {
                    0x1A => q.vector = vector,
                    0x1C => q.enabled |= value == 1,
                    // The rest is fixed while the queue is in use: 4.1.4.3.2.
                    _ if q.enabled => {}
                    0x18 if value.is_power_of_two() && value <= max.into() => q.size = value as u16,
                    0x20 => q.desc = value,
                    0x28 => q.avail = value,
                    0x30 => q.used = value,
                    _ => {}
                }
            }
        }
    }
    fn selected_max(&self) -> u16 {
        self.sizes.get(usize::from(self.s.queue_select)).copied().unwrap_or(0)
    }
    /// One word of what the driver takes. Once it has said FEATURES_OK, it cannot change that.
    fn set_features(&mut self, word: u32) {
        let shift = match self.s.driver_select {
            0 => 0,
            1 => 32,
            _ => return,
        };
        if !self.s.status.features_ok() {
            let others = self.s.features & !(0xFFFF_FFFF << shift);
            self.s.features = (others | u64::from(word) << shift) & self.offered(false);
        }
    }
}
