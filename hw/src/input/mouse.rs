//! PS/2 mouse with wheel (IntelliMouse) and five buttons (IntelliMouse Explorer).
//! IBM PS/2 hardware technical reference, "Mouse"; Microsoft, "Input device support: wheel".

use device::*;
use std::collections::VecDeque;

const ACK: u8 = 0xFA;
const QUEUE: usize = 16;

state! {
    /// Everything the guest can see.
    pub struct State {
        1 id: u8 = 0,
        2 enabled: bool = false,
        3 remote: bool = false,
        4 wrap: bool = false,
        5 double: bool = false,
        6 resolution: u8 = 2,
        7 rate: u8 = 100,
        /// The rates set before, which unlock the wheel.
        8 rates: [u8; 2] = [0; 2],
        9 command: u8 = 0,
        10 queue: VecDeque<u8> = VecDeque::new(),
        /// Motion that has not been sent: right, up, wheel towards the user.
        11 motion: [i32; 3] = [0; 3],
        12 buttons: u8 = 0,
        /// The buttons changed since the last packet.
        13 changed: bool = false,
    }
}

#[derive(Default)]
pub struct Mouse {
    pub s: State,
}

impl Mouse {
    pub fn take(&mut self) -> Option<u8> {
        let byte = self.s.queue.pop_front()?;
        self.report();
        Some(byte)
    }
    pub fn has_data(&self) -> bool {
        !self.s.queue.is_empty()
    }
    fn reply(&mut self, bytes: &[u8]) {
        self.s.queue.extend(bytes);
        let extra = self.s.queue.len().saturating_sub(QUEUE);
        self.s.queue.drain(..extra);
    }
    /// Motion right, down and of the wheel towards the user; buttons from bit 0: left, right, middle, side, extra.
    pub fn moved(&mut self, dx: i32, dy: i32, dz: i32, buttons: u8) {
        if !self.s.enabled {
            return;
        }
        let [x, y, z] = &mut self.s.motion;
        *x = x.saturating_add(dx);
        *y = y.saturating_sub(dy);
        *z = z.saturating_add(dz);
        self.s.changed |= buttons != self.s.buttons;
        self.s.buttons = buttons;
        self.report();
    }
    /// Sends what has happened, when there is room and something listens.
    fn report(&mut self) {
        let s = &self.s;
        if s.enabled && !s.remote && s.queue.is_empty() && (s.changed || s.motion != [0; 3]) {
            self.packet();
        }
    }
    /// One packet: flags, right, up, and the wheel where there is one.
    fn packet(&mut self) {
        let mut take = |n: usize, limit: i32| {
            let part = self.s.motion[n].clamp(-limit, limit);
            self.s.motion[n] -= part;
            part
        };
        let (x, y) = (take(0, 127), take(1, 127));
        let z = take(2, if self.s.id == 4 { 7 } else { 127 });
        self.s.changed = false;
        let buttons = self.s.buttons;
        let signs = ((x < 0) as u8) << 4 | ((y < 0) as u8) << 5;
        let mut packet = vec![8 | buttons & 7 | signs, x as u8, y as u8];
        match self.s.id {
            3 => packet.push(z as u8),
            4 => packet.push(z as u8 & 0xF | (buttons >> 3 & 3) << 4),
            _ => {}
        }
        self.reply(&packet);
    }
    fn defaults(&mut self) {
        let (id, queue) = (self.s.id, std::mem::take(&mut self.s.queue));
        self.s = State { id, queue, ..State::default() };
    }
    /// A byte from the computer.
    pub fn write(&mut self, value: u8) {
        if self.s.wrap && value != 0xEC && value != 0xFF {
            return self.reply(&[value]);
        }
        match (std::mem::take(&mut self.s.command), value) {
            (0xE8, _) => self.s.resolution = value,
            (0xF3, _) => self.set_rate(value),
            (_, 0xE6) => self.s.double = false,
            (_, 0xE7) => self.s.double = true,
            (_, 0xE8 | 0xF3) => self.s.command = value,
            (_, 0xE9) => {
                let s = &self.s;
                let flags = (s.remote as u8) << 6 | (s.enabled as u8) << 5 | (s.double as u8) << 4;
                let status = [ACK, flags | s.buttons & 7, s.resolution, s.rate];
                return self.reply(&status);
            }
            (_, 0xEA) => self.s.remote = false,
            (_, 0xEB) => {
                self.reply(&[ACK]);
                return self.packet();
            }
            (_, 0xEC) => self.s.wrap = false,
            (_, 0xEE) => self.s.wrap = true,
            (_, 0xF0) => self.s.remote = true,
            (_, 0xF2) => return self.reply(&[ACK, self.s.id]),
            (_, 0xF4) => self.s.enabled = true,
            (_, 0xF5) => self.s.enabled = false,
            (_, 0xF6) => self.defaults(),
            (_, 0xFF) => {
                self.s = State::default();
                return self.reply(&[ACK, 0xAA, 0x00]);
            }
            _ => return self.reply(&[0xFE]),
        }
        self.reply(&[ACK]);
    }
    /// The rates 200, 100, 80 in this order unlock the wheel; 200, 200, 80 the side buttons.
    fn set_rate(&mut self, rate: u8) {
        match (self.s.rates, rate) {
            ([200, 100], 80) => self.s.id = 3,
            ([200, 200], 80) => self.s.id = 4,
            _ => {}
        }
        self.s.rates = [self.s.rates[1], rate];
        self.s.rate = rate;
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn all(m: &mut Mouse) -> Vec<u8> {
        std::iter::from_fn(|| m.take()).collect()
    }
    fn send(m: &mut Mouse, bytes: &[u8]) -> Vec<u8> {
        bytes.iter().for_each(|b| m.write(*b));
        all(m)
    }

    #[test]
    fn linux_finds_a_wheel_and_five_buttons() {
        let mut m = Mouse::default();
        assert_eq!(send(&mut m, &[0xFF]), [0xFA, 0xAA, 0]);
        assert_eq!(send(&mut m, &[0xF2]), [0xFA, 0]);
        assert_eq!(
            send(&mut m, &[0xF3, 200, 0xF3, 100, 0xF3, 80, 0xF2]),
            [0xFA, 0xFA, 0xFA, 0xFA, 0xFA, 0xFA, 0xFA, 3]
        );
        send(&mut m, &[0xF3, 200, 0xF3, 200, 0xF3, 80]);
        assert_eq!(send(&mut m, &[0xF2]), [0xFA, 4]);
    }

    #[test]
    fn motion_is_sent_in_packets() {
        let mut m = Mouse::default();
        m.moved(5, 5, 0, 1);
        assert_eq!(all(&mut m), [], "not enabled");
        send(&mut m, &[0xF4]);
        m.moved(5, -3, 0, 1);
        assert_eq!(all(&mut m), [0x09, 5, 3]);
        m.moved(-200, 1, 0, 0);
        assert_eq!(all(&mut m), [0x38, 0x81, 0xFF, 0x18, 0xB7, 0], "in two steps");
        m.s.id = 4;
        m.moved(0, 0, -1, 0x18);
        assert_eq!(all(&mut m), [0x08, 0, 0, 0x3F]);
    }

    #[test]
    fn status_and_remote_mode() {
        let mut m = Mouse::default();
        assert_eq!(
            send(&mut m, &[0xE8, 3, 0xE7, 0xF4, 0xE9]),
            [0xFA, 0xFA, 0xFA, 0xFA, 0xFA, 0x30, 3, 100]
        );
        send(&mut m, &[0xF0]);
        m.moved(1, 0, 0, 0);
        assert_eq!(all(&mut m), []);
        assert_eq!(send(&mut m, &[0xEB]), [0xFA, 8, 1, 0]);
        assert_eq!(send(&mut m, &[0xEE, 0x55, 0xEC]), [0xFA, 0x55, 0xFA]);
    }
}
