//! What can be wrong with the files and sizes the user gave: one line each, with what, where and
//! what was expected. The program's name goes before it: `reprise: -kernel vmlinuz: ...`.

use thiserror::Error;

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BootError {
    #[error("{option} {path}: {why}")]
    File { option: String, path: String, why: String },

    #[error("-kernel {path}: {why}")]
    Image { path: String, why: String },

    #[error("-initrd {path}: {why}")]
    Initrd { path: String, why: String },

    #[error("-append: {why}")]
    Append { why: String },

    #[error("{what}: {len:#x} bytes at {at:#x} are outside guest RAM ({ram})")]
    Outside { what: String, at: u64, len: u64, ram: String },

    #[error("{what}: {at:#x}-{end:#x} overlaps {other}")]
    Overlap { what: String, at: u64, end: u64, other: String },

    #[error("{what}: no room for {len} bytes between {from:#x} and {to:#x}")]
    NoRoom { what: String, len: u64, from: u64, to: u64 },

    #[error("machine layout: {0}")]
    Layout(String),
}

impl BootError {
    /// A file that could not be read. The host's error number is left out, as the words say it.
    pub fn file(option: &str, path: &str, why: &std::io::Error) -> Self {
        let mut why = why.to_string();
        if let Some(cut) = why.find(" (os error") {
            why.truncate(cut);
        }
        BootError::File { option: option.into(), path: path.into(), why }
    }

    pub fn image(path: &str, why: impl Into<String>) -> Self {
        BootError::Image { path: path.into(), why: why.into() }
    }

    pub fn initrd(path: &str, why: impl Into<String>) -> Self {
        BootError::Initrd { path: path.into(), why: why.into() }
    }

    pub(crate) fn unknown_image(path: &str, len: usize) -> Self {
        BootError::image(path, format!("not a bzImage/ELF/multiboot image ({len} bytes)"))
    }

    pub(crate) fn no_pvh_note(path: &str) -> Self {
        BootError::image(
            path,
            "ELF image without a PVH entry note (XEN_ELFNOTE_PHYS32_ENTRY) or multiboot header",
        )
    }

    pub(crate) fn truncated(path: &str, what: &str, need: u64, have: usize) -> Self {
        BootError::image(path, format!("truncated: {what} ends at byte {need}, file has {have}"))
    }
}
