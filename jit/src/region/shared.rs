//! Code that all native code uses, which stays.
// UNSAFE: the gate takes pointers to it.
#![allow(unsafe_code)]

use crate::arena::Arena;
use crate::emit;
use crate::native::{Gate, LEAVES, SEARCHES};
use crate::perf::Perf;
use crate::x87::Thunk;
use memory::{CODE_SETS, DATA_SETS};

/// What all code of the baseline tier uses. `ram`: where the host has RAM; `alone`: see [`emit::Source::alone`].
pub fn add(arena: &mut Arena, gate: &mut Gate, perf: &mut Perf, ram: u64, alone: bool) {
    let mut put = |name: &str, code: &[u8]| {
        let at = arena.add(code)?;
        if perf.wanted() {
            perf.name(name, arena.newest().0);
        }
        Some(at)
    };
    for n in 0..SEARCHES {
        let search = emit::search::search(n, alone);
        if let Some(at) = put("search", &search.code) {
            // SAFETY: it was made for this; the caller keeps it.
            unsafe { gate.set_search(n, at, &search) };
        }
    }
    for n in 0..LEAVES {
        if let Some(at) = put("leave", &emit::leaving(n as u64)) {
            // SAFETY: as above.
            unsafe { gate.set_leave(n, at) };
        }
    }
    for set in DATA_SETS..DATA_SETS + CODE_SETS {
        for call in [false, true] {
            if let Some(at) = put("same_page", &emit::far::same_page(set, ram, call)) {
                // SAFETY: as above.
                unsafe { gate.set_same_page(set, call, at) };
            }
        }
    }
    for (n, code) in emit::thunks() {
        if let Some(at) = put("miss", &code) {
            // SAFETY: as above.
            unsafe { gate.set_thunk(n, at) };
        }
    }
    for (n, code) in emit::outer::all() {
        if let Some(at) = put("region_miss", &code) {
            // SAFETY: as above.
            unsafe { gate.set_miss(n, at) };
        }
    }
    for t in Thunk::ALL {
        if let Some(at) = put("x87", &emit::x87::thunk(t)) {
            // SAFETY: as above.
            unsafe { gate.set_x87_thunk(t, at) };
        }
    }
}
