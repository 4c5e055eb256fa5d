//! The parts that both boards have, and the chipset of each.

use super::bus::{self, refused};
use super::{Board, Builder, IsaLines, mmio, order, ports, unix_time};
use crate::MachineError;
use crate::boot::Layout;
use crate::clock::TSC_HZ;
use crate::config::{Chipset, Config};
use crate::devices::{self, Driver, Home, Value};
use crate::firmware;
use crate::plug::{At, Standing};
use cpu::big::cpuid::Model;
use device::Pin;
use hw::chipset::fw_cfg::FwCfg;
use hw::chipset::{dma8237, hpet, ioapic, lapic, pic, pit, port92, rtc};
use hw::input::i8042;
use hw::pci::dram::Around;

/// I/O APIC pins that HPET timers may be routed to.
const HPET_ROUTES: u32 = 0xFF_0104;

/// Adds and joins all parts.
pub(crate) fn wire(
    b: &mut Builder,
    config: &Config,
    layout: Layout,
    model: &Model,
) -> Result<Board, MachineError> {
    let pic = b.part("i8259", pic::Pic::new(), &[ports(0x20, 2), ports(0xA0, 2), ports(0x4D0, 2)]);
    let ioapic = b.part("ioapic", ioapic::IoApic::new(), &[mmio(layout.io_apic.into(), 0x1000)]);
    let isa = IsaLines { pic, ioapic };
    for (n, &id) in layout.apic_ids[..layout.present].iter().enumerate() {
        let config = lapic::Config {
            cpu: n as u32,
            id,
            bsp: n == 0,
            phys_bits: model.phys_bits(),
            x2apic: model.has("x2apic"),
            tsc_hz: TSC_HZ,
        };
        let lapic = b.part("lapic", lapic::Lapic::new(config), &[]);
        if n == 0 {
            b.parts.join((pic, pic::INTR), (lapic, lapic::LINT0));
        }
    }
    let pit = b.part("pit", pit::Pit::new(), &[ports(0x40, 4), ports(0x61, 1)]);
    let mut clock = rtc::Rtc::new(unix_time(config));
    clock.set_memory(layout.ram_low, layout.ram_high);
    set_up_clock(&mut clock, config);
    let rtc = b.part("rtc", clock, &[ports(0x70, 2)]);
    match layout.hpet {
        Some(at) => {
            // The PIT's and the clock's interrupts pass through it: it replaces them in legacy mode.
            let hpet = b.part("hpet", hpet::Hpet::new(HPET_ROUTES), &[mmio(at.into(), 0x400)]);
            b.parts.join((pit, pit::IRQ0), (hpet, hpet::PIT));
            b.parts.join((rtc, rtc::IRQ8), (hpet, hpet::RTC));
            b.parts.join((hpet, hpet::LEGACY), (pit, pit::OFF));
            isa.join(b, hpet, Pin(0), 0);
            isa.join(b, hpet, Pin(8), 8);
            for n in (2..24).filter(|n| *n != 8) {
                b.parts.join((hpet, Pin(n)), (ioapic, Pin(n)));
            }
        }
        None => {
            isa.join(b, pit, pit::IRQ0, 0);
            isa.join(b, rtc, rtc::IRQ8, 8);
        }
    }
    for (n, backend) in config.serial.iter().enumerate() {
        if let Some(backend) = backend {
            let props = config.serial_props.clone();
            let props = props.with("index", Value::Number(n as u64));
            let props = props.with("chardev", Value::Chardev(*backend));
            devices::serial(b, &isa, &props).map_err(MachineError::Option)?;
        }
    }
    let keyboard = config.board.i8042.then(|| {
        let id = b.part("i8042", i8042::I8042::new(), &[ports(0x60, 1), ports(0x64, 1)]);
        isa.join(b, id, i8042::IRQ1, 1);
        isa.join(b, id, i8042::IRQ12, 12);
        id
    });
    b.part("port92", port92::Port92::new(), &[ports(0x92, 1)]);
    let dma = [ports(0, 0x10), ports(0xC0, 0x20), ports(0x80, 0x10)];
    b.part("i8257", dma8237::Dma8237::new(), &dma);
    let bios = firmware::map(b, config)?;
    let fw_cfg = b.part("fw_cfg", firmware::items(config, &layout)?, &[ports(0x510, 12)]);
    let around = Around {
        ram_low: layout.ram_low,
        bios,
        smm: config.board.smm,
        extended_tseg: config.board.extended_tseg,
    };
    let pci = bus::pci(b, config, &isa, around)?;
    if let Some(root) = b.parts.get(pci) {
        let order = order::boot_order(root, &b.standing, config.boot.strict)?;
        if let Some(f) = b.parts.get_mut::<FwCfg>(fw_cfg) {
            f.add_file("bootorder", order);
        }
    }
    for spec in &config.devices {
        if let Some(Driver { home: Home::Isa(make), .. }) = Driver::named(spec.driver) {
            make(b, &isa, &spec.props).map_err(|why| refused(spec, why))?;
            b.standing.push(Standing { spec: spec.clone(), at: At::Isa });
        }
    }
    Ok(Board {
        layout,
        pic: Some(pic),
        ioapic,
        rtc,
        keyboard,
        pci,
        fw_cfg,
        flash: std::mem::take(&mut b.flash),
        backends: std::mem::take(&mut b.backends),
        standing: std::mem::take(&mut b.standing),
    })
}

/// What firmware reads in the clock's memory: equipment, CPUs, drives to boot from.
fn set_up_clock(clock: &mut rtc::Rtc, config: &Config) {
    // A coprocessor and a mouse.
    clock.set(0x14, 0x06);
    clock.set(0x5F, (config.topology.cpus - 1) as u8);
    order::tell_clock(clock, firmware::boot_order(config));
}

/// Configuration that firmware would have done before a kernel that starts without one: `(function, register, bytes)`.
#[rustfmt::skip]
pub(crate) fn pci_setup(chipset: Chipset) -> &'static [(u8, u16, &'static [u8])] {
    const LPC: u8 = 0x1F << 3;
    match chipset {
        Chipset::Q35 => &[
            // The BIOS area is RAM.
            (0, 0x90, &[0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33]),
            // PCIEXBAR: the window of the layout, 256 buses, enabled.
            (0, 0x64, &[0, 0, 0, 0]),
            (0, 0x60, &[1, 0, 0, 0xB0]),
            // PM ports at 0x600, SCI on line 9.
            (LPC, 0x40, &[0x01, 0x06, 0, 0]),
            (LPC, 0x44, &[0x80]),
            (LPC, 0x60, &[10, 10, 11, 11]),
            (LPC, 0x68, &[10, 10, 11, 11]),
            (LPC, 0xF0, &[0x01, 0xC0, 0xD1, 0xFE]),
        ],
        Chipset::Pc => &[
            (0, 0x59, &[0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33]),
            (1 << 3, 0x60, &[10, 10, 11, 11]),
            // Both IDE channels are on.
            (1 << 3 | 1, 0x40, &[0, 0x80, 0, 0x80]),
            (1 << 3 | 3, 0x40, &[0x01, 0x06, 0, 0]),
            (1 << 3 | 3, 0x80, &[0x01]),
            (1 << 3 | 3, 0x90, &[0x01, 0x07, 0, 0]),
            (1 << 3 | 3, 0xD2, &[0x09]),
        ],
    }
}
