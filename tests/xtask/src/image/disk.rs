//! A disk that both firmwares boot: a GPT with a partition for GRUB's core image (BIOS), an EFI system partition, and
//! the root file system. UEFI 2.10, 5.3 and 13.3; GRUB manual, "BIOS installation".

use super::{EPOCH, am_root, quiet};
use crate::shell::output;
use anyhow::{Context, Result, ensure};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;

/// A partition, in MiB. The last one has the rest of the disk, but for the second table at its end.
struct Part {
    name: &'static str,
    kind: &'static str,
    id: &'static str,
    at: u64,
    size: Option<u64>,
}

#[rustfmt::skip]
const PARTS: [Part; 3] = [
    Part { name: "grub", kind: "21686148-6449-6E6F-744E-656564454649", id: "52455052-4953-4500-8000-000000000001", at: 1,  size: Some(1) },
    Part { name: "esp",  kind: "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", id: "52455052-4953-4500-8000-000000000002", at: 2,  size: Some(64) },
    Part { name: "root", kind: "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", id: "52455052-4953-4500-8000-000000000003", at: 66, size: None },
];
const DISK_ID: &str = "52455052-4953-4500-8000-000000000000";
/// The root file system's, which the kernel and GRUB look for.
pub const ROOT_UUID: &str = "52455052-4953-4500-8000-000000000012";
const HASH_SEED: &str = "52455052-4953-4500-8000-000000000013";

/// Spelled out, as the defaults differ between versions, and GRUB knows no later ones.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,\
                        large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

/// Makes the disk in `image` from the root's archive, which is unpacked in `work`, and the files of `bench`.
pub fn write(
    image: &Path,
    gib: u64,
    archive: &Path,
    bench: Option<&Path>,
    work: &Path,
) -> Result<()> {
    let size = gib * 1024 * MIB;
    File::create(image)?.set_len(size).with_context(|| format!("writing {}", image.display()))?;
    partition(image)?;
    println!("writing the root file system");
    root(image, size / MIB - PARTS[2].at - 1, archive, bench, work)?;
    let grub = work.join("boot/grub");
    boot_code(image, &grub.join("i386-pc"))?;
    esp(image, &grub.join("x86_64-efi/core.efi"))
}

fn partition(image: &Path) -> Result<()> {
    let mut table = format!("label: gpt\nlabel-id: {DISK_ID}\n");
    for part in &PARTS {
        let size = part.size.map_or(String::new(), |mib| format!(" size={},", mib * MIB / SECTOR));
        let start = part.at * MIB / SECTOR;
        let (kind, id, name) = (part.kind, part.id, part.name);
        table += &format!("start={start},{size} type={kind}, uuid={id}, name={name}\n");
    }
    let mut command = Command::new("/usr/sbin/sfdisk");
    command.args(["-q", "--no-reread", "--no-tell-kernel"]).arg(image);
    with_input(&mut command, &table).context("partitioning")
}

