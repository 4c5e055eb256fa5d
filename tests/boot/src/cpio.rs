//! Archives in the "newc" form of cpio, which Linux unpacks as its initial RAM file system.
//! Linux, Documentation/driver-api/early-userspace/buffer-format.rst.

const MAGIC: &str = "070701";
const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// An archive being written. All owners are root and all times are zero, so the same files give the same bytes.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    pub fn directory(mut self, name: &str) -> Self {
        self.entry(name, DIRECTORY | 0o755, (0, 0), b"");
        self
    }

    pub fn program(mut self, name: &str, content: &[u8]) -> Self {
        self.entry(name, FILE | 0o755, (0, 0), content);
        self
    }

    pub fn file(mut self, name: &str, content: &[u8]) -> Self {
        self.entry(name, FILE | 0o644, (0, 0), content);
        self
    }

    pub fn link(mut self, name: &str, target: &str) -> Self {
        self.entry(name, LINK | 0o777, (0, 0), target.as_bytes());
        self
    }

    pub fn character_device(mut self, name: &str, major: u32, minor: u32) -> Self {
        self.entry(name, CHARACTER_DEVICE | 0o600, (major, minor), b"");
        self
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.entries = 0;
        self.entry("TRAILER!!!", 0, (0, 0), b"");
        self.bytes
    }

    /// A header of fourteen numbers in hexadecimal, the name, the content; both padded to 4 bytes.
    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let (uid, gid, links, time, checksum) = (0, 0, 1, 0, 0);
        let (len, name_len) = (content.len() as u32, name.len() as u32 + 1);
        let numbers = [
            self.entries,
            mode,
            uid,
            gid,
            links,
            time,
            len,
            0,
            0,
            device.0,
            device.1,
            name_len,
            checksum,
        ];
        self.bytes.extend(MAGIC.bytes());
        numbers.iter().for_each(|n| self.bytes.extend(format!("{n:08x}").bytes()));
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_archive_has_headers_names_and_contents_aligned() {
        let bytes = Archive::default().directory("d").file("d/f", b"hello").finish();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("07070100000001000041ed"), "{text}");
        assert_eq!(&text[110..112], "d\0");
        assert_eq!(&text[112..134], "07070100000002000081a4");
        assert_eq!(&text[112 + 54..112 + 62], "00000005");
        assert_eq!(&text[112 + 110..112 + 110 + 14], "d/f\0\0\0hello\0\0\0");
        assert!(text.ends_with("TRAILER!!!\0\0\0\0"));
        assert_eq!(text.len() % 4, 0);
    }
}
