//! Where distributions put firmware.

use crate::MachineError;
use std::path::{Path, PathBuf};

/// Where it is looked for, after the directories of `-L` and the one beside the program.
const DIRS: &[&str] = &[
    "/usr/share/seabios",
    "/usr/share/ovmf",
    "/usr/share/OVMF",
    "/usr/share/qemu",
    "/usr/share/qemu-kvm",
    "/usr/local/share/qemu",
];

/// Images, by how their names begin, and the Debian package that has them.
const PACKAGES: &[(&str, &str)] = &[("bios", "seabios"), ("vgabios", "seabios"), ("OVMF", "ovmf")];

/// `../share/reprise`, from where the program is.
fn beside_program() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    Some(program.parent()?.parent()?.join("share/reprise"))
}

/// The directories, a line each.
pub fn places() -> String {
    let fixed = DIRS.iter().map(PathBuf::from);
    beside_program().into_iter().chain(fixed).map(|d| format!("{}\n", d.display())).collect()
}

/// The file of this name: as it stands, or in one of the directories. A name with a slash in it is only the former.
pub fn find(name: &Path, dirs: &[PathBuf]) -> Option<PathBuf> {
    if name.is_file() {
        return Some(name.into());
    }
    if name.components().count() != 1 {
        return None;
    }
    let fixed = DIRS.iter().map(PathBuf::from);
    let all = dirs.iter().cloned().chain(beside_program()).chain(fixed);
    all.map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Reads an image of at most `most` bytes for `option`, or says what to do about it.
pub fn read(
    option: &str,
    name: &Path,
    dirs: &[PathBuf],
    most: u64,
) -> Result<Vec<u8>, MachineError> {
    let told = |why: String| MachineError::Option(format!("{option}: {why}"));
    let Some(path) = find(name, dirs) else {
        return Err(told(missing(name)));
    };
    let len = std::fs::metadata(&path).map(|m| m.len());
    match len {
        Ok(len) if len > most => {
            Err(told(format!("'{}' has {len} bytes: at most {most} fit", path.display())))
        }
        Ok(_) => std::fs::read(&path)
            .map_err(|e| told(format!("cannot read '{}': {}", path.display(), e.kind()))),
        Err(e) => Err(told(format!("cannot read '{}': {}", path.display(), e.kind()))),
    }
}

fn missing(name: &Path) -> String {
    let text = name.display();
    let file = name.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    match PACKAGES.iter().find(|p| file.starts_with(p.0)) {
        Some((_, package)) => format!(
            "no firmware '{text}': it is in the Debian package {package}; -L says where else to look"
        ),
        None => format!("no firmware '{text}'"),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_is_missing_names_its_package() {
        let nowhere = [PathBuf::from("/nonexistent")];
        let why = |name: &str| read("-bios", Path::new(name), &nowhere, 1).unwrap_err().to_string();
        assert_eq!(
            why("bios-none.bin"),
            "-bios: no firmware 'bios-none.bin': it is in the Debian package seabios; -L says where else to look"
        );
        assert!(why("/x/OVMF_none.fd").contains("package ovmf"));
        assert_eq!(why("my.rom"), "-bios: no firmware 'my.rom'");
    }

    #[test]
    fn directories_that_were_given_come_first() {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let found = find(Path::new("Cargo.toml"), std::slice::from_ref(&dir));
        // Tests run where that file is, too.
        assert!(found.is_some_and(|f| f.ends_with("Cargo.toml")));
        let why = read("-bios", &dir.join("Cargo.toml"), &[], 4).unwrap_err().to_string();
        assert!(why.ends_with("at most 4 fit"), "{why}");
    }
}
