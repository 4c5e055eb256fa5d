//! What a PC has around its processor: interrupts, timers, the clock, power.

pub mod lapic;
