//! What monitors show: registers, the address map, the parts.

use crate::machine::Machine;
use crate::parts::DeviceId;
use cpu::{Core, Mode, Segment};
use hw::chipset::lapic::Lapic;
use memory::{Map, Target};
use std::fmt::Write;

const GPR: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];
const SEG: [&str; 6] = ["es", "cs", "ss", "ds", "fs", "gs"];

/// So many rows of a profile are shown.
const TOP: usize = 20;

fn segment(out: &mut String, name: &str, s: &Segment) {
    let _ = writeln!(out, "{name:3}={:04x} {:016x} {:08x} {:08x}", s.sel, s.base, s.limit, s.attr);
}

/// A core's registers in the form that people know from QEMU.
pub fn registers(core: &Core) -> String {
    let (s, mut o) = (&core.state, String::new());
    // In the order of QEMU's display, not of their numbers.
    let order = [0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15];
    for (k, &n) in order.iter().enumerate() {
        let end = if k % 4 == 3 { '\n' } else { ' ' };
        let _ = write!(o, "{:<3}={:016x}{end}", GPR[n].to_uppercase(), s.gpr[n]);
    }
    let f = s.flags();
    let letters: String = [(10, 'D'), (11, 'O'), (7, 'S'), (6, 'Z'), (4, 'A'), (2, 'P'), (0, 'C')]
        .iter()
        .map(|&(bit, c)| if f >> bit & 1 != 0 { c } else { '-' })
        .collect();
    let halted = (core.activity() != cpu::Activity::Running) as u8;
    let _ = writeln!(
        o,
        "RIP={:016x} RFL={f:08x} [{letters}] CPL={} II={} A20={} SMM={} HLT={halted}",
        s.rip,
        s.cpl,
        (s.shadow != 0) as u8,
        (core.phys_mask >> 20 & 1),
        s.smm as u8
    );
    for (name, seg) in SEG.iter().zip(&s.seg) {
        segment(&mut o, &name.to_uppercase(), seg);
    }
    segment(&mut o, "LDT", &s.ldtr);
    segment(&mut o, "TR", &s.tr);
    let _ = writeln!(o, "GDT=     {:016x} {:08x}", s.gdtr.base, s.gdtr.limit);
    let _ = writeln!(o, "IDT=     {:016x} {:08x}", s.idtr.base, s.idtr.limit);
    let _ =
        writeln!(o, "CR0={:08x} CR2={:016x} CR3={:016x} CR4={:08x}", s.cr0, s.cr2, s.cr3, s.cr4);
    for (n, v) in s.dr.iter().enumerate() {
        let _ = write!(o, "DR{n}={v:016x} ");
    }
    let _ = writeln!(o, "\nDR6={:016x} DR7={:016x}", s.dr6, s.dr7);
    let _ = writeln!(o, "EFER={:016x}", s.msr.efer);
    let _ = writeln!(
        o,
        "FCW={:04x} FSW={:04x} [ST={}] FTW={:02x} MXCSR={:08x}",
        s.fpu.cw,
        s.fpu.sw | (s.fpu.top as u16) << 11,
        s.fpu.top,
        !s.fpu.empty,
        s.mxcsr
    );
    for n in 0..8 {
        let end = if n % 2 == 1 { '\n' } else { ' ' };
        let _ = write!(o, "FPR{n}={:016x} {:04x}{end}", s.fpu.sig[n], s.fpu.sexp[n]);
    }
    for (n, v) in s.ymm.iter().enumerate() {
        let end = if n % 2 == 1 { '\n' } else { ' ' };
        let _ = write!(o, "YMM{n:02}={:032x}{:032x}{end}", v[1], v[0]);
    }
    o
}

/// A register by its lower-case name.
pub fn register(core: &Core, name: &str) -> Option<u64> {
    let s = &core.state;
    if let Some(n) = GPR.iter().position(|g| *g == name) {
        return Some(s.gpr[n]);
    }
    if let Some(n) = GPR[..8].iter().position(|g| g.strip_prefix('r') == name.strip_prefix('e')) {
        return Some(s.gpr[n] & 0xffff_ffff);
    }
    if let Some(n) = SEG.iter().position(|g| *g == name) {
        return Some(s.seg[n].sel.into());
    }
    Some(match name {
        "rip" | "pc" => s.rip,
        "eip" => s.rip & 0xffff_ffff,
        "rflags" | "eflags" => s.flags(),
        "cr0" => s.cr0,
        "cr2" => s.cr2,
        "cr3" => s.cr3,
        "cr4" => s.cr4,
        "efer" => s.msr.efer,
        "mxcsr" => s.mxcsr.into(),
        "fs_base" => s.seg[4].base,
        "gs_base" => s.seg[5].base,
        _ => return None,
    })
}

