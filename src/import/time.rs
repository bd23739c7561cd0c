//! Times as they stand in logs.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;

/// How to read the times of a log.
pub struct Clock {
    /// A strptime pattern; `None`: ISO 8601 with `-` or `/` in the date, `T` or a space before the time.
    pub pattern: Option<String>,
    /// For times without an offset.
    pub zone: Option<TimeZone>,
}

impl Clock {
    /// The moment, or what was expected. A local time that occurs twice because clocks go back is taken as the first of
    /// the two; one that is skipped because they go forward is moved on by what was skipped.
    pub fn read(&self, text: &str) -> Result<Timestamp, String> {
        let local = match &self.pattern {
            None => match read_iso(text) {
                Some(Moment::Absolute(time)) => return Ok(time),
                Some(Moment::Local(time)) => time,
                None => {
                    return Err("a time like 2026-03-02T08:15:30Z or 2026/03/02 08:15:30.000, or --time-format".into());
                }
            },
            Some(pattern) => {
                let expected = |e| format!("a time written as {pattern} ({e})");
                let time = BrokenDownTime::parse(pattern, text).map_err(expected)?;
                match time.to_datetime() {
                    Ok(local) if time.offset().is_none() => local,
                    _ => return time.to_timestamp().map_err(expected),
                }
            }
        };
        let Some(zone) = &self.zone else {
            return Err(
                "a time with an offset such as Z or +02:00, or --timezone to say where these clocks stand".into(),
            );
        };
        let in_range = |e| format!("a time that exists ({e})");
        zone.to_ambiguous_timestamp(local).compatible().map_err(in_range)
    }
}

enum Moment {
    Absolute(Timestamp),
    Local(DateTime),
}

/// `None`: neither.
fn read_iso(text: &str) -> Option<Moment> {
    const DATE: usize = "2026-03-02".len();
    let mut dashed = [0; 64];
    let dashed = dashed.get_mut(..text.len())?;
    dashed.copy_from_slice(text.as_bytes());
    // A date alone would put everything into the first hour of the day.
    let (date, time) = dashed.split_at_mut_checked(DATE)?;
    if time.is_empty() {
        return None;
    }
    for at in [4, 7] {
        if date[at] == b'/' {
            date[at] = b'-';
        }
    }
    let has_offset = time.iter().any(|b| matches!(b, b'Z' | b'z' | b'+' | b'-'));
    let text = std::str::from_utf8(dashed).ok()?;
    if has_offset {
        text.parse().ok().map(Moment::Absolute)
    } else {
        text.parse().ok().map(Moment::Local)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pattern: Option<&str>, zone: Option<&str>, text: &str) -> Result<String, String> {
        let clock = Clock {
            pattern: pattern.map(str::to_owned),
            zone: zone.map(|name| TimeZone::get(name).expect("zone")),
        };
        clock.read(text).map(|time| time.to_string())
    }

    #[test]
    fn what_logs_write_is_recognised() {
        let rome = Some("Europe/Rome");
        for (zone, text, time) in [
            (rome, "2012/10/09 14:50:17.000", "2012-10-09T12:50:17Z"),
            (rome, "2012-01-09T14:50:17", "2012-01-09T13:50:17Z"),
            (None, "2011-10-11 13:45:40.276000+00:00", "2011-10-11T13:45:40.276Z"),
            (None, "2026-03-02T08:15:30.123Z", "2026-03-02T08:15:30.123Z"),
            (rome, "2026-03-02T08:15:30-05:00", "2026-03-02T13:15:30Z"),
        ] {
            assert_eq!(read(None, zone, text).as_deref(), Ok(time), "{text}");
        }
    }

    #[test]
    fn a_pattern_is_followed() {
        let rome = Some("Europe/Rome");
        assert_eq!(
            read(Some("%d.%m.%Y %H:%M"), rome, "02.03.2026 08:15").as_deref(),
            Ok("2026-03-02T07:15:00Z")
        );
        assert_eq!(
            read(Some("%d.%m.%Y %H:%M %z"), rome, "02.03.2026 08:15 +0000").as_deref(),
            Ok("2026-03-02T08:15:00Z")
        );
        assert_eq!(
            read(Some("%s"), None, "1772439330").as_deref(),
            Ok("2026-03-02T08:15:30Z")
        );
        assert!(read(Some("%d.%m.%Y"), rome, "2026-03-02").is_err_and(|e| e.contains("%d.%m.%Y")));
    }

    #[test]
    fn a_time_without_offset_needs_a_zone() {
        assert!(read(None, None, "2026-03-02 08:15:30").is_err_and(|e| e.contains("--timezone")));
    }

    #[test]
    fn clocks_that_change_follow_the_documented_choice() {
        let rome = Some("Europe/Rome");
        assert_eq!(
            read(None, rome, "2026-10-25 02:30:00").as_deref(),
            Ok("2026-10-25T00:30:00Z"),
            "twice: the first"
        );
        assert_eq!(
            read(None, rome, "2026-03-29 02:30:00").as_deref(),
            Ok("2026-03-29T01:30:00Z"),
            "skipped: moved on"
        );
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026-03-02",
            "soon",
            "2026-02-30 10:00:00Z",
            "02.03.2026 10:00:00",
            "2026-03-02 25:00:00Z",
            "20２6-03-02 1",
        ] {
            assert!(read(None, Some("UTC"), text).is_err(), "{text}");
        }
    }
}
