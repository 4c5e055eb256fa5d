//! What a memory controller shows of RAM where other things may be: the BIOS area by its PAM registers, and system
//! management RAM.
//!
//! Intel 82441FX data sheet, 3.2.18 and 3.2.19; Q35 MCH data sheet, 5.1.21 to 5.1.23. The functions of the host bridges own
//! one each and give it their banks from 8 on.

use super::Pam;
use device::*;

/// What a memory controller knows of its board.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// Bytes of RAM below 4 GiB; RAM is the first of the board's memory.
    pub ram_low: u64,
    /// Where in the board's memory the 128 KiB of ROM are that end at 1 MiB.
    pub bios: Option<u64>,
    /// Whether CPUs have a system management mode.
    pub smm: bool,
    /// Q35: what TSEG is when firmware asks for more than 8 MiB, in MiB; 0: it cannot.
    pub extended_tseg: u16,
}

/// Where system management RAM is, in memory as well as in the board's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Smram {
    /// The 128 KiB at 640 KiB: seen by everybody, seen in system management mode.
    pub low: (bool, bool),
    /// The same at 0xFEDA_0000.
    pub high: (bool, bool),
    /// At the top of low RAM, and seen in no other mode: its length.
    pub tseg: u64,
    /// 128 KiB at 192 KiB, likewise.
    pub smbase: bool,
}

const LOW: u64 = 0xA_0000;
const HIGH: u64 = 0xFEDA_0000;
const LEN: u64 = 0x2_0000;
const SMBASE: u64 = 0x3_0000;
/// The ROM that ends at 1 MiB.
const BIOS: u64 = 0xE_0000;

/// Banks: thirteen regions of the BIOS area, then system management RAM.
const PAM: u16 = 8;
const BANKS: u16 = PAM + 13;

/// How a region of the BIOS area is seen, if not as what is behind it.
fn region(pam: &Pam, bios: Option<u64>) -> Option<Seen> {
    match (pam.read_ram, pam.write_ram) {
        (true, true) => Some(Seen::Ram { offset: pam.base }),
        (true, false) => Some(Seen::Rom { offset: pam.base }),
        // ROM is read, RAM is written: by calls.
        (false, true) => Some(match bios {
            Some(at) if pam.base >= BIOS => Seen::Rom { offset: at + (pam.base - BIOS) },
            _ => Seen::Registers,
        }),
        (false, false) => None,
    }
}

/// Shows all of it.
pub fn show(around: &Around, pam: &[Pam; 13], smram: Smram, cx: &mut dyn Cx) {
    for (n, p) in (PAM..).zip(pam) {
        let what = region(p, around.bios);
        let place = |what| Place { space: Space::Front, base: p.base, len: p.len, what };
        cx.map(n, what.map(place));
    }
    let tseg = around.ram_low.saturating_sub(smram.tseg);
    let ram = |offset| Seen::Ram { offset };
    let hidden = Seen::Registers;
    let (tseg_on, base_on) = (smram.tseg != 0, smram.smbase);
    #[rustfmt::skip]
    let windows = [
        (smram.low.0,  Space::Front, LOW,    LEN,        ram(LOW)),
        (smram.low.1,  Space::Smm,   LOW,    LEN,        ram(LOW)),
        (smram.high.0, Space::Front, HIGH,   LEN,        ram(LOW)),
        (smram.high.1, Space::Smm,   HIGH,   LEN,        ram(LOW)),
        (tseg_on,      Space::Front, tseg,   smram.tseg, hidden),
        (tseg_on,      Space::Smm,   tseg,   smram.tseg, ram(tseg)),
        (base_on,      Space::Front, SMBASE, LEN,        hidden),
        (base_on,      Space::Smm,   SMBASE, LEN,        ram(SMBASE)),
    ];
    for (n, (on, space, base, len, what)) in (BANKS..).zip(windows) {
        cx.map(n, on.then_some(Place { space, base, len, what }));
    }
}

