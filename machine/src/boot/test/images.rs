//! Kernel images made by hand, just large enough to load.

pub fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

/// What a test varies about a bzImage.
#[derive(Clone)]
pub struct Bz {
    pub version: u16,
    pub xloadflags: u16,
    pub loadflags: u8,
    pub init_size: u32,
    pub initrd_max: u32,
    pub cmdline_size: u32,
}

impl Default for Bz {
    fn default() -> Self {
        Bz {
            version: 0x020F,
            xloadflags: 1,
            loadflags: 1,
            init_size: 0x20_0000,
            initrd_max: 0x7FFF_FFFF,
            cmdline_size: 2047,
        }
    }
}

impl Bz {
    /// Two setup sectors, then 4 KiB of payload that counts up.
    pub fn image(&self) -> Vec<u8> {
        let mut i = vec![0; 512 * 3];
        i.extend((0..4096u32).map(|n| n as u8));
        i[0x1F1] = 2;
        put(&mut i, 0x1F4, &(4096u32 / 16).to_le_bytes());
        put(&mut i, 0x1FE, &[0x55, 0xAA, 0xEB, 0x6A]);
        put(&mut i, 0x202, b"HdrS");
        put(&mut i, 0x206, &self.version.to_le_bytes());
        i[0x211] = self.loadflags;
        put(&mut i, 0x22C, &self.initrd_max.to_le_bytes());
        put(&mut i, 0x230, &0x20_0000u32.to_le_bytes());
        i[0x234] = 1;
        put(&mut i, 0x236, &self.xloadflags.to_le_bytes());
        put(&mut i, 0x238, &self.cmdline_size.to_le_bytes());
        put(&mut i, 0x258, &0x100_0000u64.to_le_bytes());
        put(&mut i, 0x260, &self.init_size.to_le_bytes());
        i
    }
}

pub const ELF_AT: u32 = 0x20_0000;
pub const ELF_VIRTUAL: u32 = 0xC020_0000;

/// A Multiboot header without addresses.
pub fn multiboot_header(flags: u32) -> Vec<u8> {
    let magic = 0x1BAD_B002u32;
    let sum = 0u32.wrapping_sub(magic).wrapping_sub(flags);
    [magic, flags, sum].iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// A "Xen" note that names the 32-bit entry.
pub fn pvh_note(entry: &[u8]) -> Vec<u8> {
    let mut n = Vec::new();
    // Some other note stands before it.
    for (kind, desc) in [(6u32, &b"generic\0"[..]), (18, entry)] {
        n.extend(4u32.to_le_bytes());
        n.extend((desc.len() as u32).to_le_bytes());
        n.extend(kind.to_le_bytes());
        n.extend(b"Xen\0");
        n.extend(desc);
        n.resize(n.len().next_multiple_of(4), 0);
    }
    n
}

/// An ELF file with one loadable segment (`data`, and as much again of zeros) and one note.
/// Linked high, loaded at [`ELF_AT`], entry at the segment's fourth byte.
pub fn elf(wide: bool, machine: u16, data: &[u8], note: &[u8]) -> Vec<u8> {
    let (header, row) = if wide { (64, 56) } else { (52, 32) };
    let data_at = (header + 2 * row + 15) & !15;
    let note_at = (data_at + data.len() + 15) & !15;
    let mut i = vec![0; note_at + note.len()];
    put(&mut i, 0, &[0x7F, b'E', b'L', b'F', 1 + u8::from(wide), 1, 1]);
    put(&mut i, 16, &2u16.to_le_bytes());
    put(&mut i, 18, &machine.to_le_bytes());
    let native =
        |v: u64| if wide { v.to_le_bytes().to_vec() } else { v.to_le_bytes()[..4].to_vec() };
    let entry = u64::from(ELF_VIRTUAL + 4);
    let sizes = [header as u16, row as u16, 2];
    let fixed = if wide { [24, 32, 52] } else { [24, 28, 40] };
    put(&mut i, fixed[0], &native(entry));
    put(&mut i, fixed[1], &native(header as u64));
    for (n, size) in sizes.iter().enumerate() {
        put(&mut i, fixed[2] + 2 * n, &size.to_le_bytes());
    }
    let rows = [(1u32, data_at, data.len(), 2 * data.len()), (4, note_at, note.len(), note.len())];
    for (n, (kind, offset, in_file, in_memory)) in rows.into_iter().enumerate() {
        let at = header + n * row;
        let long =
            [offset as u64, ELF_VIRTUAL.into(), ELF_AT.into(), in_file as u64, in_memory as u64];
        put(&mut i, at, &kind.to_le_bytes());
        let (flags_at, first) = if wide { (at + 4, at + 8) } else { (at + 24, at + 4) };
        put(&mut i, flags_at, &5u32.to_le_bytes());
        for (n, value) in long.iter().enumerate() {
            let bytes = native(*value);
            put(&mut i, first + n * bytes.len(), &bytes);
        }
    }
    put(&mut i, data_at, data);
    put(&mut i, note_at, note);
    i
}

/// A Multiboot ELF32 image as kvm-unit-tests makes them.
pub fn multiboot_elf() -> Vec<u8> {
    let mut data = multiboot_header(0);
    data.extend((0..200).map(|n| n as u8));
    elf(false, 3, &data, &[])
}

/// A flat Multiboot image: 16 bytes of something, then the header with these five addresses.
pub fn multiboot_flat(addresses: [u32; 5]) -> Vec<u8> {
    let mut i = vec![0xAA; 16];
    i.extend(multiboot_header(1 << 16));
    i.extend(addresses.iter().flat_map(|w| w.to_le_bytes()));
    i.extend((0..100).map(|n| n as u8));
    i
}
