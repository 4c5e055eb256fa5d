//! Items of fw_cfg that are made when firmware asks for them: the ACPI tables, which say where it has put the chipset's
//! windows, and its agreement with the board on system management interrupts.

use super::items::tables;
use crate::boot::{Layout, Range};
use crate::machine::Machine;
use crate::parts::DeviceId;
use hw::chipset::fw_cfg::FwCfg;
use hw::pci::Root;
use hw::pci::q35::Ich9Lpc;

/// The file that says whether the features that firmware wants are granted.
pub(super) const SMI_OK: &str = "etc/smi/features-ok";
/// The features that there are. Bit 0: the command port interrupts all CPUs.
pub(super) const SMI_FEATURES: u64 = 1;

/// Makes the item that the fw_cfg device `id` waits for.
pub(crate) fn make_item(m: &mut Machine, id: DeviceId) {
    let Some(f) = m.parts.get::<FwCfg>(id) else { return };
    let made = match f.wanted() {
        Some(SMI_OK) => smi_features(m, id),
        Some(_) => tables(&layout(m)),
        None => return,
    };
    m.parts.with_as(&mut m.world, id, |f: &mut FwCfg, cx| {
        for (name, bytes) in made {
            f.make(name, bytes);
        }
        f.go_on(cx);
    });
}

/// Grants what firmware asked for, if it is not more than there is.
fn smi_features(m: &mut Machine, id: DeviceId) -> Vec<(&'static str, Vec<u8>)> {
    let wanted = m.parts.get::<FwCfg>(id).and_then(|f| f.file("etc/smi/requested-features"));
    let wanted = wanted.and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
    if wanted & !SMI_FEATURES != 0 {
        return Vec::new();
    }
    let pci = m.board.pci;
    m.parts.with_as(&mut m.world, pci, |r: &mut Root, cx| {
        r.with_at(0x1F, 0, cx, |lpc: &mut Ich9Lpc, _| lpc.pm.agree(wanted));
    });
    vec![(SMI_OK, vec![1])]
}

/// The board as firmware has set it up.
fn layout(m: &Machine) -> Layout {
    let mut l = m.board.layout.clone();
    let Some(root) = m.parts.get::<Root>(m.board.pci) else { return l };
    if let Some(ecam) = root.ecam() {
        l.set_ecam(Range::sized(ecam.base, ecam.len));
    }
    if let Some(base) = root.pm_base().filter(|base| *base <= 0xFF00) {
        l.set_pm_base(base);
    }
    // A bridge that was unplugged and plugged stays what it was in the tables: only those there at power-on count.
    l.hotplug = crate::plug::hot_buses(root);
    let high = root.places().filter(|p| p.base >= l.high_end());
    let ends = high.map(|p| (p.base, p.base.saturating_add(p.len)));
    if let Some((from, to)) = ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))) {
        l.cover_high(from, to);
    }
    l
}
