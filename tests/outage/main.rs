//! Long outages on real parts under load: ClickHouse away, Kafka away, a disk that is full; after each, what is stored is
//! compared with the truth (docs/guarantees.md).
//!
//! `make outage MINUTES=10 RATE=5000`; `ACTS="clickhouse kafka-disk"` picks some. As part of all tests it is short, and without the disk, which needs the right to mount.

mod acts;
#[path = "../common/mod.rs"]
mod common;
mod compare;
mod disk;
mod group;
mod installation;
mod load;
mod truth;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

use acts::Scene;
use common::differences::Differences;

/// As part of all tests.
const SHORT: Duration = Duration::from_secs(5);
const RATE: u64 = 2_000;
/// Those with a full disk need the right to mount, and are left out of the short form.
const LONG: [&str; 4] = ["clickhouse", "kafka", "clickhouse-disk", "kafka-disk"];

/// How an outage went, and what is wrong afterwards.
pub struct Outcome {
    pub events: u64,
    pub peak_bytes: u64,
    pub differences: Differences,
}

/// One thread, which lives as long as the programs that it starts.
fn main() -> ExitCode {
    // As libtest does it: a filter that does not name this test means that others are wanted.
    let filters: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = filters.is_empty() || filters.iter().any(|filter| "outage".contains(filter.as_str()));
    if !wanted || std::env::args().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    match perform() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("outage: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing was lost and nothing counted twice.
fn perform() -> anyhow::Result<bool> {
    let minutes: Option<f64> = number("OUTAGE_MINUTES")?;
    let rate = number("OUTAGE_RATE")?.unwrap_or(RATE);
    let lasting = minutes.map_or(SHORT, |minutes| Duration::from_secs_f64(minutes * 60.0));
    let usual = if minutes.is_some() { &LONG[..] } else { &LONG[..2] };
    let acts = std::env::var("OUTAGE_ACTS").unwrap_or_default();
    let mut acts: Vec<String> = acts.split_whitespace().map(str::to_owned).collect();
    if acts.is_empty() {
        acts = usual.iter().map(|act| (*act).to_owned()).collect();
    }
    if acts.iter().any(|act| act.ends_with("disk")) {
        disk::may_mount()?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let scene = Scene {
        lasting,
        rate,
        is_short: minutes.is_none(),
    };
    let outcomes = runtime.block_on(play(scene, &acts))?;
    let (mut events, mut peak_bytes, mut lost, mut twice) = (0, 0, 0, 0);
    for outcome in &outcomes {
        outcome.differences.told.iter().for_each(|line| println!("  {line}"));
        events += outcome.events;
        peak_bytes = peak_bytes.max(outcome.peak_bytes);
        lost += outcome.differences.lost;
        twice += outcome.differences.twice;
    }
    println!(
        "outage: {} outages, {events} events, {} MB of memory at most, {lost} lost, {twice} counted twice",
        outcomes.len(),
        peak_bytes / 1_000_000
    );
    Ok(lost == 0 && twice == 0)
}

async fn play(scene: Scene, acts: &[String]) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for act in acts {
        let outcome = match act.as_str() {
            "clickhouse" => acts::without_clickhouse(&scene).await,
            "kafka" => acts::without_kafka(&scene).await,
            "clickhouse-disk" => acts::clickhouse_without_room(&scene).await,
            "kafka-disk" => acts::kafka_without_room(&scene).await,
            _ => bail!("OUTAGE_ACTS: {act}: expected some of {}", LONG.join(", ")),
        };
        outcomes.push(outcome.with_context(|| act.clone())?);
    }
    Ok(outcomes)
}

fn number<T: std::str::FromStr>(variable: &str) -> anyhow::Result<Option<T>> {
    let Ok(text) = std::env::var(variable) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => bail!("{variable} = {text}: expected a number"),
    }
}