fn map_text(title: &str, map: &Map, names: impl Fn(u32) -> String, out: &mut String) {
    let _ = writeln!(out, "address-space: {title}");
    let mut entries: Vec<_> = map.entries().iter().collect();
    entries.sort_by_key(|e| (e.base, -e.priority));
    for e in entries {
        let kind = match e.target {
            Target::Ram { .. } => "ram".to_string(),
            Target::Rom { .. } => "rom".to_string(),
            Target::Io { device, bank, .. } => format!("i/o, {} window {bank}", names(device)),
            Target::Hole => "hole".to_string(),
        };
        let last = e.base + (e.len - 1);
        let _ = writeln!(
            out,
            "  {:016x}-{last:016x} (prio {}, {kind}): {}",
            e.base, e.priority, e.name
        );
    }
}

impl Machine {
    /// The text of `info what`; `None` for what is not known here.
    pub fn describe(&mut self, cpu: usize, what: &str) -> Option<String> {
        let mut o = String::new();
        match what {
            "mtree" => {
                let names = |d: u32| self.parts.name(DeviceId(d)).to_string();
                map_text("memory", &self.world.memory, names, &mut o);
                map_text("I/O", &self.world.ports, names, &mut o);
            }
            "qtree" => o = self.tree(),
            "pci" => o = self.parts.peek(self.board.pci)?.describe(),
            "jit" => {
                let mut tlb = memory::TlbCounts::default();
                self.cores.iter().for_each(|c| tlb += c.tlb.counts);
                o = self.engine.report(tlb);
            }
            "profile" => {
                let none = || "no profile: -profile file=FILE makes one\n".to_string();
                o = self.profile.as_ref().map_or_else(none, |p| p.report(TOP));
            }
            "lapic" => {
                let id = *self.parts.lapic_ids().get(cpu)?;
                o = self.parts.get::<Lapic>(id).map(device::Device::describe)?;
            }
            "pic" | "irq" => {
                for id in [self.board.pic, Some(self.board.ioapic)].into_iter().flatten() {
                    let _ = writeln!(o, "{}:", self.parts.name(id));
                    o += &self.parts.peek(id).map(|d| d.describe()).unwrap_or_default();
                }
            }
            "tlb" => {
                for (set, at, i) in self.cores.get(cpu)?.tlb.list() {
                    let views =
                        ["supervisor", "user", "supervisor, AC", "supervisor code", "user code"];
                    let view = views[set.min(views.len() - 1)];
                    let on = |b: bool, c: char| if b { c } else { '-' };
                    let _ = writeln!(
                        o,
                        "{at:016x}: {:016x} {}{}{}{} {view}",
                        i.phys,
                        on(i.global, 'G'),
                        on(i.read, 'R'),
                        on(i.write, 'W'),
                        on(i.exec, 'X')
                    );
                }
            }
            "statehash" => {
                let hash = self.hash();
                let _ = writeln!(o, "count={} hash={hash:032x}", self.count);
            }
            _ => return None,
        }
        Some(o)
    }

    /// The width of the code that a core runs.
    pub fn code_bits(&self, cpu: usize) -> u32 {
        Mode::of(&self.cores[cpu.min(self.cores.len() - 1)].state).bits()
    }

    /// Reads guest-physical memory, without devices noticing.
    pub fn read_physical(&self, mut at: u64, mut into: &mut [u8]) -> Option<()> {
        while !into.is_empty() {
            let run = self.world.memory.run(at).min(into.len() as u64) as usize;
            let (now, rest) = into.split_at_mut(run);
            match self.world.memory.at(at) {
                Target::Ram { offset } | Target::Rom { offset, .. } => {
                    self.world.ram.read(offset, now)?
                }
                _ => return None,
            }
            (at, into) = (at.checked_add(run as u64)?, rest);
        }
        Some(())
    }

    /// Reads memory as a core's data accesses see it, without a trace.
    pub fn read_virtual(&mut self, cpu: usize, mut at: u64, mut into: &mut [u8]) -> Option<()> {
        while !into.is_empty() {
            let run = (4096 - (at & 4095)).min(into.len() as u64) as usize;
            let (now, rest) = into.split_at_mut(run);
            let phys = self.with_core(cpu, |s| s.translate(at))?;
            self.read_physical(phys, now)?;
            (at, into) = (at.wrapping_add(run as u64), rest);
        }
        Some(())
    }
}
