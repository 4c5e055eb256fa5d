//! Names of native code for profilers: perf's map and its jitdump.
//!
//! Code of the guest's address A is called `b_A` in the baseline tier, `c_A` where that is cold, `n_A` and `m_A` in regions that this
//! tier's emitter makes, and `r_A` in Cranelift's; A is hexadecimal. What all share is called `search`, `miss` and so on.
// UNSAFE: a mapping that announces the dump to perf.
#![allow(unsafe_code)]

use crate::arena::Code;
use crate::engine::JitError;
use std::fs::File;
use std::io::Write;

/// What perf is to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profilers {
    /// A line for each piece of code in `/tmp/perf-PID.map`, where `perf report` looks for it.
    pub map: bool,
    /// The code with its time in `jit-PID.dump` in the current directory, for `perf inject --jit`.
    pub dump: bool,
}

/// Files that are told of all native code.
#[derive(Default)]
pub struct Perf {
    map: Option<File>,
    dump: Option<Dump>,
}

impl Perf {
    pub fn new(p: Profilers) -> Result<Perf, JitError> {
        let pid = std::process::id();
        let open = |path: String| {
            let fail = |why| JitError::Profile { path: path.clone(), why };
            let options =
                || File::options().read(true).write(true).create(true).truncate(true).open(&path);
            options().map_err(fail)
        };
        let map = match p.map {
            true => Some(open(format!("/tmp/perf-{pid}.map"))?),
            false => None,
        };
        let dump = match p.dump {
            true => Some(Dump::new(open(format!("jit-{pid}.dump"))?)),
            false => None,
        };
        Ok(Perf { map, dump })
    }
    #[inline]
    pub fn wanted(&self) -> bool {
        self.map.is_some() || self.dump.is_some()
    }
    /// Notes code for the guest's address `rip`. What cannot be written is lost: the run goes on.
    #[cold]
    pub fn note(&mut self, kind: char, rip: u64, code: Code) {
        let (at, code) = (code.at, code.bytes);
        self.name(&format!("{kind}_{rip:x}"), Code { at, bytes: code });
    }
    /// Notes code that is no guest's.
    pub fn name(&mut self, name: &str, code: Code) {
        let (at, code) = (code.at, code.bytes);
        if let Some(map) = &mut self.map {
            let line = format!("{:x} {:x} {name}\n", at as usize, code.len());
            let _ = map.write_all(line.as_bytes());
        }
        if let Some(dump) = &mut self.dump {
            let _ = dump.add(name, code, at);
        }
    }
}

/// A file as perf's jitdump specification (version 1) has it.
struct Dump {
    out: File,
    count: u64,
    /// perf takes an executable mapping of the file for the sign that it exists.
    sign: *mut std::ffi::c_void,
}
// SAFETY: nobody follows the pointer; it is only given back.
unsafe impl Send for Dump {}

const HEADER: u32 = 40;
const LOAD: u32 = 0;
const LOAD_BYTES: u32 = 56;

/// The clock that perf uses with `-k mono`, in nanoseconds. No guest sees it.
fn now() -> u64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

impl Dump {
    fn new(mut out: File) -> Dump {
        use rustix::mm::{MapFlags, ProtFlags, mmap};
        let access = ProtFlags::READ | ProtFlags::EXEC;
        // SAFETY: a new private mapping at a place the system chooses touches no other memory.
        let sign = unsafe {
            mmap(std::ptr::null_mut(), HEADER as usize, access, MapFlags::PRIVATE, &out, 0)
        };
        let machine: u32 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
        let words = [0x4a69_5444, 1, HEADER, machine, 0, std::process::id()];
        let mut head: Vec<u8> = words.iter().flat_map(|w: &u32| w.to_ne_bytes()).collect();
        head.extend(now().to_ne_bytes());
        head.extend(0u64.to_ne_bytes());
        let _ = out.write_all(&head);
        Dump { out, count: 0, sign: sign.unwrap_or(std::ptr::null_mut()) }
    }
    fn add(&mut self, name: &str, code: &[u8], at: *const u8) -> std::io::Result<()> {
        let total = LOAD_BYTES as usize + name.len() + 1 + code.len();
        let mut record = Vec::with_capacity(total);
        let mut half = |w: u32| record.extend(w.to_ne_bytes());
        half(LOAD);
        half(total as u32);
        record.extend(now().to_ne_bytes());
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        record.extend(std::process::id().to_ne_bytes());
        record.extend(thread.to_ne_bytes());
        for w in [at as u64, at as u64, code.len() as u64, self.count] {
            record.extend(w.to_ne_bytes());
        }
        self.count += 1;
        record.extend(name.as_bytes());
        record.push(0);
        record.extend(code);
        self.out.write_all(&record)
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        if !self.sign.is_null() {
            // SAFETY: the mapping is ours, and nobody uses it.
            let _ = unsafe { rustix::mm::munmap(self.sign, HEADER as usize) };
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_dump_is_what_perf_reads() {
        let path = std::env::temp_dir().join(format!("reprise-dump-{}", std::process::id()));
        let options =
            || File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let mut dump = Dump::new(options().unwrap());
        let code = [0x90, 0xc3];
        dump.add("b_1000", &code, code.as_ptr()).unwrap();
        drop(dump);
        let all = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let half = |at: usize| u32::from_ne_bytes(all[at..at + 4].try_into().unwrap());
        let word = |at: usize| u64::from_ne_bytes(all[at..at + 8].try_into().unwrap());
        assert_eq!((half(0), half(4), half(8)), (0x4a69_5444, 1, 40));
        assert_eq!(half(20), std::process::id());
        // The record: its kind, its length to the file's end, where the code is and how long.
        assert_eq!((half(40), half(44) as usize), (0, all.len() - 40));
        assert_eq!(
            (word(64), word(72), word(80), word(88)),
            (word(72), code.as_ptr() as u64, 2, 0)
        );
        assert_eq!(&all[96..], b"b_1000\0\x90\xc3");
    }
}
