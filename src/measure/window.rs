//! Windows (M4): half-open ranges of whole local days, and the periods they are cut into. Pure functions.

use jiff::civil::{Date, Weekday, date};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Choice, SystemContext};

/// The days `[from, to)`; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    pub from: Date,
    pub to: Date,
}

/// A window named by one day in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    Month,
    Week,
    Day,
    Last28d,
}

impl Choice for Frame {
    const ALL: &'static [Self] = &[Self::Month, Self::Week, Self::Day, Self::Last28d];

    fn word(self) -> &'static str {
        match self {
            Self::Month => "month",
            Self::Week => "week",
            Self::Day => "day",
            Self::Last28d => "last_28d",
        }
    }
}

/// Into what a window is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grain {
    Day,
    Week,
    Month,
}

impl Choice for Grain {
    const ALL: &'static [Self] = &[Self::Day, Self::Week, Self::Month];

    fn word(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

/// A window as answers show it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WindowAnswer {
    /// First local day.
    #[schema(value_type = String, format = Date)]
    pub from: Date,
    /// The local day after the last.
    #[schema(value_type = String, format = Date)]
    pub to: Date,
    /// IANA time zone of the days.
    pub timezone: String,
}

/// The days that a window may touch, so that what is computed from it (the window before, for one) stays a ClickHouse `Date`.
pub const FIRST_DAY: Date = date(1990, 1, 1);
pub const LAST_DAY: Date = date(2149, 6, 5);

impl Window {
    /// `None` unless `from` is before `to`.
    pub fn new(from: Date, to: Date) -> Option<Self> {
        (from < to).then_some(Self { from, to })
    }

    /// The window of `frame` that holds `on`; `Last28d` ends with it. `on` lies within [`FIRST_DAY`] and [`LAST_DAY`].
    pub fn around(on: Date, frame: Frame, week_start: u8) -> Self {
        match frame {
            Frame::Day => Self::starting(on, Grain::Day),
            Frame::Week => Self::starting(start_of(on, Grain::Week, week_start), Grain::Week),
            Frame::Month => Self::starting(start_of(on, Grain::Month, week_start), Grain::Month),
            Frame::Last28d => Self {
                from: on.saturating_sub(27.days()),
                to: on.saturating_add(1.day()),
            },
        }
    }

    fn starting(from: Date, grain: Grain) -> Self {
        Self {
            from,
            to: from.saturating_add(match grain {
                Grain::Day => 1.day(),
                Grain::Week => 7.days(),
                Grain::Month => 1.month(),
            }),
        }
    }

    /// The periods of a grain in order, without gap or overlap, the first and the last clipped to the window.
    pub fn periods(self, grain: Grain, week_start: u8) -> Vec<Self> {
        let mut periods = Vec::new();
        let mut from = self.from;
        while from < self.to {
            let to = Self::starting(start_of(from, grain, week_start), grain).to.min(self.to);
            periods.push(Self { from, to });
            from = to;
        }
        periods
    }

    pub fn longer_than_months(self, months: u32) -> bool {
        self.to > self.from.saturating_add(i64::from(months).months())
    }

    /// When its last day ends. In a zone that is not known, days are those of UTC.
    pub fn end(self, timezone: &str) -> Timestamp {
        let zone = TimeZone::get(timezone).unwrap_or(TimeZone::UTC);
        let midnight = self.to.to_zoned_datetime(zone);
        midnight.map_or(Timestamp::MAX, |midnight| midnight.timestamp())
    }

