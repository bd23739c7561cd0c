//! `make bench-query`: how fast answers come at a size that few installations reach: 100,000,000 events of 50,000 people and 400
//! features in 18 months, on the real engine, through the API.
//!
//! Each kind of question is asked 200 times, each time about something else; beside it stand what the same question costs when
//! it is asked of the raw events, and how many rows the API's question read. A process that has just started is asked, after
//! some other questions to warm the caches. Then targets are evaluated (`targets.rs`), every panel of the dashboards is asked (`panels.rs`), and
//! further events are ingested (`ingest.rs`); `cargo bench --bench query ingest` does only the last.
//! Nothing is asserted: the figures go to a table and to `target/bench-query.json`.
//! `UPTAKE_BENCH_EVENTS` makes the company's people do less or more; how many they are stays the same.

#[path = "../common/company.rs"]
mod company;
#[allow(dead_code, reason = "the other benches use more of it")]
#[path = "../common/group.rs"]
mod group;
mod ingest;
mod panels;
#[allow(dead_code, reason = "the other benches use more of it")]
#[path = "../common/parts.rs"]
mod parts;
#[allow(dead_code, reason = "the other benches use more of it")]
#[path = "../common/process.rs"]
mod process;
mod questions;
#[allow(dead_code, reason = "the other benches use more of it")]
#[path = "../common/report.rs"]
mod report;
mod targets;
#[allow(dead_code, reason = "the other benches use more of it")]
#[path = "../common/topic.rs"]
mod topic;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};

use self::company::Company;
use self::parts::{Installation, Parts, SYSTEM, ZONE};
use self::process::Program;
use self::questions::{QUESTIONS, Question};
use self::report::{Report, Target, quantile};

const EVENTS: u64 = 100_000_000;
const PEOPLE: u64 = 50_000;
const FEATURES: u64 = 400;
const MONTHS: u32 = 18;
/// Working days in them.
const DAYS: u64 = 390;
const REQUESTS: usize = 200;
const WARM_UP: usize = 5;
/// The raw events are asked less often: it takes long.
const RAW_REQUESTS: usize = 3;
/// Goal for what an event takes on disk, rollups included.
const BYTES_PER_EVENT: f64 = 25.0;

fn main() -> anyhow::Result<()> {
    let events = match std::env::var("UPTAKE_BENCH_EVENTS") {
        Ok(text) => text.parse().context("UPTAKE_BENCH_EVENTS: expected a number")?,
        Err(_) => EVENTS,
    };
    let only_ingest = std::env::args().any(|argument| argument == "ingest");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut parts = Parts::start().await?;
        let retention = &mut parts.config_mut().retention;
        // As long as the rollups at most, which count 28 days a month.
        retention.user_months = MONTHS + 2;
        retention.raw_days = 28 * retention.user_months;
        let installation = parts.database("query").await?;
        let today = Timestamp::now().in_tz(ZONE)?.date();
        let mut report = store(&installation, today, events).await?;
        if !only_ingest {
            let mut api = Api::start(&installation).await?;
            for question in QUESTIONS {
                ask(&mut report, &installation, &mut api, today, &question).await?;
            }
            api.program.stop()?;
            targets::evaluate(&mut report, &parts, &installation, today).await?;
            panels::ask(&mut report, &installation, today).await?;
        }
        ingest::compare(&mut report, &mut parts, &installation).await?;
        parts.stop().await;
        report.finish("bench-query.json")
    })
}

