//! `-profile`: from the option to the file.

use crate::guest::Guest;
use crate::options::{self, Fault};
use machine::{Profile, Symbols};
use std::fs::File;
use std::io::Write;

/// The file that the samples go to in the end.
pub struct Report {
    file: File,
    path: String,
}

impl Report {
    /// Begins to take samples. What cannot be written or read is known before the machine runs.
    pub fn start(wanted: &options::Profile, guest: &mut dyn Guest) -> Result<Report, Fault> {
        let fault = |text| Fault::new("-profile", text);
        let symbols = Symbols::read(&wanted.symbols).map_err(fault)?;
        let path = wanted.file.display().to_string();
        let told = |e| fault(format!("cannot write '{path}': {}", options::reason(&e)));
        let file = File::create(&wanted.file).map_err(told)?;
        guest.start_profile(Profile::new(wanted.every, symbols));
        Ok(Report { file, path })
    }

    /// Writes them; gives whether that was possible.
    pub fn write(mut self, guest: &dyn Guest) -> bool {
        let text = guest.profile().unwrap_or_default();
        let done = self.file.write_all(text.as_bytes());
        if let Err(e) = &done {
            let why = options::reason(e);
            crate::log::tell(format_args!("-profile: cannot write '{}': {why}", self.path));
        }
        done.is_ok()
    }
}
