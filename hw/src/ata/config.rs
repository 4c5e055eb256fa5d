//! What a user chooses of a drive.

/// Disk or CD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Disk,
    Cd,
}

/// Cylinders, heads and sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub cylinders: u32,
    pub heads: u32,
    pub sectors: u32,
}

impl Geometry {
    /// What a disk of so many sectors says by default.
    pub fn of(sectors: u64) -> Self {
        let cylinders = (sectors / (16 * 63)).clamp(2, 16383) as u32;
        Self { cylinders, heads: 16, sectors: 63 }
    }
    /// How a BIOS translates it, as CMOS 0x39 says it: 0 not at all, 1 by LBA.
    pub fn translation(self) -> u8 {
        (self.cylinders > 1024 || self.heads > 16 || self.sectors > 63) as u8
    }
}

/// What a drive is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveConfig {
    pub kind: Kind,
    pub model: String,
    /// By default from the drive's place.
    pub serial: Option<String>,
    pub firmware: String,
    pub wwn: Option<u64>,
    /// Revolutions a minute; 0: not said, 1: a solid-state disk.
    pub rotation: u16,
    /// By default from the length.
    pub geometry: Option<Geometry>,
}

impl DriveConfig {
    pub fn disk() -> Self {
        Self {
            kind: Kind::Disk,
            model: "QEMU HARDDISK".into(),
            serial: None,
            firmware: "2.5+".into(),
            wwn: None,
            rotation: 0,
            geometry: None,
        }
    }
    pub fn cd() -> Self {
        Self { kind: Kind::Cd, model: "QEMU DVD-ROM".into(), ..Self::disk() }
    }
}