    pub fn answer(self, system: &SystemContext) -> WindowAnswer {
        WindowAnswer {
            from: self.from,
            to: self.to,
            timezone: system.timezone.clone(),
        }
    }
}

/// The first day of the whole period that holds `day`.
fn start_of(day: Date, grain: Grain, week_start: u8) -> Date {
    match grain {
        Grain::Day => day,
        Grain::Week => {
            let first = Weekday::from_monday_one_offset(week_start.clamp(1, 7) as i8).unwrap_or(Weekday::Monday);
            day.saturating_sub(i64::from(first.until(day.weekday())).days())
        }
        Grain::Month => day.first_of_month(),
    }
}

/// Days since 1970-01-01 as ClickHouse stores a `Date`.
pub fn date_of(days: u16) -> Date {
    date(1970, 1, 1).saturating_add(i64::from(days).days())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(from: &str, to: &str) -> Window {
        Window::new(from.parse().unwrap(), to.parse().unwrap()).unwrap()
    }

    fn around(on: &str, frame: Frame, week_start: u8) -> Window {
        Window::around(on.parse().unwrap(), frame, week_start)
    }

    #[test]
    fn frames_hold_their_day() {
        assert_eq!(
            around("2026-02-28", Frame::Month, 1),
            window("2026-02-01", "2026-03-01")
        );
        assert_eq!(around("2026-12-31", Frame::Day, 1), window("2026-12-31", "2027-01-01"));
        assert_eq!(
            around("2026-10-28", Frame::Last28d, 1),
            window("2026-10-01", "2026-10-29")
        );
        // 11 October 2026 is a Sunday.
        assert_eq!(around("2026-10-11", Frame::Week, 1), window("2026-10-05", "2026-10-12"));
        assert_eq!(around("2026-10-11", Frame::Week, 7), window("2026-10-11", "2026-10-18"));
        assert_eq!(around("2026-10-11", Frame::Week, 6), window("2026-10-10", "2026-10-17"));
    }

    #[test]
    fn a_window_must_not_be_empty() {
        let day = date(2026, 10, 1);
        assert_eq!(Window::new(day, day), None);
        assert_eq!(Window::new(day, date(2026, 9, 30)), None);
    }

    #[test]
    fn periods_are_clipped_to_the_window() {
        assert_eq!(
            window("2026-10-01", "2026-10-15").periods(Grain::Week, 1),
            [
                window("2026-10-01", "2026-10-05"),
                window("2026-10-05", "2026-10-12"),
                window("2026-10-12", "2026-10-15"),
            ]
        );
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        assert!(!window("2025-09-01", "2026-10-01").longer_than_months(13));
        assert!(window("2025-09-01", "2026-10-02").longer_than_months(13));
        assert!(!window("2024-02-29", "2025-02-28").longer_than_months(12));
    }

    #[test]
    fn days_are_those_of_clickhouse() {
        assert_eq!(date_of(0), date(1970, 1, 1));
        assert_eq!(date_of(u16::MAX), date(2149, 6, 6));
    }

    fn days() -> impl Strategy<Value = Date> {
        (7_305_u16..65_000).prop_map(date_of)
    }

    fn grains() -> impl Strategy<Value = Grain> {
        prop::sample::select(Grain::ALL)
    }

    proptest! {
        #[test]
        fn a_frame_holds_its_day_and_starts_where_it_should(
            on in days(), frame in prop::sample::select(Frame::ALL), week_start in 1_u8..=7
        ) {
            let window = Window::around(on, frame, week_start);
            prop_assert!(window.from <= on && on < window.to);
            match frame {
                Frame::Week => prop_assert_eq!(window.from.weekday().to_monday_one_offset(), week_start as i8),
                Frame::Month => prop_assert_eq!((window.from.day(), window.to.day()), (1, 1)),
                Frame::Day => prop_assert_eq!(window.to, on.tomorrow().unwrap()),
                Frame::Last28d => prop_assert_eq!(window.to, on.tomorrow().unwrap()),
            }
        }

        #[test]
        fn periods_cover_the_window_without_gap_or_overlap(
            from in days(), length in 1_i64..400, grain in grains(), week_start in 1_u8..=7
        ) {
            let window = Window::new(from, from.saturating_add(length.days())).unwrap();
            let periods = window.periods(grain, week_start);
            prop_assert_eq!(periods[0].from, window.from);
            prop_assert_eq!(periods[periods.len() - 1].to, window.to);
            for pair in periods.windows(2) {
                prop_assert_eq!(pair[0].to, pair[1].from);
                // Only the ends of the window cut a period.
                prop_assert_eq!(start_of(pair[1].from, grain, week_start), pair[1].from);
            }
            for period in &periods {
                prop_assert!(period.from < period.to);
                let last = period.to.yesterday().unwrap();
                prop_assert_eq!(start_of(last, grain, week_start), start_of(period.from, grain, week_start));
            }
        }
    }
}
