//! How long the API takes to answer about a company of 20,000 people.
//!
//! The events go straight into the table `events`, in batches in the order of time as ingest would store them, so that the
//! views fill the rollups; what they are about is a function of their number.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use serde_json::json;
use uptake::definition;

use crate::parts::{Installation, Parts, SYSTEM, ZONE};
use crate::process::{self, Meter};
use crate::report::{Report, Target, quantile};

const EVENTS: u64 = 10_000_000;
const PEOPLE: u64 = 20_000;
/// One of so many users is not on the roster.
const STRANGERS: u64 = 100;
/// Working days of the past that have events: five months.
const DAYS: u64 = 110;
/// Of a hundred users so many are there on a day; one in ten never is.
const ATTENDANCE: u64 = 70;
const BATCH: u64 = 250_000;
const FEATURES: u64 = 200;
/// Of the 41 features that are for a user's role, so many are used by that user.
const FAVOURITES: u64 = 8;
const WARM_UP: usize = 5;
const REQUESTS: usize = 60;
const TARGET_MS: f64 = 50.0;

pub async fn measure(report: &mut Report, parts: &Parts, events: u64) -> anyhow::Result<()> {
    // A smaller run has fewer people, who do as much.
    let people = (PEOPLE * events / EVENTS).max(500);
    report.progress(format_args!("storing about {events} events of {people} people"));
    let installation = parts.database("answers").await?;
    let today = Timestamp::now().in_tz(ZONE)?.date();
    let stored = store(&installation, today, people, events).await?;
    settle(&installation).await?;
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

/// The day after the window: every request has another one.
fn window(today: Date, number: usize) -> Date {
    today.saturating_sub(((number % 28) as i64).days())
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

/// Definition, roster and about `events` events until yesterday; how many there are.
async fn store(installation: &Installation, today: Date, people: u64, events: u64) -> anyhow::Result<u64> {
    let days = working_days_before(today, DAYS as usize);
    let first = *days.first().context("no days")?;
    let text = definition(first).to_string();
    definition::apply_text(&installation.config, &text, "the benchmark").await?;
    let client = installation.store.client();
    for sql in roster(people, first) {
        client.query(&sql).execute().await.context("the roster")?;
    }

    let users = people + people / STRANGERS;
    let visits = users * ATTENDANCE * 9 / 1_000;
    let per_visit = (events / (visits * DAYS)).max(2);
    let days_a_batch = (BATCH / (visits * per_visit)).max(1);
    for batch in days.chunks(days_a_batch as usize) {
        let dates: Vec<_> = batch.iter().map(|day| format!("toDate('{day}')")).collect();
        let sql = events_sql(&dates.join(", "), batch.len() as u64, users, per_visit);
        client.query(&sql).execute().await.context("the events")?;
    }
    installation.number("SELECT count() FROM events").await
}

/// Monday to Friday, in order.
fn working_days_before(today: Date, count: usize) -> Vec<Date> {
    let before = std::iter::successors(today.yesterday().ok(), |day| day.yesterday().ok());
    let mut days: Vec<_> = before
        .filter(|day| day.weekday().to_monday_zero_offset() < 5)
        .take(count)
        .collect();
    days.reverse();
    days
}

/// 20 features are everyone's, 21 each role's own, and 12 are never used.
fn definition(first: Date) -> serde_json::Value {
    let features = (0..FEATURES).map(|number| {
        let role = number
            .checked_sub(20)
            .map(|own| format!("role{}", own / 21))
            .filter(|_| number < 188);
        json!({
            "key": format!("module{}.feature{number}", number % 12),
            "title": format!("Feature {number}"),
            "released": first,
            "roles": role.into_iter().collect::<Vec<_>>(),
        })
    });
    let phases = [("pilot", 0), ("extension", 30), ("company", 60)];
    let phases = phases.map(|(id, after)| json!({"id": id, "name": id, "go_live": first.saturating_add(after.days())}));
    json!({
        "system": SYSTEM, "name": "ERP", "timezone": ZONE,
        "calendar": {"weekdays": ["mon", "tue", "wed", "thu", "fri"]},
        "phases": phases,
        "features": features.collect::<Vec<_>>(),
    })
}

/// 40 units, 8 roles, 3 tiers, 12 sites, 3 phases. One person in ten has changed the unit.
fn roster(people: u64, first: Date) -> [String; 2] {
    let rows = format!(
        "INSERT INTO roster SELECT '{SYSTEM}', 1, MD5(toString(u)), u + 1, 'person', concat('unit', toString((u + moved) % 40)),
            concat('role', toString(u % 8)), multiIf(u % 50 = 0, 'administrator', u % 9 = 0, 'management', 'operator'),
            concat('site', toString(u % 12)), multiIf(u % 10 = 0, 'pilot', u % 10 < 4, 'extension', 'company'),
            if(moved, change, toDate('{first}')), if(moves AND NOT moved, change, toDate('2149-06-06')) AS until, until
        FROM (SELECT number AS u, u % 10 = 3 AS moves, toDate('{first}') + 60 + u % 60 AS change,
            toUInt8(arrayJoin(range(1 + moves))) AS moved FROM numbers({people}))"
    );
    let version =
        format!("INSERT INTO roster_versions SELECT '{SYSTEM}', 1, now64(3), count(), uniqExact(user), '' FROM roster");
    [rows, version]
}

/// Each visit is a login and some clicks, within ten hours; one user in twenty works at night. Half of the clicks go to the
/// user's first favourite, a sixth to the second and so on: about 3 features on a day and 8 in a month. Logs of a help
/// desk and of a permit desk have 1.9 and 3.6 on a day, 3.1 and 5.1 in a month.
fn events_sql(dates: &str, days: u64, users: u64, per_visit: u64) -> String {
    format!(
        "INSERT INTO events (system, type, time, user, ordinal, feature, session, outcome, method, source, identity, zone,
            local_date, local_hour, kafka_topic, kafka_partition, kafka_offset, ingested_at)
        SELECT '{SYSTEM}', if(is_login, 'login', 'feature_click'),
            toDateTime64(toDateTime(day, '{ZONE}') + 3600 * local_hour + r % 3600, 3, 'UTC'), MD5(toString(u)) AS user, u + 1,
            if(is_login, '', concat('module', toString(f % 12), '.feature', toString(f))),
            concat('s-', toString(visit % 1000000)), if(is_login, 'success', ''), if(is_login, 'saml', ''), '/erp',
            MD5(concat(toString(day), toString(number))), '{ZONE}', day, if(u % 20 = 7, 20 + r % 10, 8 + (r + visit) % 10) % 24 AS local_hour,
            'usage.events', u % 4, number, now64(3)
        FROM
        (
            SELECT number, [{dates}][1 + intDiv(number, {users} * {per_visit})] AS day, intDiv(number, {per_visit}) % {users} AS u,
                number % {per_visit} = 0 AS is_login, cityHash64(u, day) AS visit, cityHash64(number, day) AS r,
                least({FAVOURITES} - 1, toUInt32(1 / (1 - intDiv(r, 10000) % 100000 / 100000)) - 1) AS place,
                (place * 7 + cityHash64(u)) % 41 AS own,
                toUInt32(if(own < 20, own, u % 8 * 21 + own)) AS f
            FROM numbers({days} * {users} * {per_visit})
            WHERE u % 10 != 0 AND visit % 100 < {ATTENDANCE}
        )"
    )
}

/// Waits until the engine has no merges to do, as it would have in the night.
async fn settle(installation: &Installation) -> anyhow::Result<()> {
    let mut idle = 0;
    let started = Instant::now();
    while idle < 3 && started.elapsed() < Duration::from_secs(60) {
        let merging = installation.number("SELECT count() FROM system.merges").await?;
        idle = if merging == 0 { idle + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}
