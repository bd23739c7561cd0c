//! A roster for a log that came without one.
//!
//! Rule: everyone in the log is entitled from the first day of the month of their first action until the log ends, in the
//! unit that most of their rows name (of equals, the one seen first).

use std::collections::HashMap;

use anyhow::Context;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::path::Path;

/// What has been seen of each user so far.
#[derive(Default)]
pub struct Users {
    by_id: HashMap<String, Seen>,
    last: Option<Timestamp>,
}

struct Seen {
    first: Timestamp,
    /// Rows per unit, in the order of appearance.
    units: Vec<(String, u64)>,
}

impl Users {
    pub fn note(&mut self, user: &str, unit: &str, time: Timestamp) {
        self.last = self.last.max(Some(time));
        let Some(seen) = self.by_id.get_mut(user) else {
            let units = vec![(unit.to_owned(), 1)];
            self.by_id.insert(user.to_owned(), Seen { first: time, units });
            return;
        };
        seen.first = seen.first.min(time);
        match seen.units.iter_mut().find(|(name, _)| name == unit) {
            Some((_, rows)) => *rows += 1,
            None => seen.units.push((unit.to_owned(), 1)),
        }
    }

    /// Writes the roster file, ordered by user id. Days are those of `zone`.
    pub fn write(&self, path: &Path, zone: &TimeZone) -> anyhow::Result<usize> {
        let mut out = csv::Writer::from_path(path).with_context(|| format!("{}", path.display()))?;
        out.write_record(crate::roster::COLUMNS)?;
        let day = |time: Timestamp| -> Date { zone.to_datetime(time).date() };
        let end = self
            .last
            .map_or(Ok(String::new()), |last| day(last).tomorrow().map(|d| d.to_string()))?;
        let mut users: Vec<_> = self.by_id.iter().collect();
        users.sort_by_key(|(user, _)| *user);
        for (user, seen) in users {
            let from = day(seen.first).first_of_month().to_string();
            // Of equals, `max_by_key` takes the last.
            let unit = seen
                .units
                .iter()
                .rev()
                .max_by_key(|(_, rows)| *rows)
                .map_or("", |(unit, _)| unit);
            out.write_record([user, "person", unit, "", "", "", "", &from, &end])?;
        }
        out.flush()?;
        Ok(self.by_id.len())
    }
}