async fn store(installation: &Installation, today: Date, events: u64) -> anyhow::Result<Report> {
    let company = Company {
        people: PEOPLE,
        features: FEATURES,
        days: DAYS,
        events,
    };
    let started = Report::new(events);
    started.progress(format_args!("storing about {events} events of {PEOPLE} people"));
    let mut told = 0;
    let stored = company.store(installation, today, |so_far| {
        if so_far >= told + events / 10 {
            told = so_far;
            started.progress(format_args!("  {so_far} events"));
        }
    });
    let stored = stored.await?;
    company::settle(installation).await?;
    started.progress(format_args!("asking about {stored} events"));
    let mut report = started.about(stored);
    let bytes = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase()";
    let all = installation.number(bytes).await? as f64 / stored as f64;
    let raw = installation
        .number(&format!("{bytes} AND table = 'raw_events'"))
        .await? as f64
        / stored as f64;
    let goal = Target::AtMost(BYTES_PER_EVENT);
    report.add_with_target("on disk, rollups included", "B/event", vec![all], goal);
    report.add("on disk, the raw events alone", "B/event", vec![raw]);
    Ok(report)
}

async fn ask(
    report: &mut Report,
    installation: &Installation,
    api: &mut Api,
    today: Date,
    question: &Question,
) -> anyhow::Result<()> {
    report.progress(format_args!("  {}", question.name));
    let day = |number: usize| today.saturating_sub(((number % question.days) as i64).days());
    for number in 0..WARM_UP {
        api.get(&(question.path)(day(number), REQUESTS + number)).await?;
    }
    let rows_before = installation.number(ROWS_READ).await?;
    let mut times = Vec::new();
    for number in 0..REQUESTS {
        let path = (question.path)(day(number), number);
        times.push(api.get(&path).await?.as_secs_f64() * 1e3);
    }
    let rows = (installation.number(ROWS_READ).await? - rows_before) as f64 / REQUESTS as f64;
    let [median, slowest] = [0.5, 0.99].map(|q| quantile(&times, q));
    let mut add = |what: &str, value, target: Option<f64>| {
        let name = format!("{}: {what}", question.name);
        match target {
            Some(target) => report.add_with_target(name, "ms", vec![value], Target::AtMost(target)),
            None => report.add(name, "ms", vec![value]),
        }
    };
    add("median", median, question.median_ms);
    add("99th percentile", slowest, Some(question.slowest_ms));

    let mut raw = Vec::new();
    for number in 0..RAW_REQUESTS {
        // Every row and column is worked out; none is sent.
        let sql = format!("{} FORMAT Null", (question.raw)(day(number)));
        let asked = Instant::now();
        installation.store.client().query_raw(&sql).execute().await?;
        raw.push(asked.elapsed().as_secs_f64() * 1e3);
    }
    let ratio = quantile(&raw, 0.5) / median;
    report.add(format!("{}: the raw events take", question.name), "times", vec![ratio]);
    report.add(format!("{}: rows read", question.name), "rows", vec![rows]);
    Ok(())
}

/// Of all statements since the engine started.
const ROWS_READ: &str = "SELECT toUInt64(sum(value)) FROM system.events WHERE event = 'SelectedRows'";

/// `uptake api`, just started.
struct Api {
    program: Program,
    client: reqwest::Client,
    base: String,
}

impl Api {
    async fn start(installation: &Installation) -> anyhow::Result<Self> {
        let address = process::free_address()?;
        let mut api = Self {
            program: installation.start("api", &[("API__LISTEN", address.clone())])?,
            client: reqwest::Client::new(),
            base: format!("http://{address}/api/v1/systems/{SYSTEM}"),
        };
        let started = Instant::now();
        while api.client.get(&api.base).send().await.is_err() {
            api.program.check()?;
            let waited = started.elapsed();
            ensure!(
                waited < Duration::from_secs(30),
                "the API does not answer at {}",
                api.base
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(api)
    }

    /// How long the answer took.
    async fn get(&self, path: &str) -> anyhow::Result<Duration> {
        let url = format!("{}/{path}", self.base);
        let asked = Instant::now();
        let answer = self.client.get(&url).send().await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        let took = asked.elapsed();
        ensure!(
            status.is_success(),
            "{url}: {status} {}",
            String::from_utf8_lossy(&body)
        );
        Ok(took)
    }
}