/// Unpacks the archive `$1` in `$2`, adds what is in `$BENCH`, and makes a file system of it with the other words.
const FILL: &str = r#"
umask 022
tar --zstd -x -p --numeric-owner -f "$1" -C "$2"
dir=$2
shift 2
if [ "$BENCH" ]; then
    mkdir -p "$dir/opt/bench"
    cp "$BENCH"/* "$dir/opt/bench/"
    chmod 644 "$dir/opt/bench"/*
    touch -d "@$SOURCE_DATE_EPOCH" "$dir/opt/bench"/* "$dir/opt/bench" "$dir/opt"
fi
exec /usr/sbin/mke2fs -d "$dir" "$@"
"#;

/// Fills the root partition, with the owners and times that the archive has. Who is not root, must pretend.
fn root(image: &Path, mib: u64, archive: &Path, bench: Option<&Path>, work: &Path) -> Result<()> {
    let offset = PARTS[2].at * MIB;
    let extended = format!("offset={offset},root_owner=0:0,hash_seed={HASH_SEED}");
    let am_root = am_root()?;
    let mut command = Command::new(if am_root { "sh" } else { "fakeroot" });
    if !am_root {
        command.args(["--", "sh"]);
    }
    command.args(["-e", "-c", FILL, "sh"]).arg(archive).arg(work);
    command.env("BENCH", bench.unwrap_or(Path::new("")));
    command.env("SOURCE_DATE_EPOCH", EPOCH.to_string());
    command.args(["-q", "-F", "-t", "ext4", "-O", FEATURES, "-b", "4096", "-I", "256"]);
    command.args(["-i", "16384", "-U", ROOT_UUID, "-L", "reprise", "-E", &extended]);
    command.arg(image).arg(format!("{}k", mib * 1024));
    quiet(command.env("E2FSPROGS_FAKE_TIME", EPOCH.to_string())).context("the root file system")?;
    settle_times(image, offset)
}

/// When a file was changed or read cannot be told to a file system on the host; so it is put right in the image.
fn settle_times(image: &Path, offset: u64) -> Result<()> {
    let place = format!("{}?offset={offset}", image.display());
    let debugfs = || {
        let mut command = Command::new("/usr/sbin/debugfs");
        command.env("E2FSPROGS_FAKE_TIME", EPOCH.to_string());
        command
    };
    let text = output(debugfs().args(["-R", "stats -h", &place]))?;
    let number = |name: &str| {
        let line = text.lines().find(|l| l.starts_with(name));
        line.and_then(|l| l.split_whitespace().last()?.parse::<u64>().ok())
    };
    let (all, free) = (number("Inode count:"), number("Free inodes:"));
    let used = all.zip(free).and_then(|(all, free)| all.checked_sub(free));
    let used = used.with_context(|| format!("debugfs: no count of files in {place}"))?;
    let mut script = String::new();
    // Files are numbered without gaps, after the ten reserved ones.
    for inode in [2, 7, 8].into_iter().chain(11..=used) {
        for field in ["ctime", "atime", "crtime"] {
            script += &format!("set_inode_field <{inode}> {field} @{EPOCH}\n");
        }
    }
    with_input(debugfs().args(["-w", "-f", "-", &place]), &script).context("times of files")
}

/// The boot code of the first sector, and the core image in its partition, each told where the next is.
/// GRUB's own installer does the same, but wants a block device.
fn boot_code(image: &Path, from: &Path) -> Result<()> {
    let at = PARTS[0].at * MIB;
    let mut core = read(&from.join("core.img"))?;
    place_core(&mut core, at / SECTOR)?;
    let limit = PARTS[0].size.unwrap_or(0) * MIB;
    ensure!(core.len() as u64 <= limit, "GRUB's core image has {} bytes of {limit}", core.len());
    let mut disk = OpenOptions::new().read(true).write(true).open(image)?;
    let mut first = [0; SECTOR as usize];
    disk.read_exact(&mut first)?;
    place_boot(&mut first, &read(&from.join("boot.img"))?, at / SECTOR)?;
    disk.seek(SeekFrom::Start(0))?;
    disk.write_all(&first)?;
    disk.seek(SeekFrom::Start(at))?;
    disk.write_all(&core)?;
    Ok(())
}

/// The boot sector's code around what a disk keeps there: a parameter block at 3, the disk's signature at 0x1B8 and the
/// partition table. The core image's sector is at 0x5C. The jump at 0x66 skips a check of the drive number that BIOSes
/// with a wrong one for hard disks need: it is taken out.
fn place_boot(sector: &mut [u8; SECTOR as usize], code: &[u8], core: u64) -> Result<()> {
    ensure!(code.len() == sector.len(), "GRUB's boot.img has {} bytes", code.len());
    sector[..3].copy_from_slice(&code[..3]);
    sector[0x5A..0x1B8].copy_from_slice(&code[0x5A..0x1B8]);
    sector[0x5C..0x64].copy_from_slice(&core.to_le_bytes());
    sector[0x66..0x68].fill(0x90);
    sector[0x1FE..].copy_from_slice(&[0x55, 0xAA]);
    Ok(())
}

/// The core image's first sector loads the rest: its list of blocks, which ends at 0x200, gets one row of first sector,
/// number of sectors, and the segment it has already.
fn place_core(core: &mut Vec<u8>, at: u64) -> Result<()> {
    core.resize(core.len().next_multiple_of(SECTOR as usize), 0);
    let rest = core.len() / SECTOR as usize - 1;
    ensure!(rest >= 1, "GRUB's core image is empty");
    let rest = u16::try_from(rest).context("GRUB's core image is too big")?;
    core[0x1F4..0x1FC].copy_from_slice(&(at + 1).to_le_bytes());
    core[0x1FC..0x1FE].copy_from_slice(&rest.to_le_bytes());
    Ok(())
}

/// A FAT file system with the program that firmware starts from a disk it does not know. UEFI 2.10, 3.5.1.1.
fn esp(image: &Path, program: &Path) -> Result<()> {
    let (at, sectors) = (PARTS[1].at * MIB, PARTS[1].size.unwrap_or(0) * MIB / SECTOR);
    let place = format!("{}@@{at}", image.display());
    let tool = |name: &str| {
        let mut command = Command::new(name);
        command.env("SOURCE_DATE_EPOCH", EPOCH.to_string()).env("TZ", "UTC");
        command.env("MTOOLS_SKIP_CHECK", "1").args(["-i", &place]);
        command
    };
    let (size, hidden) = (sectors.to_string(), (at / SECTOR).to_string());
    let shape = ["-T", &size, "-H", &hidden, "-h", "64", "-s", "32", "-c", "1"];
    let names = ["-F", "-N", "52455052", "-v", "ESP", "::"];
    quiet(tool("mformat").args(shape).args(names)).context("the EFI system partition")?;
    quiet(tool("mmd").args(["::/EFI", "::/EFI/BOOT"]))?;
    quiet(tool("mcopy").arg("-m").arg(program).arg("::/EFI/BOOT/BOOTX64.EFI")).map(drop)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("reading {}", file.display()))
}

/// Runs a command that reads a script.
fn with_input(command: &mut Command, text: &str) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
    child.stdin.take().context("no input")?.write_all(text.as_bytes())?;
    let out = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&out.stderr);
    let last = said.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("no message");
    ensure!(out.status.success(), "{name}: {last}");
    Ok(())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_boot_sector_keeps_the_partition_table() {
        let mut sector = [0x11; 512];
        let code: Vec<u8> = (0..512).map(|n| (n % 251) as u8).collect();
        place_boot(&mut sector, &code, 0x12_3456_789A).unwrap();
        assert_eq!(sector[..3], code[..3]);
        assert!(sector[3..0x5A].iter().all(|b| *b == 0x11));
        assert_eq!(sector[0x5C..0x64], [0x9A, 0x78, 0x56, 0x34, 0x12, 0, 0, 0]);
        assert_eq!(sector[0x64..0x68], [code[0x64], code[0x65], 0x90, 0x90]);
        assert_eq!(sector[0x68..0x1B8], code[0x68..0x1B8]);
        assert!(sector[0x1B8..0x1FE].iter().all(|b| *b == 0x11));
        assert_eq!(sector[0x1FE..], [0x55, 0xAA]);
        assert!(place_boot(&mut sector, &code[1..], 1).is_err());
    }

    #[test]
    fn the_core_image_is_whole_sectors_and_says_where_its_rest_is() {
        let mut core = vec![0xCC; 512 * 3 + 1];
        place_core(&mut core, 2048).unwrap();
        assert_eq!(core.len(), 512 * 4);
        assert_eq!(core[0x1F4..0x200], [1, 8, 0, 0, 0, 0, 0, 0, 3, 0, 0xCC, 0xCC]);
        assert!(place_core(&mut vec![0; 512], 2048).is_err());
        assert!(place_core(&mut vec![0; 512 * 70_000], 2048).is_err());
    }
}
