//! Which file an image means by the name of its backing file, and whether it may be opened.
//!
//! QEMU opens whatever a header names. An image from a stranger could so show any file of the host to a guest, therefore what
//! a header names must lie in the folder of the image that the user named, or below it, unless the user says otherwise.

use std::path::{Path, PathBuf};

/// Images in a chain, one on another.
pub const MOST: usize = 200;

/// What the user allows.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The folder of the image that the user named.
    pub root: PathBuf,
    pub outside: bool,
}

impl Policy {
    /// For an image that the user named.
    pub fn of(image: &Path, outside: bool) -> Policy {
        Policy { root: folder(image), outside }
    }

    /// The file that `name` means in an image at `image`; an error says why it is not opened.
    pub fn resolve(&self, image: &Path, name: &str) -> Result<PathBuf, String> {
        let file = plain(name)?;
        if file.is_empty() {
            return Err("the backing file has an empty name".into());
        }
        let path = folder(image).join(file);
        let why = |e: std::io::Error| format!("its backing file '{}': {e}", path.display());
        let real = std::fs::canonicalize(&path).map_err(why)?;
        let root = std::fs::canonicalize(&self.root).map_err(why)?;
        if self.outside || real.starts_with(&root) {
            return Ok(path);
        }
        Err(format!(
            "its header names a backing file outside of the folder '{}': '{name}'; if you trust this image, allow it with \
             backing-outside=on, or name the backing file yourself (-blockdev ...,backing=NODE)",
            root.display()
        ))
    }
}

fn folder(of: &Path) -> PathBuf {
    match of.parent() {
        Some(p) if !p.as_os_str().is_empty() => p.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The path in a name; QEMU's rule of what is a protocol: a colon before any slash.
fn plain(name: &str) -> Result<&str, String> {
    if name.starts_with("json:") {
        return Err(format!(
            "its backing file is given as '{name}': json: names are not supported"
        ));
    }
    match name.split_once(':') {
        Some(("file", path)) => Ok(path),
        Some((protocol, _)) if !protocol.contains('/') => {
            Err(format!("its backing file is '{name}': the protocol '{protocol}' is not supported"))
        }
        _ => Ok(name),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn names_are_meant_from_the_overlays_folder_and_stay_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let d = dir.path();
        std::fs::create_dir_all(d.join("vm/base")).unwrap();
        for f in ["outer", "vm/x", "vm/base/y"] {
            std::fs::write(d.join(f), "").unwrap();
        }
        std::os::unix::fs::symlink(d.join("outer"), d.join("vm/link")).unwrap();
        let p = Policy::of(&d.join("vm/x"), false);
        let image = d.join("vm/x");
        let ok = |image: &Path, name: &str| p.resolve(image, name);
        assert_eq!(ok(&image, "base/y"), Ok(d.join("vm/base/y")));
        assert!(ok(&image, "file:base/y").is_ok());
        assert!(ok(&d.join("vm/base/y"), "../x").is_ok());
        assert!(ok(&image, d.join("vm/base/y").to_str().unwrap()).is_ok());
        for bad in ["../outer", "link", "base/../../outer", "/etc/passwd"] {
            assert!(ok(&image, bad).unwrap_err().contains("backing-outside=on"), "{bad}");
        }
        for (bad, word) in [
            ("nbd:x:1", "'nbd'"),
            ("json:{}", "json:"),
            ("https://x/y", "'https'"),
            ("", "empty"),
            ("no", "no"),
        ] {
            assert!(ok(&image, bad).unwrap_err().contains(word), "{bad}");
        }
        let free = Policy::of(&image, true);
        assert_eq!(free.resolve(&image, "../outer"), Ok(d.join("vm/../outer")));
    }
}