/// A write to a window that is not plain RAM: to the BIOS area if its RAM takes writes, else to nowhere.
pub fn write(pam: &[Pam; 13], at: Reg, w: Width, value: u64, cx: &mut dyn Cx) {
    let region = at.bank.checked_sub(PAM).and_then(|n| pam.get(n as usize));
    if let Some(p) = region.filter(|p| p.write_ram && at.at < p.len) {
        let bytes = &value.to_le_bytes()[..w.bytes() as usize];
        let _ = cx.backing().write(p.base + at.at, bytes);
    }
}

bits! {
    /// System management RAM control, the same on both chips.
    pub struct Control: u8 { enabled: 3, locked: 4, closed: 5, open: 6 }
}

/// The bits of it that software can write, and those when it is locked.
pub const CONTROL: u8 = 0x78;
pub const CONTROL_LOCKED: u8 = 0x20;

#[cfg(test)]
mod test {
    use super::*;
    use Width::*;

    fn pam(read_ram: bool, write_ram: bool) -> [Pam; 13] {
        let mut all = Pam::decode(&[0; 7]);
        all.iter_mut().for_each(|p| (p.read_ram, p.write_ram) = (read_ram, write_ram));
        all
    }

    #[test]
    fn the_bios_area_has_four_states() {
        let around = Around { ram_low: 1 << 24, bios: Some(0x200_0000), ..Around::default() };
        let mut b = Bench::default();
        let seen = |b: &Bench, base| b.windows.values().find(|p| p.base == base).map(|p| p.what);
        show(&around, &pam(true, true), Smram::default(), &mut b);
        assert_eq!(seen(&b, 0xF_0000), Some(Seen::Ram { offset: 0xF_0000 }));
        show(&around, &pam(true, false), Smram::default(), &mut b);
        assert_eq!(seen(&b, 0xC_4000), Some(Seen::Rom { offset: 0xC_4000 }));
        show(&around, &pam(false, true), Smram::default(), &mut b);
        assert_eq!(seen(&b, 0xF_0000), Some(Seen::Rom { offset: 0x201_0000 }));
        assert_eq!(seen(&b, 0xC_0000), Some(Seen::Registers));
        show(&around, &pam(false, false), Smram::default(), &mut b);
        assert!(b.windows.is_empty());
    }

    #[test]
    fn writes_go_to_ram_where_they_may() {
        let mut b = Bench::default();
        b.backing.0 = vec![0; 1 << 20];
        write(&pam(false, true), Reg { bank: PAM, at: 0x10 }, W16, 0x1234, &mut b);
        assert_eq!(b.backing.0[0xF_0010..0xF_0013], [0x34, 0x12, 0]);
        for (on, bank, at) in [(false, PAM, 0), (true, PAM, 0x1_0000), (true, BANKS, 0)] {
            write(&pam(true, on), Reg { bank, at }, W8, 0xFF, &mut b);
        }
        assert_eq!(b.backing.0.iter().filter(|b| **b != 0).count(), 2);
    }

    #[test]
    fn tseg_is_hidden_at_the_top_of_ram() {
        let around = Around { ram_low: 0x800_0000, ..Around::default() };
        let mut b = Bench::default();
        let smram = Smram { low: (false, true), tseg: 0x80_0000, ..Smram::default() };
        show(&around, &pam(false, false), smram, &mut b);
        let mut all: Vec<_> = b.windows.values().map(|p| (p.space, p.base, p.what)).collect();
        all.sort_by_key(|w| (w.0, w.1));
        let ram = |offset| Seen::Ram { offset };
        assert_eq!(
            all,
            [
                (Space::Front, 0x780_0000, Seen::Registers),
                (Space::Smm, 0xA_0000, ram(0xA_0000)),
                (Space::Smm, 0x780_0000, ram(0x780_0000)),
            ]
        );
    }
}
