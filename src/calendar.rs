//! Local days and hours of a time zone, daylight saving included; the ramp of a target.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::error::BadInput;

const DAY_S: i64 = 86_400;
/// 2149-06-07T00:00:00Z, the end of what a ClickHouse `Date` can hold.
const END_S: i64 = 65_536 * DAY_S;

/// A local day and the hour in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalHour {
    /// Days since 1970-01-01, as in a ClickHouse `Date`.
    pub date: u16,
    /// 0 to 23. On a 25-hour day one of them holds two hours, on a 23-hour day one holds none.
    pub hour: u8,
}

/// The offsets of one zone from 1970 to 2149, laid out for quick look-up.
#[derive(Debug, Clone)]
pub struct Zone {
    /// (first second since the epoch, seconds east of UTC), ascending; the first entry covers everything before the second.
    offsets: Vec<(i64, i32)>,
}

impl Zone {
    pub fn utc() -> Self {
        Self {
            offsets: vec![(i64::MIN, 0)],
        }
    }

    /// A zone of the IANA database, such as `Asia/Shanghai`.
    pub fn named(name: &str) -> Result<Self, BadInput> {
        let zone = TimeZone::get(name).map_err(|_| {
            BadInput::new(format!(
                "time zone {name:?}: expected an IANA name such as Asia/Shanghai"
            ))
        })?;
        let mut offsets = vec![(i64::MIN, zone.to_offset(Timestamp::UNIX_EPOCH).seconds())];
        for transition in zone.following(Timestamp::UNIX_EPOCH) {
            let at = transition.timestamp().as_second();
            if at >= END_S {
                break;
            }
            offsets.push((at, transition.offset().seconds()));
        }
        Ok(Self { offsets })
    }

    /// The local day and hour of a UTC time in milliseconds. Times outside 1970–2149 are clamped to its first or last day.
    pub fn local_hour(&self, time_ms: i64) -> LocalHour {
        let second = time_ms.div_euclid(1_000);
        let next = self.offsets.partition_point(|&(from, _)| from <= second);
        let local = (second + i64::from(self.offsets[next - 1].1)).clamp(0, END_S - 1);
        LocalHour {
            date: (local / DAY_S) as u16,
            hour: (local % DAY_S / 3_600) as u8,
        }
    }
}

/// What a rate should be on the way to its target (M20).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ramp {
    /// Above 0, at most 1.
    pub target: f64,
    /// Days after go-live on which the target is due.
    pub due_days: u32,
}

impl Default for Ramp {
    fn default() -> Self {
        Self {
            target: 0.80,
            due_days: 90,
        }
    }
}

