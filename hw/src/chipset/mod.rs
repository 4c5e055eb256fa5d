//! What a PC has around its processor: interrupts, timers, the clock, power.

pub mod hpet;
pub mod ioapic;
pub mod lapic;
pub mod pic;
pub mod pit;
pub mod rtc;
