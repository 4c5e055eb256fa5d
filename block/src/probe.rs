//! What an image is, if nobody says.

use crate::qcow2::MAGIC;
use crate::{Image, Info};
use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;

/// How formats begin, and what QEMU calls them.
const MAGICS: &[(&[u8], &str)] = &[
    (&MAGIC.to_be_bytes(), "qcow2"),
    (b"KDMV", "vmdk"),
    (b"COWD", "vmdk"),
    (b"# Disk DescriptorFile", "vmdk"),
    (b"QED\0", "qed"),
    (b"vhdxfile", "vhdx"),
    (b"conectix", "vpc"),
    (b"LUKS\xba\xbe", "luks"),
    (b"WithoutFreeSpace", "parallels"),
    (b"WithouFreSpacExt", "parallels"),
    (b"<<< ", "vdi"),
    (b"OOOM", "cow"),
];

const SECTOR: usize = 512;

/// The format of an image's first bytes.
pub fn format(first: &[u8]) -> &'static str {
    MAGICS.iter().find(|m| first.starts_with(m.0)).map_or("raw", |m| m.1)
}

/// The format of a file.
pub fn probe(file: &dyn Image) -> Result<&'static str> {
    let mut first = vec![0; SECTOR.min(file.info().len as usize)];
    file.read(0, &mut first)?;
    Ok(format(&first))
}

/// What the user is told about a guess; QEMU's words.
pub fn warning(file: &str) -> String {
    format!(
        "Image format was not specified for '{file}' and probing guessed raw.\n         Automatically detecting the format \
         is dangerous for raw images, write operations on block 0 will be restricted.\n         Specify the 'raw' format \
         explicitly to remove the restrictions."
    )
}

/// A raw image that was taken for one by its first bytes: the guest may not make it look like another format.
pub struct Guessed(pub Arc<dyn Image>);

impl Image for Guessed {
    fn info(&self) -> Info {
        self.0.info()
    }
    fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        self.0.read(at, into)
    }
    fn write(&self, at: u64, from: &[u8]) -> Result<()> {
        if at < SECTOR as u64 && !from.is_empty() {
            let mut first = [0; SECTOR];
            let len = SECTOR.min(self.info().len as usize);
            self.0.read(0, &mut first[..len])?;
            let at = at as usize;
            let n = from.len().min(SECTOR - at);
            first[at..at + n].copy_from_slice(&from[..n]);
            if format(&first) != "raw" {
                return Err(Error::new(
                    ErrorKind::PermissionDenied,
                    "the format of this image was guessed, and with these bytes it would be another one",
                ));
            }
        }
        self.0.write(at, from)
    }
    fn flush(&self) -> Result<()> {
        self.0.flush()
    }
    fn discard(&self, at: u64, len: u64) -> Result<()> {
        self.0.discard(at, len)
    }
    fn zero(&self, at: u64, len: u64, unmap: bool) -> Result<()> {
        self.0.zero(at, len, unmap)
    }
    fn resize(&self, len: u64) -> Result<()> {
        self.0.resize(len)
    }
    fn try_read(&self, at: u64, into: &mut [u8]) -> Option<Result<()>> {
        self.0.try_read(at, into)
    }
    fn on_host(&self) -> u64 {
        self.0.on_host()
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::Mem;

    #[test]
    fn a_guest_cannot_turn_a_guessed_image_into_another_format() {
        let g = Guessed(Arc::new(Mem::new(4096, 4096)));
        assert_eq!(probe(&g).unwrap(), "raw");
        g.write(0, b"QF").unwrap();
        let e = g.write(2, b"I\xfb").unwrap_err();
        assert_eq!(e.kind(), ErrorKind::PermissionDenied);
        assert!(g.write(0, b"QFI\xfb").is_err() && g.write(512, b"QFI\xfb").is_ok());
        assert_eq!(probe(&Mem::of(b"QFI\xfb\0\0\0\x03", 0)).unwrap(), "qcow2");
        assert_eq!(probe(&Mem::of(b"KDMV", 0)).unwrap(), "vmdk");
        assert!(warning("x").starts_with("Image format was not specified for 'x'"));
    }
}
