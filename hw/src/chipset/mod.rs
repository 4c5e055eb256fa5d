//! What a PC has around its processor: interrupts, timers, the clock, power.

pub mod debug;
pub mod dma8237;
pub mod fw_cfg;
pub mod hpet;
pub mod ioapic;
pub mod lapic;
pub mod msi;
pub mod pic;
pub mod pit;
pub mod pm;
pub mod port92;
pub mod rtc;
pub mod tco;
