//! How long the API takes to answer about a company of 20,000 people.

use std::time::{Duration, Instant};

use anyhow::ensure;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};

use crate::company::{self, Company};
use crate::parts::{Parts, SYSTEM, ZONE};
use crate::process::{self, Meter};
use crate::report::{Report, Target, quantile};

const EVENTS: u64 = 10_000_000;
const PEOPLE: u64 = 20_000;
/// Five months.
const DAYS: u64 = 110;
const FEATURES: u64 = 200;
const WARM_UP: usize = 5;
const REQUESTS: usize = 60;
const TARGET_MS: f64 = 50.0;

pub async fn measure(report: &mut Report, parts: &Parts, events: u64) -> anyhow::Result<()> {
    // A smaller run has fewer people, who do as much.
    let people = (PEOPLE * events / EVENTS).max(500);
    report.progress(format_args!("storing about {events} events of {people} people"));
    let installation = parts.database("answers").await?;
    let today = Timestamp::now().in_tz(ZONE)?.date();
    let company = Company {
        people,
        features: FEATURES,
        days: DAYS,
        events,
    };
    let stored = company.store(&installation, today, |_| ()).await?;
    company::settle(&installation).await?;
    report.progress(format_args!("asking the API about {stored} events"));
    report.add("API: events stored", "events", vec![stored as f64]);

    let address = process::free_address()?;
    let mut api = installation.start("api", &[("API__LISTEN", address.clone())])?;
    let client = reqwest::Client::new();
    let base = format!("http://{address}/api/v1/systems");
    let started = Instant::now();
    while client.get(&base).send().await.is_err() {
        api.check()?;
        ensure!(
            started.elapsed() < Duration::from_secs(30),
            "the API does not answer at {base}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (name, path) in QUESTIONS {
        report.progress(format_args!("  {name}"));
        let meter = Meter::start(&[parts.engine_pid(), api.pid()])?;
        let mut times = Vec::new();
        for number in 0..WARM_UP + REQUESTS {
            let url = format!("{base}{}", path(window(today, number)));
            let asked = Instant::now();
            let answer = client.get(&url).send().await?;
            let status = answer.status();
            let body = answer.bytes().await?;
            times.push(asked.elapsed().as_secs_f64() * 1e3);
            ensure!(
                status.is_success(),
                "{url}: {status} {}",
                String::from_utf8_lossy(&body)
            );
        }
        let (_, used) = meter.stop()?;
        times.drain(..WARM_UP);
        let cpu = used.iter().sum::<Duration>().as_secs_f64() * 1e3 / (WARM_UP + REQUESTS) as f64;
        let [median, slowest] = [0.5, 0.99].map(|q| quantile(&times, q));
        report.add_with_target(
            format!("API: {name}: median"),
            "ms",
            vec![median],
            Target::AtMost(TARGET_MS),
        );
        report.add(format!("API: {name}: 99th percentile"), "ms", vec![slowest]);
        report.add(format!("API: {name}: CPU of engine and API"), "ms/answer", vec![cpu]);
    }
    let status = api.stop()?;
    ensure!(status.success(), "uptake api: {status}");
    installation.drop().await
}

/// The day after the window: every request about a number has another one.
fn window(today: Date, number: usize) -> Date {
    today.saturating_sub((number as i64).days())
}

fn last_28_days(path: &str, to: Date) -> String {
    let from = to.saturating_sub(28.days());
    let sign = if path.contains('?') { '&' } else { '?' };
    format!("/{SYSTEM}/{path}{sign}from={from}&to={to}")
}

type Path = fn(Date) -> String;

const QUESTIONS: [(&str, Path); 8] = [
    ("systems", |_| String::new()),
    ("adoption by unit, 28 days", |to| last_28_days("adoption?by=unit", to)),
    ("adoption by phase, weeks of 3 months", |to| {
        let from = to.saturating_sub(3.months());
        format!("/{SYSTEM}/adoption?by=phase&grain=week&from={from}&to={to}")
    }),
    ("logins by unit", |to| last_28_days("logins?by=unit", to)),
    ("features", |to| last_28_days("features", to)),
    ("heatmap of hours", |to| last_28_days("heatmap/hours", to)),
    ("heatmap of features by unit", |to| {
        last_28_days("heatmap/features?by=unit", to)
    }),
    ("heatmap of features by role", |to| {
        last_28_days("heatmap/features?by=role", to)
    }),
];
