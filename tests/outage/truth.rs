//! Every event follows from its number, so that millions of them are a truth that needs no memory.

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::Timestamp;
use uptake::event::Identity;
use uptake::pseudonym::Pseudonymizer;

pub const SYSTEM: &str = "erp";
const SOURCE: &str = "/outage";
const USERS: u64 = 500;
const FEATURES: [&str; 5] = [
    "finance.invoice",
    "finance.report",
    "hr.leave",
    "stock.count",
    "财务.发票",
];
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Its system has no definition, so that its days are those of UTC.
struct Event {
    user: u64,
    /// None: a login.
    feature: Option<&'static str>,
    time_ms: i64,
}

/// The events of one act, `0..`, at most two days older than its beginning.
#[derive(Debug, Clone, Copy)]
pub struct Events {
    begun_ms: i64,
}

impl Events {
    pub fn new() -> Self {
        Self {
            begun_ms: Timestamp::now().as_millisecond(),
        }
    }

    fn event(self, number: u64) -> Event {
        let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
        Event {
            user: mixed % USERS,
            feature: (!mixed.is_multiple_of(4)).then(|| FEATURES[(mixed % 5) as usize]),
            time_ms: self.begun_ms - (mixed % (2 * DAY_MS).cast_unsigned()).cast_signed(),
        }
    }

    /// A request to the collector.
    pub fn batch(self, numbers: std::ops::Range<u64>) -> String {
        let mut body = String::from("[");
        for number in numbers {
            let Event { user, feature, time_ms } = self.event(number);
            let time = Timestamp::from_millisecond(time_ms).unwrap_or_default();
            let (kind, data) = match feature {
                Some(feature) => ("feature_click", format!(r#""feature":"{feature}""#)),
                None => ("login", r#""outcome":"success""#.to_owned()),
            };
            let comma = if body.len() > 1 { "," } else { "" };
            // Writing to a string does not fail.
            let _ = write!(
                body,
                r#"{comma}{{"specversion":"1.0","id":"{number}","source":"{SOURCE}","type":"usage.{kind}.v1","subject":"u-{user}","time":"{time}","data":{{"system":"{SYSTEM}",{data}}}}}"#
            );
        }
        body + "]"
    }
}

/// What must be stored of the events `0..events`.
pub struct Truth {
    pub events: u64,
    /// The lower halves of the identities, added modulo 2^64.
    pub identity_sum: u64,
    /// `feature/day/hour` → clicks.
    pub feature_hours: BTreeMap<String, u64>,
    /// `feature/user/day` → clicks.
    pub feature_user_days: BTreeMap<String, u64>,
}

impl Truth {
    pub fn of(events: Events, count: u64, names: &Pseudonymizer) -> Self {
        let (mut hours, mut days) = (BTreeMap::<_, u64>::new(), BTreeMap::<_, u64>::new());
        let mut identity_sum = 0u64;
        for number in 0..count {
            let event = events.event(number);
            identity_sum = identity_sum.wrapping_add(Identity::of(SOURCE, &number.to_string()).0);
            if let Some(feature) = event.feature {
                let (day, of_day_ms) = (event.time_ms.div_euclid(DAY_MS), event.time_ms.rem_euclid(DAY_MS));
                *hours.entry((feature, day, of_day_ms / HOUR_MS)).or_default() += 1;
                *days.entry((feature, event.user, day)).or_default() += 1;
            }
        }
        let hours = hours
            .into_iter()
            .map(|((feature, day, hour), clicks)| (format!("{feature}/{day}/{hour}"), clicks));
        let days = days.into_iter().map(|((feature, user, day), clicks)| {
            let user = names.pseudonym(&format!("u-{user}"));
            (format!("{feature}/{user}/{day}"), clicks)
        });
        Self {
            events: count,
            identity_sum,
            feature_hours: hours.collect(),
            feature_user_days: days.collect(),
        }
    }
}