impl Ramp {
    /// The expected rate on day `day` after go-live: a line from 0 on day 0 to the target on the due day, flat after. Nothing is
    /// expected before go-live.
    pub fn expected_rate(self, day: i32) -> f64 {
        match u32::try_from(day) {
            Err(_) => 0.0,
            Ok(day) if day >= self.due_days => self.target,
            Ok(day) => self.target * f64::from(day) / f64::from(self.due_days),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn local(zone: &str, utc: &str) -> (String, u8) {
        let LocalHour { date, hour } = Zone::named(zone)
            .unwrap()
            .local_hour(utc.parse::<Timestamp>().unwrap().as_millisecond());
        let day = jiff::civil::date(1970, 1, 1) + jiff::Span::new().days(i64::from(date));
        (day.to_string(), hour)
    }

    #[test]
    fn a_23_hour_day_has_no_third_hour() {
        // Rome, 2026-03-29: 02:00 becomes 03:00.
        assert_eq!(local("Europe/Rome", "2026-03-29T00:59:59Z"), ("2026-03-29".into(), 1));
        assert_eq!(local("Europe/Rome", "2026-03-29T01:00:00Z"), ("2026-03-29".into(), 3));
        assert_eq!(local("Europe/Rome", "2026-03-28T23:00:00Z"), ("2026-03-29".into(), 0));
        assert_eq!(local("Europe/Rome", "2026-03-29T22:00:00Z"), ("2026-03-30".into(), 0));
    }

    #[test]
    fn a_25_hour_day_has_its_third_hour_twice() {
        // Rome, 2026-10-25: 03:00 becomes 02:00.
        assert_eq!(local("Europe/Rome", "2026-10-25T00:30:00Z"), ("2026-10-25".into(), 2));
        assert_eq!(local("Europe/Rome", "2026-10-25T01:30:00Z"), ("2026-10-25".into(), 2));
        assert_eq!(local("Europe/Rome", "2026-10-24T22:00:00Z"), ("2026-10-25".into(), 0));
        assert_eq!(local("Europe/Rome", "2026-10-25T22:59:59Z"), ("2026-10-25".into(), 23));
        assert_eq!(local("Europe/Rome", "2026-10-25T23:00:00Z"), ("2026-10-26".into(), 0));
    }

    #[test]
    fn half_hour_offsets_and_half_hour_shifts_are_exact() {
        assert_eq!(local("Asia/Kolkata", "2026-01-01T18:30:00Z"), ("2026-01-02".into(), 0));
        // Lord Howe Island shifts by half an hour.
        assert_eq!(
            local("Australia/Lord_Howe", "2026-04-04T14:45:00Z"),
            ("2026-04-05".into(), 1)
        );
        assert_eq!(
            local("Australia/Lord_Howe", "2026-04-04T15:15:00Z"),
            ("2026-04-05".into(), 1)
        );
    }

    #[test]
    fn an_unknown_zone_is_named() {
        let error = Zone::named("Mars/Olympus").unwrap_err().to_string();
        assert!(error.contains("\"Mars/Olympus\""), "{error}");
    }

    #[test]
    fn the_usual_ramp_rises_to_four_fifths_in_ninety_days() {
        let rates = [-7, 0, 9, 45, 89, 90, 91, 400].map(|day| Ramp::default().expected_rate(day));
        let expected = [0.0, 0.0, 0.08, 0.4, 0.8 * 89.0 / 90.0, 0.8, 0.8, 0.8];
        for (rate, expected) in rates.into_iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-12, "{rate} {expected}");
        }
    }

    proptest! {
        #[test]
        fn a_ramp_rises_evenly_and_stays_at_its_target(target in 0.01f64..=1.0, due_days in 1u32..=3650, day in -4000i32..8000) {
            let rate = |day| Ramp { target, due_days }.expected_rate(day);
            let due = due_days as i32;
            prop_assert!((0.0..=target).contains(&rate(day)));
            prop_assert_eq!(rate(day.min(0)), 0.0);
            prop_assert_eq!(rate(day.max(due)), target);
            let step = rate(day + 1) - rate(day);
            let expected = if (0..due).contains(&day) { target / f64::from(due) } else { 0.0 };
            prop_assert!((step - expected).abs() < 1e-12, "{} {}", step, expected);
        }

        #[test]
        fn it_agrees_with_the_calendar_library(
            second in 0i64..4_102_444_800,
            zone in prop::sample::select(vec!["UTC", "Asia/Shanghai", "Europe/Rome", "America/St_Johns", "Pacific/Apia", "Australia/Lord_Howe", "Africa/Casablanca"]),
        ) {
            let at = Timestamp::from_second(second).unwrap().to_zoned_datetime(TimeZone::get(zone).unwrap());
            let LocalHour { date, hour } = Zone::named(zone).unwrap().local_hour(second * 1_000);
            let days = at.date().since(jiff::civil::date(1970, 1, 1)).unwrap().get_days();
            // The clamp: west of Greenwich the epoch itself is still 1969.
            if days >= 0 {
                prop_assert_eq!((i32::from(date), i16::from(hour)), (days, i16::from(at.hour())));
            }
        }
    }
}
