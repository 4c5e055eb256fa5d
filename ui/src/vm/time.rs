//! The host's time, where the machine is allowed to see it: the real-time clock's first value.

use machine::config::{Rtc, RtcBase};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Seconds and microseconds since 1970.
pub fn now() -> (u64, u32) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs(), since.subsec_micros())
}

/// Tells the time of day as `-rtc` wants it.
pub struct Clock {
    rtc: Rtc,
    started: Instant,
}

impl Clock {
    pub fn new(rtc: Rtc) -> Clock {
        Clock { rtc, started: Instant::now() }
    }

    /// Seconds since 1970, in the time zone that the clock shows.
    pub fn time_of_day(&self) -> i64 {
        let utc = now().0 as i64;
        match self.rtc.base {
            RtcBase::Utc => utc,
            RtcBase::LocalTime => utc + zone_offset(utc),
            RtcBase::At(start) => start + self.started.elapsed().as_secs() as i64,
        }
    }
}

/// How far the host's time zone is ahead of UTC, in seconds, at `when`.
pub fn zone_offset(when: i64) -> i64 {
    let path = match std::env::var("TZ") {
        Ok(name) => {
            let name = name.trim_start_matches(':').to_string();
            if name.starts_with('/') { name } else { format!("/usr/share/zoneinfo/{name}") }
        }
        Err(_) => "/etc/localtime".into(),
    };
    std::fs::read(path).ok().and_then(|file| offset_in(&file, when)).unwrap_or(0)
}

/// Looks `when` up in a zone file.  RFC 8536, 3: the second, 64-bit table follows the first.
fn offset_in(file: &[u8], when: i64) -> Option<i64> {
    let (first, version) = header(file)?;
    if version < b'2' {
        return None;
    }
    let [isut, isstd, leap, time, kinds, chars] = first;
    let file = file.get(44 + time * 5 + kinds * 6 + chars + leap * 8 + isstd + isut..)?;
    let ([_, _, _, time, kinds, _], _) = header(file)?;
    let times = file.get(44..44 + time * 8)?;
    let which = file.get(44 + time * 8..44 + time * 9)?;
    let table = file.get(44 + time * 9..44 + time * 9 + kinds * 6)?;
    let passed = times
        .chunks_exact(8)
        .filter(|t| <[u8; 8]>::try_from(*t).is_ok_and(|t| i64::from_be_bytes(t) <= when))
        .count();
    let kind = match passed {
        0 => 0,
        n => usize::from(which[n - 1]),
    };
    let offset = table.get(kind * 6..kind * 6 + 4)?.try_into().ok()?;
    Some(i64::from(i32::from_be_bytes(offset)))
}

/// The six counts in a header, and its version.
fn header(file: &[u8]) -> Option<([usize; 6], u8)> {
    let head = file.get(..44).filter(|h| h.starts_with(b"TZif"))?;
    let mut counts = [0; 6];
    for (count, bytes) in counts.iter_mut().zip(head[20..].chunks_exact(4)) {
        *count = u32::from_be_bytes(bytes.try_into().ok()?).min(1 << 16) as usize;
    }
    Some((counts, head[4]))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_zone_file_is_read() {
        let head = |counts: [u32; 6]| {
            let mut h = b"TZif2".to_vec();
            h.resize(20, 0);
            h.extend(counts.iter().flat_map(|c| c.to_be_bytes()));
            h
        };
        let mut file = head([0; 6]);
        file.extend(head([0, 0, 0, 2, 2, 4]));
        file.extend(100i64.to_be_bytes());
        file.extend(200i64.to_be_bytes());
        file.extend([1, 0]);
        file.extend(3600i32.to_be_bytes());
        file.extend([0, 0]);
        file.extend((-7200i32).to_be_bytes());
        file.extend([0, 0]);
        for (when, want) in [(50, 3600), (100, -7200), (199, -7200), (200, 3600)] {
            assert_eq!(offset_in(&file, when), Some(want), "{when}");
        }
        for end in 0..file.len() {
            offset_in(&file[..end], 150);
        }
    }
}
