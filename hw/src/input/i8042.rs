//! 8042 keyboard controller with its keyboard and mouse.  IBM PS/2 hardware technical reference, "Keyboard and Auxiliary
//! Device Controller".
//!
//! Banks: 0 the data port 0x60, 1 the command and status port 0x64. Output pins [`IRQ1`] and [`IRQ12`].

use super::keyboard::{self, Keyboard};
use super::mouse::{self, Mouse};
use device::*;
use std::collections::VecDeque;

/// Output: the keyboard has data.
pub const IRQ1: Pin = Pin(0);
/// Output: the mouse has data.
pub const IRQ12: Pin = Pin(1);

bits! {
    /// The command byte.
    pub struct Control: u8 {
        keyboard_irq: 0, mouse_irq: 1, system: 2, keyboard_off: 4, mouse_off: 5, translate: 6,
    }
}
bits! {
    /// The output port.
    pub struct Output: u8 { running: 0, a20: 1 }
}

/// Where a byte in the output buffer comes from, as far as software can tell.
const FROM_KEYBOARD: u8 = 0;
const FROM_MOUSE: u8 = 1;

state! {
    /// Everything the guest can see.
    pub struct State {
        1 control: Control = Control(0x03),
        2 output: Output = Output(0xCF),
        /// The output buffer: the byte and its source.
        3 buffer: Option<(u8, u8)> = None,
        /// What the controller itself has to say, with the source that it shows.
        4 replies: VecDeque<(u8, u8)> = VecDeque::new(),
        /// The command whose data byte comes next.
        5 command: u8 = 0,
        /// The last write was to the command port.
        6 commanded: bool = true,
        /// A break prefix came from the keyboard and waits for its code.
        7 released: bool = false,
        8 keyboard: keyboard::State = keyboard::State::default(),
        9 mouse: mouse::State = mouse::State::default(),
        10 memory: [u8; 32] = [0; 32],
    }
}

/// Replies that nobody reads are lost after this many.
const REPLIES: usize = 16;

#[derive(Default)]
pub struct I8042 {
    s: State,
    keyboard: Keyboard,
    mouse: Mouse,
}

impl I8042 {
    pub fn new() -> Self {
        Self::default()
    }
    /// Scroll, number, capital lock, from bit 0.
    pub fn leds(&self) -> u8 {
        self.keyboard.leds()
    }
    fn reply(&mut self, value: u8, from: u8) {
        if self.s.replies.len() < REPLIES {
            self.s.replies.push_back((value, from));
        }
    }
    fn status(&self) -> u8 {
        let from_mouse = matches!(self.s.buffer, Some((_, FROM_MOUSE)));
        let system = self.s.control.system() as u8;
        self.s.buffer.is_some() as u8
            | system << 2
            | (self.s.commanded as u8) << 3
            | 0x10
            | (from_mouse as u8) << 5
    }
    /// The keyboard's next byte, translated where that is on.
    fn keyboard_byte(&mut self) -> Option<u8> {
        loop {
            let byte = self.keyboard.take()?;
            if !self.s.control.translate() {
                return Some(byte);
            }
            if byte == 0xF0 {
                self.s.released = true;
                continue;
            }
            let released = std::mem::take(&mut self.s.released) as u8 * 0x80;
            return Some(keyboard::translate(byte) | released);
        }
    }
    /// Fills the output buffer: the controller first, then the keyboard.
    fn refill(&mut self) {
        if self.s.buffer.is_some() {
            return;
        }
        self.s.buffer = self.s.replies.pop_front();
        if self.s.buffer.is_none() && !self.s.control.keyboard_off() {
            self.s.buffer = self.keyboard_byte().map(|b| (b, FROM_KEYBOARD));
        }
        if self.s.buffer.is_none() && !self.s.control.mouse_off() {
            self.s.buffer = self.mouse.take().map(|b| (b, FROM_MOUSE));
        }
    }
    fn command(&mut self, value: u8, cx: &mut dyn Cx) {
        let c = self.s.control;
        self.s.command = 0;
        match value {
            0x20 => self.reply(c.0, FROM_KEYBOARD),
            0x21..0x40 => self.reply(self.s.memory[value as usize & 31], FROM_KEYBOARD),
            0x60..0x80 | 0xD1..=0xD4 => self.s.command = value,
            0xA7 => self.s.control = c.with_mouse_off(true),
            0xA8 => self.s.control = c.with_mouse_off(false),
            // The interfaces test well.
            0xA9 | 0xAB => self.reply(0, FROM_KEYBOARD),
            0xAA => {
                self.s.control = c.with_system(true);
                self.reply(0x55, FROM_KEYBOARD);
            }
            0xAD => self.s.control = c.with_keyboard_off(true),
            0xAE => self.s.control = c.with_keyboard_off(false),
            // The input port: the keyboard is not locked.
            0xC0 => self.reply(0x80, FROM_KEYBOARD),
            0xD0 => self.reply(self.s.output.0, FROM_KEYBOARD),
            0xDD => self.s.output = self.s.output.with_a20(false),
            0xDF => self.s.output = self.s.output.with_a20(true),
            // A pulse of output bits; bit 0 is the reset line.
            0xF0..=0xFF if value & 1 == 0 => cx.ask(Request::Reset),
            0xF0..=0xFF => {}
            _ => cx.complain(format_args!("i8042: unknown command {value:#04x}")),
        }
    }
    fn data(&mut self, value: u8, cx: &mut dyn Cx) {
        match std::mem::take(&mut self.s.command) {
            0x60 => self.s.control = Control(value),
            n @ 0x61..0x80 => self.s.memory[n as usize & 31] = value,
            0xD1 => {
                self.s.output = Output(value);
                if !self.s.output.running() {
                    cx.ask(Request::Reset);
                }
            }
            0xD2 => self.reply(value, FROM_KEYBOARD),
            0xD3 => self.reply(value, FROM_MOUSE),
            // Sending to a device turns its interface on.
            0xD4 => {
                self.s.control = self.s.control.with_mouse_off(false);
                self.mouse.write(value);
            }
            _ => {
                self.s.control = self.s.control.with_keyboard_off(false);
                self.keyboard.write(value);
            }
        }
    }
}

