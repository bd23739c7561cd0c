//! What is asked, and how an analyst would ask the raw events instead.

use jiff::ToSpan;
use jiff::civil::Date;

use crate::MONTHS;
use crate::parts::SYSTEM;

pub struct Question {
    pub name: &'static str,
    /// Windows end on so many different days.
    pub days: usize,
    /// Below the system, by the day after the window and the number of the request.
    pub path: fn(Date, usize) -> String,
    pub raw: fn(Date) -> String,
    pub median_ms: Option<f64>,
    pub slowest_ms: f64,
}

const DIMENSIONS: [&str; 5] = ["unit", "role", "tier", "site", "phase"];

pub const QUESTIONS: [Question; 8] = [
    Question {
        name: "adoption by unit, 28 days",
        days: 200,
        path: |to, number| {
            let measure = ["active", "login"][number % 2];
            format!("adoption?by=unit&measure={measure}&{}", days(to, 28))
        },
        raw: |to| {
            format!(
                "SELECT unit, count(), countIf(ordinal IN (SELECT ordinal FROM raw_events WHERE {})) FROM roster
                WHERE entitled_to > '{to}' GROUP BY unit",
                within(to, 28)
            )
        },
        median_ms: Some(15.0),
        slowest_ms: 50.0,
    },
    Question {
        name: "adoption by phase, months of 18 months",
        days: 28,
        path: |to, number| {
            let by = DIMENSIONS[number % 5];
            let measure = ["active", "login"][number / 5 % 2];
            format!("adoption?by={by}&measure={measure}&grain=month&{}", months(to))
        },
        raw: |to| {
            format!(
                "SELECT toStartOfMonth(local_date) AS month, phase, uniqExact(ordinal) FROM raw_events INNER JOIN roster USING (ordinal)
                WHERE {} GROUP BY month, phase",
                within(to, 540)
            )
        },
        median_ms: None,
        slowest_ms: 150.0,
    },
    Question {
        name: "heatmap of hours, a month",
        days: 200,
        path: |to, _| format!("heatmap/hours?{}", days(to, 31)),
        raw: |to| {
            format!(
                "SELECT toDayOfWeek(local_date) AS weekday, local_hour, count(), uniqExact(ordinal) FROM raw_events
                WHERE {} GROUP BY weekday, local_hour",
                within(to, 31)
            )
        },
        median_ms: None,
        slowest_ms: 60.0,
    },
    Question {
        name: "heatmap of features, a month",
        days: 100,
        path: |to, number| {
            let by = ["unit", "role"][number / 100 % 2];
            format!("heatmap/features?by={by}&{}", days(to, 31))
        },
        raw: |to| {
            format!(
                "SELECT feature, unit, uniqExact(ordinal) FROM raw_events INNER JOIN roster USING (ordinal) WHERE {} GROUP BY feature, unit",
                within(to, 31)
            )
        },
        median_ms: None,
        slowest_ms: 60.0,
    },
    Question {
        name: "features, a month",
        days: 200,
        path: |to, _| format!("features?{}", days(to, 31)),
        raw: |to| {
            format!(
                "SELECT feature, uniqExact(ordinal), median(clicks) FROM
                    (SELECT feature, ordinal, local_date, count() AS clicks FROM raw_events WHERE {} GROUP BY feature, ordinal, local_date)
                GROUP BY feature",
                within(to, 31)
            )
        },
        median_ms: None,
        slowest_ms: 250.0,
    },
    Question {
        name: "lifecycle",
        days: 200,
        path: |to, number| {
            let on = to.saturating_sub(1.day());
            format!("lifecycle?on={on}&by={}", DIMENSIONS[number % 5])
        },
        raw: |to| {
            format!(
                "SELECT ordinal, min(local_date), max(local_date), groupUniqArrayIf(local_date, local_date > toDate('{to}') - 56)
                FROM raw_events WHERE {} GROUP BY ordinal",
                within(to, 540)
            )
        },
        median_ms: None,
        slowest_ms: 250.0,
    },
    Question {
        name: "retention, 12 weeks",
        days: 200,
        path: |to, _| format!("retention?{}", days(to, 84)),
        raw: |to| {
            format!(
                "SELECT ordinal, min(local_date), groupUniqArray(toMonday(local_date)) FROM raw_events WHERE {} GROUP BY ordinal",
                within(to, 540)
            )
        },
        median_ms: None,
        slowest_ms: 250.0,
    },
    Question {
        name: "funnel of five steps, a month",
        days: 100,
        path: |to, number| {
            let steps = (0..5).map(|step| feature((number / 100 + step) as u64));
            let steps: Vec<_> = steps.collect();
            format!("funnels?steps={}&{}", steps.join(","), days(to, 31))
        },
        raw: |to| {
            let steps: Vec<_> = (0..5).map(|step| format!("feature = '{}'", feature(step))).collect();
            format!(
                "SELECT windowFunnel(604800)(toDateTime(time), {}) AS steps, count() FROM
                    (SELECT ordinal, time, feature FROM raw_events WHERE {}) GROUP BY ordinal",
                steps.join(", "),
                within(to, 31)
            )
        },
        median_ms: None,
        slowest_ms: 1_000.0,
    },
];

/// One that is everyone's.
fn feature(number: u64) -> String {
    format!("module{}.feature{number}", number % 12)
}

fn days(to: Date, days: i32) -> String {
    format!("from={}&to={to}", to.saturating_sub(i64::from(days).days()))
}

fn months(to: Date) -> String {
    let from = to.saturating_sub(i64::from(MONTHS).months());
    format!("from={from}&to={to}")
}

/// The condition of the raw events in the `days` before `to`.
fn within(to: Date, days: i32) -> String {
    let from = to.saturating_sub(i64::from(days).days());
    format!("system = '{SYSTEM}' AND type = 'feature_click' AND local_date >= '{from}' AND local_date < '{to}'")
}
