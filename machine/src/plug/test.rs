use super::*;
use crate::config::{Board, Chipset, PciAddr, RtcBase, Shift, Timebase};
use crate::devices::Props;
use device::Width;

fn spec(driver: &'static str, id: &str, bus: &str, addr: Option<(u8, u8)>) -> DeviceSpec {
    let mut props = Props::default();
    if !bus.is_empty() {
        props.set("bus", Value::Text(bus.into()));
    }
    if let Some((slot, function)) = addr {
        props.set("addr", Value::PciAddr(PciAddr { slot, function }));
    }
    if driver == "pci-bridge" {
        props.set("chassis_nr", Value::Number(1));
    }
    DeviceSpec { id: (!id.is_empty()).then(|| id.into()), driver, props }
}

fn machine(chipset: Chipset, devices: Vec<DeviceSpec>) -> Result<Machine, String> {
    let config = Config {
        ram: 2 << 20,
        board: Board { chipset, ..Board::default() },
        devices,
        time: Timebase::Count { shift: Shift::Fixed(0), sleep: false, align: false },
        rtc: crate::config::Rtc { base: RtcBase::At(0), ..Default::default() },
        ..Config::default()
    };
    Machine::new(config).map_err(|e| e.to_string())
}

#[test]
fn a_bus_is_named_by_its_bridge_and_must_be_there_before() {
    let rng = || spec("virtio-rng-pci", "r", "p", None);
    let port = || spec("pcie-root-port", "p", "", None);
    let mut m = machine(Chipset::Q35, vec![port(), rng()]).unwrap();
    let pci = m.describe(0, "pci").unwrap();
    assert!(pci.contains("id \"p\"") && pci.contains("id \"r\""), "{pci}");
    let tree = m.describe(0, "qtree").unwrap();
    let at = |what: &str| tree.find(what).unwrap_or_else(|| panic!("{what}: {tree}"));
    assert!(at("bus: pcie.0") < at("id \"p\"") && at("bus: p\n") < at("id \"r\""), "{tree}");
    assert!(tree.contains("pci id 1af4:1044"), "a port has no room for legacy virtio: {tree}");
    let why = machine(Chipset::Q35, vec![rng(), port()]).err().unwrap();
    assert_eq!(why, "-device virtio-rng-pci: Bus 'p' not found");
}

#[test]
fn functions_go_together_or_are_refused() {
    let at = |n, f| spec("virtio-rng-pci", "", "", Some((n, f)));
    let several = |n, f| {
        let mut s = at(n, f);
        s.props.set("multifunction", Value::On(true));
        s
    };
    let q35 = |a, b| machine(Chipset::Q35, vec![a, b]).map(drop);
    assert!(q35(several(3, 0), at(3, 1)).is_ok());
    assert!(q35(at(3, 1), several(3, 0)).is_ok());
    for (a, b, want) in [
        (at(3, 0), at(3, 1), "PCI: single function device can't be populated in function 3.1"),
        (at(3, 1), at(3, 0), "PCI: 3.0 indicates single function, but 3.1 is already populated."),
        (
            at(3, 0),
            at(3, 0),
            "PCI: slot 3 function 0 not available for virtio-rng-pci, in use by virtio-rng-pci,id=(null)",
        ),
    ] {
        assert_eq!(q35(a, b).unwrap_err(), format!("-device virtio-rng-pci: {want}"));
    }
}

#[test]
fn what_cannot_be_plugged_is_refused_in_the_known_words() {
    let devices =
        || vec![spec("pcie-root-port", "p", "", None), spec("virtio-rng-pci", "r", "", None)];
    let mut m = machine(Chipset::Q35, devices()).unwrap();
    for (what, want) in [
        (spec("virtio-rng-pci", "a", "", None), "Bus 'pcie.0' does not support hotplugging"),
        (spec("virtio-rng-pci", "a", "x", None), "Bus 'x' not found"),
        (spec("virtio-rng-pci", "r", "p", None), "Duplicate device ID 'r'"),
        (spec("isa-serial", "", "", None), "Bus 'isa.0' does not support hotplugging"),
        (spec("VGA", "", "p", None), "Device 'VGA' does not support hotplugging"),
    ] {
        assert_eq!(m.plug(what).unwrap_err(), want);
    }
    assert_eq!(m.unplug("x").unwrap_err(), "Device 'x' not found");
    assert_eq!(m.unplug("r").unwrap_err(), "Bus 'pcie.0' does not support hotplugging");
    m.plug(spec("virtio-rng-pci", "a", "p", None)).unwrap();
    let why = m.plug(spec("virtio-rng-pci", "b", "p", Some((0, 1)))).unwrap_err();
    assert_eq!(
        why,
        "PCI: slot 0 function 0 already occupied by virtio-rng-pci, new func virtio-rng-pci cannot be exposed to guest."
    );
}

#[test]
fn a_device_comes_and_goes_on_pc() {
    let mut m = machine(Chipset::Pc, vec![spec("pci-bridge", "b", "", None)]).unwrap();
    let layout = m.board.layout.hotplug.clone().unwrap();
    assert_eq!((layout.number, layout.below.len()), (0, 1));
    m.plug(spec("virtio-rng-pci", "a", "", Some((5, 0)))).unwrap();
    m.plug(spec("virtio-rng-pci", "c", "b", None)).unwrap();
    let port = |m: &mut Machine, at, value: Option<u64>| {
        m.with_core(0, |s| match value {
            Some(v) => {
                s.bus.port_write(0, at, Width::W32, v);
                0
            }
            None => s.bus.port_read(0, at, Width::W32),
        })
    };
    assert_eq!(port(&mut m, 0xAE00, None), 1 << 5, "put in");
    m.unplug("a").unwrap();
    assert_eq!(m.unplug("a").unwrap_err(), "Device a is already in the process of unplug");
    assert_eq!(port(&mut m, 0xAE04, None), 1 << 5, "wanted back");
    assert!(m.take_unplugged().is_empty());
    port(&mut m, 0xAE08, Some(1 << 5));
    assert_eq!(m.take_unplugged(), [spec("virtio-rng-pci", "a", "", Some((5, 0)))]);
    let told = m.take_requests();
    assert!(told.iter().any(|(_, r)| matches!(r, Request::Unplugged(_))), "{told:?}");
    assert_eq!(m.unplug("a").unwrap_err(), "Device 'a' not found");
    // With the bridge's number chosen, its bus is looked at.
    port(&mut m, 0xAE10, Some(layout.below[0].2.number.into()));
    assert_eq!(port(&mut m, 0xAE00, None), 1);
}

#[test]
fn drives_come_and_go_and_their_numbers_are_used_again() {
    let mut m = machine(Chipset::Pc, Vec::new()).unwrap();
    let drive = |name: &str| crate::config::Drive {
        name: name.into(),
        removable: false,
        read_error: Default::default(),
        write_error: Default::default(),
    };
    let (a, b) = (m.add_drive(drive("a")), m.add_drive(drive("b")));
    m.remove_drive(a);
    assert_eq!(m.world.drives.iter().map(|d| d.0).collect::<Vec<_>>(), [b]);
    assert_eq!(m.add_drive(drive("c")), a);
    m.remove_drive(b);
    m.remove_drive(a);
    assert_eq!(m.world.drives.iter().count(), 0);
}
