//! Half-open windows of local days.

use jiff::civil::Date;

use crate::simulate::company::add_days;

/// The days `[from, to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub from: Date,
    pub to: Date,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grain {
    Day,
    Week,
    Month,
}

impl Window {
    pub fn contains(self, day: Date) -> bool {
        self.from <= day && day < self.to
    }

    pub fn len(self) -> i64 {
        i64::from((self.to - self.from).get_days())
    }

    pub fn days(self) -> impl Iterator<Item = Date> {
        (0..self.len()).map(move |n| add_days(self.from, n))
    }

    /// Its last `days` days, or all of it when it has fewer.
    pub fn last(self, days: i64) -> Self {
        let from = self.from.max(add_days(self.to, -days));
        Self { from, ..self }
    }

    /// The window of equal length before it.
    pub fn previous(self) -> Self {
        Self {
            from: add_days(self.from, -self.len()),
            to: self.from,
        }
    }

    /// The calendar month a day is in.
    pub fn month_of(day: Date) -> Self {
        let from = day.first_of_month();
        Self {
            from,
            to: add_days(day.last_of_month(), 1),
        }
    }

    /// The week a day is in, Monday first.
    pub fn week_of(day: Date) -> Self {
        let from = add_days(day, -i64::from(day.weekday().to_monday_zero_offset()));
        Self {
            from,
            to: add_days(from, 7),
        }
    }

    /// The days, weeks or months that make it up, the first and last clipped to it.
    pub fn split(self, grain: Grain) -> Vec<Self> {
        let mut periods = Vec::new();
        let mut from = self.from;
        while from < self.to {
            let whole_to = match grain {
                Grain::Day => add_days(from, 1),
                Grain::Week => Self::week_of(from).to,
                Grain::Month => Self::month_of(from).to,
            };
            let to = whole_to.min(self.to);
            periods.push(Self { from, to });
            from = to;
        }
        periods
    }
}
