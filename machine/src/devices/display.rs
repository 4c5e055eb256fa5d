//! Display adapters.

use super::PropKind::{Number, OnOff, Text};
use super::props::prop;
use super::{Driver, Env, Home, Made, Props};
use crate::firmware;
use hw::display::edid::Edid;
use hw::{Vga, VgaConfig};

#[rustfmt::skip]
pub(super) const DRIVERS: &[Driver] = &[
    Driver {
        name: "VGA", home: Home::Pci(vga), carries: None, about: "standard VGA with Bochs' extension",
        props: &[&[
            prop("vgamem_mb", Number(1, 512), "default: 16"),
            prop("xres", Number(0, 4095), "default: 1280"),
            prop("yres", Number(0, 4095), "default: 800"),
            prop("xmax", Number(0, 4095), "default: no limit"),
            prop("ymax", Number(0, 4095), "default: no limit"),
            prop("edid", OnOff, "default: on"),
            prop("romfile", Text, "default: vgabios-stdvga.bin"),
        ]],
    },
];

/// The longest ROM.
const LONGEST: u64 = 1 << 20;

fn vga(p: &Props, env: &mut Env<'_>) -> Result<Made, String> {
    let bytes = p.number("vgamem_mb").unwrap_or(16).next_power_of_two() << 20;
    let named = p.text("romfile");
    let rom = match named.unwrap_or("vgabios-stdvga.bin") {
        "" => None,
        name => match firmware::read("romfile", name.as_ref(), env.dirs, LONGEST) {
            Ok(mut image) => {
                let len = image.len().next_power_of_two().max(2048);
                image.resize(len, 0xFF);
                Some((env.builder.image(image), len as u64))
            }
            // Machines that start a kernel need none.
            Err(_) if named.is_none() && env.without_firmware => None,
            Err(e) => return Err(e.to_string()),
        },
    };
    let edid = Edid {
        width: p.number("xres").unwrap_or(1280) as u32,
        height: p.number("yres").unwrap_or(800) as u32,
        max_width: p.number("xmax").unwrap_or(0) as u32,
        max_height: p.number("ymax").unwrap_or(0) as u32,
    };
    let config = VgaConfig {
        vram: env.builder.backing(bytes),
        vram_bytes: bytes,
        rom,
        edid: (p.on("edid") != Some(false)).then_some(edid),
        ..VgaConfig::default()
    };
    Ok(Made::new(Vga::new(config)))
}