impl Device for I8042 {
    fn name(&self) -> &'static str {
        "i8042"
    }
    fn read(&mut self, at: Reg, w: Width, cx: &mut dyn Cx) -> u64 {
        let value = match at {
            Reg { bank: 0, at: 0 } => {
                let value = self.s.buffer.map_or(0, |(value, _)| value);
                if self.s.buffer.take().is_some() {
                    // The next byte is a new edge.
                    cx.irq(IRQ1, false);
                    cx.irq(IRQ12, false);
                }
                self.settle(cx);
                value
            }
            Reg { bank: 1, at: 0 } => self.status(),
            _ => 0xFF,
        };
        w.mask() & !0xFF | u64::from(value)
    }
    fn write(&mut self, at: Reg, _: Width, value: u64, cx: &mut dyn Cx) {
        let a20 = self.s.output.a20();
        match at {
            Reg { bank: 0, at: 0 } => {
                self.s.commanded = false;
                self.data(value as u8, cx);
            }
            Reg { bank: 1, at: 0 } => {
                self.s.commanded = true;
                self.command(value as u8, cx);
            }
            _ => return,
        }
        // The gate has other users, and its state is the board's: it hears of changes.
        if self.s.output.a20() != a20 {
            cx.ask(Request::A20(!a20));
        }
        self.settle(cx);
    }
    fn input(&mut self, what: Input, cx: &mut dyn Cx) {
        match what {
            Input::Key { code, down } => self.keyboard.key(code, down),
            Input::Pointer { dx, dy, dz, buttons } => self.mouse.moved(dx, dy, dz, buttons),
            _ => return,
        }
        self.settle(cx);
    }
    fn reset(&mut self) {
        (self.s, self.keyboard, self.mouse) = Default::default();
    }
    fn settle(&mut self, cx: &mut dyn Cx) {
        self.refill();
        let (c, from) = (self.s.control, self.s.buffer.map(|(_, from)| from));
        let keyboard = c.keyboard_irq() && !c.keyboard_off();
        cx.irq(IRQ1, keyboard && from == Some(FROM_KEYBOARD));
        cx.irq(IRQ12, c.mouse_irq() && from == Some(FROM_MOUSE));
    }
    fn save(&self) -> Vec<u8> {
        let (keyboard, mouse) = (self.keyboard.s.clone(), self.mouse.s.clone());
        State { keyboard, mouse, ..self.s.clone() }.save()
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        let mut s = State::load(from)?;
        self.keyboard.s = std::mem::take(&mut s.keyboard);
        self.mouse.s = std::mem::take(&mut s.mouse);
        self.s = s;
        Ok(())
    }
    fn describe(&self) -> String {
        format!(
            "control {:#04x} status {:#04x} output {:#04x} leds {:#x} scan code set {} mouse id {}\n",
            self.s.control.0,
            self.status(),
            self.s.output.0,
            self.leds(),
            self.keyboard.s.set,
            self.mouse.s.id
        )
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use Width::*;

    const DATA: Reg = Reg { bank: 0, at: 0 };
    const COMMAND: Reg = Reg { bank: 1, at: 0 };

    fn world() -> (I8042, Bench) {
        let (mut d, mut b) = (I8042::new(), Bench::default());
        d.settle(&mut b);
        (d, b)
    }
    fn command(d: &mut I8042, b: &mut Bench, value: u64) {
        d.write(COMMAND, W8, value, b)
    }
    fn data(d: &mut I8042, b: &mut Bench, value: u64) {
        d.write(DATA, W8, value, b)
    }
    fn read(d: &mut I8042, b: &mut Bench) -> Option<u64> {
        (d.read(COMMAND, W8, b) & 1 != 0).then(|| d.read(DATA, W8, b))
    }

    #[test]
    fn linux_finds_and_tests_the_controller() {
        let (mut d, mut b) = world();
        assert_eq!(d.read(COMMAND, W8, &mut b) & 1, 0);
        for (c, want) in [(0x20, 0x03), (0xAA, 0x55), (0xAB, 0), (0xA9, 0), (0xD0, 0xCF)] {
            command(&mut d, &mut b, c);
            assert_eq!(read(&mut d, &mut b), Some(want), "{c:#x}");
        }
        command(&mut d, &mut b, 0xD3);
        data(&mut d, &mut b, 0x5A);
        assert_eq!(d.read(COMMAND, W8, &mut b) & 0x21, 0x21, "the AUX loop");
        assert_eq!(read(&mut d, &mut b), Some(0x5A));
        command(&mut d, &mut b, 0xA7);
        command(&mut d, &mut b, 0x20);
        assert_eq!(read(&mut d, &mut b), Some(0x27));
        command(&mut d, &mut b, 0xA8);
        command(&mut d, &mut b, 0x20);
        assert_eq!(read(&mut d, &mut b), Some(0x07));
    }

    #[test]
    fn keys_are_translated_when_asked() {
        let (mut d, mut b) = world();
        command(&mut d, &mut b, 0x60);
        data(&mut d, &mut b, 0x47);
        let mut all = Vec::new();
        for (code, down) in [(0x1E, true), (0x1E, false), (0xC8, true), (0xC8, false)] {
            d.input(Input::Key { code, down }, &mut b);
        }
        while let Some(v) = read(&mut d, &mut b) {
            all.push(v);
        }
        assert_eq!(all, [0x1E, 0x9E, 0xE0, 0x48, 0xE0, 0xC8]);
        assert_eq!(b.rises[&IRQ1], 6, "an edge for each byte");
        data(&mut d, &mut b, 0xF2);
        let id = [0; 3].map(|_| read(&mut d, &mut b));
        assert_eq!(id, [Some(0xFA), Some(0xAB), Some(0x41)]);
    }

    #[test]
    fn the_mouse_has_its_own_interrupt() {
        let (mut d, mut b) = world();
        command(&mut d, &mut b, 0xD4);
        data(&mut d, &mut b, 0xF4);
        assert!(b.pin(IRQ12) && !b.pin(IRQ1));
        assert_eq!((d.read(COMMAND, W8, &mut b) & 0x20, read(&mut d, &mut b)), (0x20, Some(0xFA)));
        d.input(Input::Pointer { dx: 1, dy: 2, dz: 0, buttons: 2 }, &mut b);
        let packet = [0; 3].map(|_| read(&mut d, &mut b));
        assert_eq!(packet, [Some(0x2A), Some(1), Some(0xFE)]);
        assert!(!b.pin(IRQ12));
    }

    #[test]
    fn a_disabled_keyboard_keeps_its_keys() {
        let (mut d, mut b) = world();
        command(&mut d, &mut b, 0xAD);
        d.input(Input::Key { code: 0x1E, down: true }, &mut b);
        assert_eq!(read(&mut d, &mut b), None);
        command(&mut d, &mut b, 0xAE);
        assert_eq!(read(&mut d, &mut b), Some(0x1C));
    }

    #[test]
    fn reset_and_a20_go_through_the_output_port() {
        let (mut d, mut b) = world();
        command(&mut d, &mut b, 0xDD);
        command(&mut d, &mut b, 0xD1);
        data(&mut d, &mut b, 0xDF);
        command(&mut d, &mut b, 0xFF);
        command(&mut d, &mut b, 0xFE);
        assert_eq!(b.asked, [Request::A20(false), Request::A20(true), Request::Reset]);
    }
}
