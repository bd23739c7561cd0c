//! The simulated company of `uptake up --demo`, and what to ask about it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::args::CompanyArgs;
use super::company::{Company, Plan, add_days};
use super::play::{Script, play};
use super::{introduce, write_file};
use crate::config::{Config, Endpoints};
use crate::store::Store;

const SYSTEM: &str = "demo";
const USERS: u32 = 2_000;
const DAYS: u16 = 90;

/// How long the count may stand still before the demo is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Kept in the data directory from before the first event is sent: a run on another day shows the same company, and one
/// that was interrupted is sent again with the same event ids, so that nothing of it counts twice.
#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    first_day: Date,
    loaded: bool,
}

impl Progress {
    fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("demo.json")
    }

    fn read(data_dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = Self::path(data_dir);
        if !path.exists() {
            return Ok(None);
        }
        let told = || format!("{} cannot be read; `--demo` needs another data_dir", path.display());
        let text = std::fs::read_to_string(&path).with_context(told)?;
        serde_json::from_str(&text).map(Some).with_context(told)
    }

    fn write(&self, data_dir: &Path) -> anyhow::Result<()> {
        write_file(&Self::path(data_dir), serde_json::to_string(self)?)
    }
}

/// Loads the company unless the data directory holds it already, then says what to ask. Takes a resolved configuration.
pub async fn show(config: &Config, endpoints: &Endpoints, shutdown: CancellationToken) -> anyhow::Result<()> {
    let known = Progress::read(&config.data_dir)?;
    if let Some(Progress {
        first_day,
        loaded: true,
    }) = known
    {
        println!("\nThe simulated company is there from an earlier run.");
        print_questions(endpoints, first_day);
        return Ok(());
    }
    let plan = plan(known.map(|known| known.first_day), config)?;
    let first_day = plan.start;
    let progress = |loaded| Progress { first_day, loaded };
    progress(false).write(&config.data_dir)?;
    println!("\nSimulating a company of {USERS} people over {DAYS} days; the events go through Kafka.");
    let company = Company::new(plan);
    introduce(config, &company).await?;
    let script = Script {
        mishaps: arguments(Some(first_day)).mishaps(),
        speed_up: 0.0,
        destination: Some(config.kafka.clone()),
        truth_for_min_group_size: None,
    };
    let messages = play(company, script, shutdown).await?.messages;
    println!(
        "Sent {} events, {} of them twice, and {} malformed messages. Waiting until all are counted.",
        messages.accepted,
        messages.repeats,
        messages.rejected()
    );
    wait_until_stored(config, messages.accepted).await?;
    progress(true).write(&config.data_dir)?;
    print_questions(endpoints, first_day);
    Ok(())
}

/// The defaults of `uptake simulate`, but for the name and the days.
fn arguments(start: Option<Date>) -> CompanyArgs {
    CompanyArgs {
        users: USERS,
        days: DAYS,
        start,
        seed: 1,
        system: SYSTEM.to_owned(),
        timezone: "Asia/Shanghai".to_owned(),
        duplicates: 0.01,
        late: 0.01,
        malformed: 0.001,
    }
}

fn plan(start: Option<Date>, config: &Config) -> anyhow::Result<Plan> {
    Ok(arguments(start).plan(config.retention.raw_days)?)
}

async fn wait_until_stored(config: &Config, expected: u64) -> anyhow::Result<()> {
    let store = Store::new(&config.clickhouse);
    let sql = "SELECT uniqExact(identity) FROM raw_events WHERE system = ?";
    let (mut last, mut moved) = (0, Instant::now());
    while moved.elapsed() < PATIENCE {
        let query = store.client().query(sql).bind(SYSTEM);
        let stored: u64 = query.fetch_one().await.context("counting what is stored")?;
        if stored >= expected {
            return Ok(());
        }
        if stored != last {
            (last, moved) = (stored, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    bail!(
        "{last} of {expected} events of the demo are stored, and none came for {} s",
        PATIENCE.as_secs()
    )
}

fn print_questions(endpoints: &Endpoints, first_day: Date) {
    let last_day = add_days(first_day, i64::from(DAYS) - 1);
    let system = format!("{}/api/v1/systems/{SYSTEM}", endpoints.api);
    println!(
        "
The system is called {SYSTEM}; its days are {first_day} to {last_day}. Ask, in another terminal:
  # who uses it? active people of each unit, in the 28 days until {last_day}
  curl -s '{system}/adoption?by=unit&on={last_day}'
  # what do they use? every feature, most used first
  curl -s '{system}/features?on={last_day}'
  # when do they use it? clicks and users by weekday and hour
  curl -s '{system}/heatmap/hours?on={last_day}'
All other questions: {}/docs",
        endpoints.api,
    );
}
