//! A card for tests: it does what is written to its registers.

use device::*;
use hw::pci::express::Express;
use hw::pci::{self, Bar, Config, Function, Ids};

/// Registers of BAR 0: the interrupt's level, a read of disk unit 3, a word to memory at 0x100.
pub const LEVEL: u64 = 0;
pub const DISK: u64 = 4;
pub const DMA: u64 = 8;

pub struct Card {
    config: Config,
    level: u32,
}

impl Card {
    /// BARs: memory, ports, 64-bit prefetchable memory.
    pub fn new(pin: u8) -> Self {
        let ids = Ids { vendor: 0x1234, device: 0x5678, class: 0x02_0000, revision: 0 };
        let config = Config::new(ids)
            .bar(0, Bar::memory(0x1000))
            .bar(1, Bar::io(32))
            .bar(2, Bar::memory(0x10_0000).wide().prefetchable())
            .interrupt_pin(pin);
        Self { config, level: 0 }
    }
    /// As a PCI Express endpoint.
    pub fn express() -> Self {
        let mut card = Self::new(1);
        card.config = card.config.extended();
        card.config.express(Express::Endpoint { reset: true });
        card
    }
    pub fn multifunction(mut self) -> Self {
        self.config = self.config.multifunction();
        self
    }
    pub fn boxed(self) -> Box<dyn Function> {
        Box::new(self)
    }
}

impl Function for Card {
    fn config(&self) -> &Config {
        &self.config
    }
    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }
    fn unplugged(&mut self, cx: &mut dyn Cx) {
        cx.ask(Request::Send(b"bye".to_vec()));
    }
}

impl Device for Card {
    fn name(&self) -> &'static str {
        "card"
    }
    fn read(&mut self, at: Reg, w: Width, _: &mut dyn Cx) -> u64 {
        if at.at == LEVEL { u64::from(self.level) & w.mask() } else { w.mask() }
    }
    fn write(&mut self, at: Reg, _: Width, value: u64, cx: &mut dyn Cx) {
        match at.at {
            LEVEL => {
                self.level = value as u32;
                self.settle(cx);
            }
            DISK => {
                let op = DiskOp::Read { at: 0, len: 512 };
                cx.ask(Request::Disk { unit: 3, tag: value, op });
            }
            DMA => {
                let _ = cx.dma().write(0x100, &(value as u32).to_le_bytes());
            }
            _ => {}
        }
    }
    fn wake(&mut self, cx: &mut dyn Cx) {
        self.level = 0;
        self.settle(cx);
    }
    fn reset(&mut self) {
        self.config.reset();
        self.level = 0;
    }
    fn settle(&mut self, cx: &mut dyn Cx) {
        self.config.set_intx(self.level & 1 != 0);
        cx.wake_at((self.level & 2 != 0).then_some(SECOND));
    }
    fn save(&self) -> Vec<u8> {
        pci::save(&self.config, self.level.to_le_bytes().to_vec())
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        pci::load(&mut self.config, from, |rest| {
            let bytes = rest.try_into().map_err(|_| Misfit::Unfit("a card's level".into()))?;
            self.level = u32::from_le_bytes(bytes);
            Ok(())
        })
    }
}
