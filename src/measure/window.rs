//! Windows (M4): half-open ranges of whole local days, and the periods they are cut into. Pure functions.

use jiff::ToSpan;
use jiff::civil::{Date, Weekday, date};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Choice, SystemContext};

/// The days `[from, to)`; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
