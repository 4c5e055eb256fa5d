//! What a core sees of the machine around it.

use memory::{Target, Width};

/// The machine, as one core sees it. Physical addresses are already masked by A20.
///
/// Before each call that may reach a device the core has brought [`crate::Core::retired`] up to date and passes it as
/// `count`, so that guest time is exact. A call that changes what the core should do next (an interrupt line, a timer, a
/// reset) makes [`Bus::attention`] true.
pub trait Bus {
    /// What answers at the 4 KiB page of `phys`; `None` if several parts share it.
    fn page(&mut self, phys: u64) -> Option<Target>;
    /// A physical read that may hit a device. It never crosses a page.
    fn read(&mut self, count: u64, phys: u64, w: Width) -> u64;
    fn write(&mut self, count: u64, phys: u64, w: Width, value: u64);
    fn port_read(&mut self, count: u64, port: u16, w: Width) -> u64;
    fn port_write(&mut self, count: u64, port: u16, w: Width, value: u64);
    /// The time-stamp counter before TSC_ADJUST and offsets.
    fn tsc(&mut self, count: u64) -> u64;
    /// The vector of the interrupt to take now; the controller counts it as delivered. `None`: it went away.
    fn acknowledge(&mut self, count: u64) -> Option<u8>;
    /// An MSR of the local APIC or the platform (x2APIC range, IA32_APIC_BASE, IA32_TSC_DEADLINE). `None`: not there, #GP.
    fn msr_read(&mut self, count: u64, msr: u32) -> Option<u64>;
    fn msr_write(&mut self, count: u64, msr: u32, value: u64) -> Option<()>;
    /// Sends the interrupt that the lower half of an interrupt command register describes to the local APIC with this
    /// id; `false` if there is none.
    fn send_ipi(&mut self, _count: u64, _id: u32, _command: u32) -> bool {
        false
    }
    /// The core enters or leaves system management mode: from now on [`Bus::page`] and the like are as seen there.
    fn set_smm(&mut self, _on: bool) {}
    /// The task-priority class (CR8).
    fn tpr(&mut self) -> u8;
    fn set_tpr(&mut self, count: u64, class: u8);
    /// 64 random bits for RDRAND and RDSEED.
    fn random(&mut self) -> u64;
    /// Whether the machine wants the core to return from its run now.
    fn attention(&mut self) -> bool;
    /// One line for the log of what went wrong in the guest.
    fn complain(&mut self, what: std::fmt::Arguments<'_>);
}
