//! SMBus host controller, as ICH9 and PIIX4 share it, on a bus without devices.  ICH9 data sheet, 18.2.

use super::{Bar, Config, Function, Ids};
use device::*;

state! {
    /// Everything the guest can see.
    pub struct State {
        /// Status, slave status (PIIX4), control, command, address, data 0 and 1.
        1 registers: [u8; 8] = [0; 8],
        2 block: [u8; 32] = [0; 32],
        3 index: u8 = 0,
        /// ICH9: auxiliary control.
        4 auxiliary: u8 = 0,
    }
}

const FAILED_ADDRESS: u8 = 0x04;
const START: u8 = 0x40;
const INTERRUPT: u8 = 1;

/// The register block.
#[derive(Default)]
pub struct Host {
    pub s: State,
}

impl Host {
    pub fn read(&mut self, at: u64, w: Width) -> u64 {
        join(at, w, 1, |at| {
            u64::from(match at {
                // Reading the control register starts a block again.
                2 => {
                    self.s.index = 0;
                    self.s.registers[2] & 0x1F
                }
                7 => self.block(|byte| *byte),
                0..7 => self.s.registers[at as usize],
                0xD => self.s.auxiliary,
                _ => 0,
            })
        })
    }
    pub fn write(&mut self, at: u64, w: Width, value: u64) {
        split(at, w, 1, value, |at, _, v| {
            let v = v as u8;
            match at {
                0 => self.s.registers[0] &= !v,
                2 => {
                    self.s.registers[2] = v;
                    if v & START != 0 {
                        // Nobody acknowledges any address.
                        self.s.registers[0] |= FAILED_ADDRESS;
                    }
                }
                7 => {
                    self.block(|byte| std::mem::replace(byte, v));
                }
                1..7 => self.s.registers[at as usize] = v,
                0xD => self.s.auxiliary = v & 3,
                _ => {}
            }
        })
    }
    fn block(&mut self, body: impl FnOnce(&mut u8) -> u8) -> u8 {
        let n = self.s.index & 31;
        self.s.index = (n + 1) & 31;
        body(&mut self.s.block[n as usize])
    }
    /// An ended transaction that wants an interrupt.
    pub fn interrupt(&self) -> bool {
        self.s.registers[2] & INTERRUPT != 0 && self.s.registers[0] & 0x1E != 0
    }
}

/// ICH9's SMBus controller, function 1f.3.
pub struct Ich9Smbus {
    config: Config,
    host: Host,
}

impl Default for Ich9Smbus {
    fn default() -> Self {
        let ids = Ids { vendor: 0x8086, device: 0x2930, class: 0x0C_0500, revision: 2 };
        let mut config = Config::new(ids).own_registers().bar(4, Bar::io(32)).interrupt_pin(1);
        config.set(0x06, &[0x80, 0x02]);
        config.allow(0x40, &[0x0F]);
        Self { config, host: Host::default() }
    }
}

impl Function for Ich9Smbus {
    fn config(&self) -> &Config {
        &self.config
    }
    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }
    fn removable(&self) -> bool {
        false
    }
}

impl Device for Ich9Smbus {
    fn name(&self) -> &'static str {
        "ICH9-SMB"
    }
    fn read(&mut self, at: Reg, w: Width, _: &mut dyn Cx) -> u64 {
        // Bit 0 of the host configuration register enables it.
        if at.bank == 4 && self.config.u8(0x40) & 1 != 0 {
            self.host.read(at.at, w)
        } else {
            w.mask()
        }
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, cx: &mut dyn Cx) {
        if at.bank == 4 && self.config.u8(0x40) & 1 != 0 {
            self.host.write(at.at, w, value);
            self.settle(cx);
        }
    }
    fn reset(&mut self) {
        self.config.reset();
        self.host.s = State::default();
    }
    fn settle(&mut self, _: &mut dyn Cx) {
        self.config.set_intx(self.host.interrupt());
    }
    fn save(&self) -> Vec<u8> {
        super::save(&self.config, self.host.s.save())
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        super::load(&mut self.config, from, |rest| {
            self.host.s = State::load(rest)?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use Width::*;

    #[test]
    fn nobody_answers_on_the_bus() {
        let mut h = Host::default();
        h.write(4, W8, 0xA1);
        h.write(2, W8, 0x49);
        assert_eq!(h.read(0, W8), 4);
        assert!(h.interrupt());
        h.write(0, W8, 0xFF);
        assert!(!h.interrupt() && h.read(2, W8) == 9);
    }
}
