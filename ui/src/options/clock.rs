//! Time and chance: `-rtc`, `-icount`, `-seed`.

use super::finish::Gathered;
use super::words::Words;
use super::{Said, Stop, number};
use ::machine::config::{Rtc, RtcBase, RtcClock, Shift, Timebase};

type Done = Result<(), Stop>;

/// `-rtc`.
pub fn rtc(g: &mut Gathered, said: &mut Said) -> Done {
    let mut words = Words::new(said.option, said.value, None)?;
    let mut rtc = Rtc::default();
    if let Some(base) = words.text("base")? {
        rtc.base = match base.as_str() {
            "utc" => RtcBase::Utc,
            "localtime" => RtcBase::LocalTime,
            date => match parse_date(date) {
                Some(at) => RtcBase::At(at),
                None => {
                    let text = format!(
                        "base={date}: expected utc, localtime, or a date as in 2006-06-17T16:01:21"
                    );
                    return Err(said.fault(text).into());
                }
            },
        };
    }
    let clocks = [("host", RtcClock::Host), ("rt", RtcClock::Rt), ("vm", RtcClock::Vm)];
    rtc.clock = words.choice("clock", &clocks)?.unwrap_or_default();
    rtc.slew = words.choice("driftfix", &[("none", false), ("slew", true)])?.unwrap_or(false);
    words.none_left()?;
    g.config.rtc = rtc;
    Ok(())
}

/// `2006-06-17` or `2006-06-17T16:01:21`, UTC, as seconds since 1970.
pub fn parse_date(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('T').unwrap_or((text, "0:0:0"));
    let three = |text: &str, by: char| -> Option<[i64; 3]> {
        let mut parts = text.split(by).map(|p| {
            let plain = (1..=4).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| p.parse::<i64>().ok()).flatten()
        });
        let three = [parts.next()??, parts.next()??, parts.next()??];
        parts.next().is_none().then_some(three)
    };
    let [year, month, day] = three(date, '-')?;
    let [hour, minute, second] = three(time, ':')?;
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days_in = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let fits = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    fits.then(|| days_from_1970(year, month, day) * 86400 + hour * 3600 + minute * 60 + second)
}

/// Days since 1970-01-01 in the Gregorian calendar. The year is counted from March, so that the leap day is its last.
fn days_from_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let whole_years = year * 365 + year / 4 - year / 100 + year / 400;
    whole_years + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// `-icount`.
pub fn icount(g: &mut Gathered, said: &mut Said) -> Done {
    let mut words = Words::new(said.option, said.value, Some("shift"))?;
    words.not_yet(&["rr", "rrfile", "rrsnapshot"], "record and replay is not there yet")?;
    let align = words.on_off("align")?.unwrap_or(false);
    let sleep = words.on_off("sleep")?.unwrap_or(true);
    let shift = match words.text("shift")?.as_deref() {
        None => return Err(said.fault("shift= is missing: expected auto or 0 to 10").into()),
        Some("auto") => Shift::Auto,
        Some(text) => match number::whole(text) {
            Some(n @ 0..=10) => Shift::Fixed(n as u8),
            _ => {
                let text = format!("shift={text}: expected auto or a number from 0 to 10");
                return Err(said.fault(text).into());
            }
        },
    };
    words.none_left()?;
    if align && !sleep {
        return Err(said.fault("align=on and sleep=off contradict each other").into());
    }
    if shift == Shift::Auto && (align || !sleep) {
        let other = if align { "align=on" } else { "sleep=off" };
        return Err(said.fault(format!("shift=auto and {other} contradict each other")).into());
    }
    g.config.time = Timebase::Count { shift, sleep, align };
    Ok(())
}

/// `-seed`.
pub fn seed(g: &mut Gathered, said: &mut Said) -> Done {
    match number::whole(said.value) {
        Some(n) => {
            g.config.seed = Some(n);
            Ok(())
        }
        None => Err(said.fault(format!("'{}' is not a number", said.value)).into()),
    }
}

#[cfg(test)]
mod test {
    use super::parse_date;

    #[test]
    fn dates_are_seconds_since_1970() {
        for (text, want) in [
            ("1970-01-01", Some(0)),
            ("2006-06-17T16:01:21", Some(1_150_560_081)),
            ("2000-02-29T00:00:00", Some(951_782_400)),
            ("2001-02-29", None),
            ("2001-13-01", None),
            ("2001-01-01T24:00:00", None),
            ("2001-01", None),
            ("2001-01-01-01", None),
            ("tomorrow", None),
        ] {
            assert_eq!(parse_date(text), want, "{text}");
        }
    }
}
