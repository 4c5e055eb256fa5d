//! Where log lines go: standard error, or a file that a monitor may change.

use machine::config::Log;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Says something to the user. Nobody may be listening, which is no reason to stop.
pub fn tell(what: fmt::Arguments<'_>) {
    let _ = io::stderr().write_all(format!("reprise: {what}\n").as_bytes());
}

/// The place that log lines go to.
#[derive(Clone, Default)]
pub struct Target(Arc<Mutex<Option<File>>>);

impl Target {
    /// From now on lines go to this file; `%d` in its name is our process id.
    pub fn set_file(&self, path: &Path) -> io::Result<()> {
        let name = path.to_string_lossy().replace("%d", &std::process::id().to_string());
        let file = File::create(name)?;
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = Some(file);
        Ok(())
    }

    /// A log that writes here.
    pub fn log(&self) -> Log {
        let target = self.clone();
        Log::new(move |_, what| {
            let line = format!("{what}\n");
            let mut file = target.0.lock().unwrap_or_else(|e| e.into_inner());
            // A full disk must not stop the machine.
            let _ = match &mut *file {
                Some(file) => file.write_all(line.as_bytes()),
                None => io::stderr().write_all(line.as_bytes()),
            };
        })
    }
}
