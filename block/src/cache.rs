//! The cache modes: three switches, and QEMU's names for their combinations.

/// What stands between a write's answer and the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// The guest is told of a write cache, and flushes it. Otherwise each write is flushed before its answer.
    pub writeback: bool,
    /// Past the host's page cache (O_DIRECT).
    pub direct: bool,
    /// Flushes are answered and not done: fast, and all is lost with the host.
    pub no_flush: bool,
}

/// A name of QEMU's for each useful combination.
#[rustfmt::skip]
const MODES: &[(&str, Cache)] = &[
    ("writeback",    Cache { writeback: true,  direct: false, no_flush: false }),
    ("none",         Cache { writeback: true,  direct: true,  no_flush: false }),
    ("writethrough", Cache { writeback: false, direct: false, no_flush: false }),
    ("directsync",   Cache { writeback: false, direct: true,  no_flush: false }),
    ("unsafe",       Cache { writeback: true,  direct: false, no_flush: true }),
];

impl Default for Cache {
    fn default() -> Self {
        MODES[0].1
    }
}

impl Cache {
    /// The mode of this name (`cache=`); `off` is an old word for `none`.
    pub fn named(name: &str) -> Option<Cache> {
        let name = if name == "off" { "none" } else { name };
        MODES.iter().find(|m| m.0 == name).map(|m| m.1)
    }
    /// All names, for messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        MODES.iter().map(|m| m.0)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn names_say_what_qemus_do() {
        assert_eq!(Cache::named("off"), Cache::named("none"));
        assert!(Cache::named("none").is_some_and(|c| c.direct && c.writeback));
        assert!(Cache::named("directsync").is_some_and(|c| c.direct && !c.writeback));
        assert!(Cache::named("unsafe").is_some_and(|c| c.no_flush));
        assert_eq!(Cache::named("fast"), None);
        assert!(!Cache::default().direct);
    }
}
