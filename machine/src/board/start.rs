//! How the cores start: at the firmware's entry, or in a kernel that the loaders have put into memory.

use crate::MachineError;
use crate::boot::firmware::{MASTER_VECTORS, SLAVE_VECTORS};
use crate::boot::{self, EntryState, GuestRam};
use crate::machine::Machine;
use cpu::{Core, Segment};
use device::{Reg, Width};
use hw::chipset::lapic::Lapic;
use memory::{Map, Ram, Target};

/// Guest-physical memory for the loaders.
struct Physical<'a> {
    ram: &'a Ram,
    map: &'a Map,
}

impl Physical<'_> {
    /// Calls `f(offset in RAM, bytes done, bytes now)` for each piece of a physical range.
    fn each(
        &self,
        phys: u64,
        len: u64,
        mut f: impl FnMut(u64, usize, usize) -> Option<()>,
    ) -> Result<(), boot::BootError> {
        let mut done = 0;
        while done < len {
            let at = phys + done;
            let run = self.map.run(at).min(len - done);
            let ok = match self.map.at(at) {
                Target::Ram { offset } | Target::Rom { offset, .. } => {
                    f(offset, done as usize, run as usize)
                }
                _ => None,
            };
            ok.ok_or_else(|| boot::BootError::Layout(format!("no RAM at {phys:#x}, {len} bytes")))?;
            done += run;
        }
        Ok(())
    }
}

impl GuestRam for Physical<'_> {
    fn write(&mut self, phys: u64, bytes: &[u8]) -> Result<(), boot::BootError> {
        self.each(phys, bytes.len() as u64, |o, at, n| self.ram.write(o, &bytes[at..at + n]))
    }
    fn read(&self, phys: u64, into: &mut [u8]) -> Result<(), boot::BootError> {
        self.each(phys, into.len() as u64, |o, at, n| self.ram.read(o, &mut into[at..at + n]))
    }
}

/// Loads the kernel, if there is one, and sets the first core to its entry.
pub(crate) fn start(m: &mut Machine) -> Result<(), MachineError> {
    let Some(kernel) = &m.config.boot.kernel else {
        return Ok(());
    };
    let text = |p: &std::path::PathBuf| p.to_string_lossy().into_owned();
    let mut seed = Vec::new();
    (0..4).for_each(|_| seed.extend(m.world.random.next().to_le_bytes()));
    let request = boot::Request {
        kernel: text(kernel),
        initrd: m.config.boot.initrd.as_ref().map(text),
        append: m.config.boot.append.clone().unwrap_or_default(),
        seed: Some(seed),
    };
    set_up_pci(m);
    m.world.ram.discard(m.board.layout.ram_low + m.board.layout.ram_high);
    let mut ram = Physical { ram: &m.world.ram, map: &m.world.memory };
    let entry = boot::load_from_disk(&mut ram, &m.board.layout, &request)?;
    for core in &mut m.cores {
        core.state.msr.mtrr_def_type = entry.mtrr_def_type;
    }
    enter(&mut m.cores[0], &entry);
    if let Some(&id) = m.parts.lapic_ids().first() {
        m.parts.with_as(&mut m.world, id, |l: &mut Lapic, cx| l.virtual_wire(cx));
    }
    Ok(())
}

/// What firmware writes to the 8259s: `(bank, register, value)`. The initialization words, and masks that let through the
/// timer, the keyboard, the diskette; the clock, the mouse, the coprocessor and the first disk, as SeaBIOS leaves them.
#[rustfmt::skip]
const PIC: &[(u16, u64, u8)] = &[
    // Lines 9, 10 and 11 are level-triggered.
    (2, 1, 0x0E),
    (0, 0, 0x11), (0, 1, MASTER_VECTORS), (0, 1, 0x04), (0, 1, 0x01), (0, 1, 0xB8),
    (1, 0, 0x11), (1, 1, SLAVE_VECTORS), (1, 1, 0x02), (1, 1, 0x01), (1, 1, 0x8E),
];

/// What firmware tells the keyboard controller, `(bank, value)`: interrupts on, codes translated to set 1, the mouse off.
const KEYBOARD: &[(u16, u8)] = &[(1, 0x60), (0, 0x65)];

/// What firmware would have done to the chipset.
fn set_up_pci(m: &mut Machine) {
    let pci = m.board.pci;
    let mut port = |at: u64, w, v: u64| m.parts.write(&mut m.world, pci, Reg { bank: 0, at }, w, v);
    for &(devfn, at, bytes) in super::pc::pci_setup(m.config.board.chipset) {
        for (n, &byte) in bytes.iter().enumerate() {
            let at = at as u64 + n as u64;
            port(0, Width::W32, 1 << 31 | (devfn as u64) << 8 | at & 0xFC);
            port(4 + (at & 3), Width::W8, byte.into());
        }
    }
    port(0, Width::W32, 0);
    if let Some(keyboard) = m.board.keyboard {
        for &(bank, value) in KEYBOARD {
            let at = Reg { bank, at: 0 };
            m.parts.write(&mut m.world, keyboard, at, Width::W8, value.into());
        }
    }
    if let Some(pic) = m.board.pic {
        for &(bank, at, value) in PIC {
            m.parts.write(&mut m.world, pic, Reg { bank, at }, Width::W8, value.into());
        }
    }
}

fn segment(s: &boot::Segment) -> Segment {
    Segment { sel: s.selector, attr: (s.attr as u32) << 8, limit: s.limit, base: s.base }
}

/// Copies an entry state into a core.
fn enter(core: &mut Core, e: &EntryState) {
    let s = &mut core.state;
    s.gpr[..8].copy_from_slice(&[e.rax, e.rcx, e.rdx, e.rbx, e.rsp, e.rbp, e.rsi, e.rdi]);
    s.rip = e.rip;
    s.set_flags(e.rflags);
    s.seg = [segment(&e.data); 6];
    s.seg[1] = segment(&e.cs);
    s.tr = segment(&e.tr);
    (s.gdtr.base, s.gdtr.limit) = (e.gdt.base, e.gdt.limit);
    (s.idtr.base, s.idtr.limit) = (e.idt.base, e.idt.limit);
    (s.cr0, s.cr3, s.cr4, s.msr.efer) = (e.cr0, e.cr3, e.cr4, e.efer);
    core.tlb.flush();
    core.refresh();
}
