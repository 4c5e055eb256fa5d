//! What the engine has done.

/// What the engine has done, for `info jit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Blocks alive, and decoded so far.
    pub blocks: u64,
    pub decoded: u64,
    /// Instructions of blocks alive.
    pub ops: u64,
    /// Instructions executed block by block, and one at a time.
    pub tier0: u64,
    pub stepped: u64,
    /// Instructions executed in native code.
    pub native: u64,
    /// Times native code was left: for tier 0 to do an instruction or the rest of a budget, for a place it does not know,
    /// for an exception, to see what is due.
    pub side_exits: u64,
    pub jumps: u64,
    pub faults: u64,
    pub events: u64,
    /// Blocks that got code of the baseline tier, and its bytes.
    pub baseline: u64,
    pub baseline_bytes: u64,
    /// Regions compiled, thrown away, and those that could not be.
    pub regions: u64,
    pub regions_dropped: u64,
    pub regions_failed: u64,
    /// Instructions in compiled regions, their bytes of native code, and the time that took.
    pub region_insns: u64,
    pub code_bytes: u64,
    pub compile_nanos: u64,
    /// Blocks dropped because their bytes changed.
    pub dropped: u64,
    /// Writes to pages with code.
    pub code_writes: u64,
    /// Times the oldest part of native code was dropped to have room.
    pub evictions: u64,
    /// Times everything was forgotten.
    pub flushes: u64,
}

impl std::fmt::Display for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nanos = self.compile_nanos.checked_div(self.region_insns).unwrap_or(0);
        let rows = [
            ("instructions in native code", self.native),
            ("instructions in tier 0", self.tier0),
            ("instructions one at a time", self.stepped),
            ("blocks alive", self.blocks),
            ("blocks decoded", self.decoded),
            ("blocks dropped, overwritten", self.dropped),
            ("instructions in blocks", self.ops),
            ("blocks with baseline code", self.baseline),
            ("bytes of baseline code", self.baseline_bytes),
            ("regions compiled", self.regions),
            ("regions dropped", self.regions_dropped),
            ("regions that did not compile", self.regions_failed),
            ("instructions in regions", self.region_insns),
            ("bytes of regions", self.code_bytes),
            ("compile time, ms", self.compile_nanos / 1_000_000),
            ("compile time per instruction, ns", nanos),
            ("exits to tier 0", self.side_exits),
            ("exits to unknown places", self.jumps),
            ("exits with exceptions", self.faults),
            ("exits to see what is due", self.events),
            ("writes to code pages", self.code_writes),
            ("times the oldest code was dropped", self.evictions),
            ("times everything was forgotten", self.flushes),
        ];
        rows.iter().try_for_each(|(name, n)| writeln!(f, "{name:34} {n:>14}"))
    }
}
