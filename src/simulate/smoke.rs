//! `uptake smoke`: the whole program, from an empty directory to every number of the API, against the simulated truth.

mod installation;
mod rejects;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::args::CompanyArgs;
use super::company::Company;
use super::compare::Comparison;
use super::introduce;
use super::play::{Outcome, Script, play};
use super::truth::{Messages, TruthFile};
use crate::config::Config;
use crate::store::Store;
use installation::Installation;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    company: CompanyArgs,
    /// Keep the temporary directory, and say where it is
    #[arg(long)]
    keep: bool,
}

/// How long the counts may stand still before the run is judged as it stands.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many differences are printed.
const SHOWN: usize = 50;

pub async fn run(config: Config, args: Args, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut installation = Installation::start(&config, args.keep, &shutdown).await?;
    let (config, api) = (installation.config.clone(), installation.api.clone());
    let verdict = tokio::select! {
        verdict = judge(&config, &api, &args.company, &shutdown) => verdict,
        died = installation.died() => Err(died),
        () = shutdown.cancelled() => Err(anyhow::anyhow!("stopped")),
    };
    if verdict.as_ref().map_or(true, |verdict| !verdict.differences.is_empty()) {
        eprintln!("the end of its log:\n{}", installation.log_tail());
    }
    let stopped = installation.stop().await;
    let verdict = verdict?;
    for difference in verdict.differences.iter().take(SHOWN) {
        println!("{difference}");
    }
    ensure!(
        verdict.differences.is_empty(),
        "smoke: {} differences from the truth, {} numbers equal to it",
        verdict.differences.len(),
        verdict.equal
    );
    stopped?;
    println!(
        "smoke: {} events, {} rejected as expected, 0 lost, 0 counted twice, {} numbers equal to the truth",
        verdict.messages.accepted,
        verdict.messages.rejected(),
        verdict.equal
    );
    Ok(())
}

/// What the comparison came to.
struct Verdict {
    messages: Messages,
    equal: u64,
    /// A sentence for each difference.
    differences: Vec<String>,
}

impl Verdict {
    fn expect<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, expected: &T, got: &T) {
        if expected == got {
            self.equal += 1;
        } else {
            self.differences
                .push(format!("{what}: expected {expected:?}, got {got:?}"));
        }
    }
}

async fn judge(
    config: &Config,
    api: &str,
    args: &CompanyArgs,
    shutdown: &CancellationToken,
) -> anyhow::Result<Verdict> {
    let company = Company::new(args.plan(config.retention.raw_days)?);
    introduce(config, &company).await?;
    let script = Script {
        mishaps: args.mishaps(),
        speed_up: 0.0,
        destination: Some(config.kafka.clone()),
        truth_for_min_group_size: Some(config.privacy.min_group_size as usize),
    };
    let Outcome { messages, truth, took } = play(company, script, shutdown.clone()).await?;
    let truth = truth.context("a smoke run always computes the truth")?;
    println!("sent {} messages in {:.1} s", messages.sent(), took.as_secs_f64());
    let mut verdict = Verdict {
        messages: messages.clone(),
        equal: 0,
        differences: Vec::new(),
    };
    let counts = wait_until_counted(config, &truth, took).await?;
    compare_counts(&counts, &messages, &mut verdict);
    let by_reason: BTreeMap<String, u64> = messages
        .rejected
        .iter()
        .map(|(reason, n)| ((*reason).to_owned(), *n))
        .collect();
    let kafka = config.kafka.clone();
    let on_topic = tokio::task::spawn_blocking(move || rejects::count_by_reason(&kafka)).await??;
    verdict.expect("messages on the rejected topic, by reason", &by_reason, &on_topic);
    let in_store = rejected_in_store(config).await?;
    verdict.expect("rows of the table rejects, by reason", &by_reason, &in_store);
    compare_answers(api, &truth, &mut verdict).await?;
    Ok(verdict)
}

/// What the storage holds of the system.
#[derive(Debug, Default, Clone, PartialEq, Eq, clickhouse::Row, Deserialize)]
struct Counts {
    raw_rows: u64,
    raw_identities: u64,
    feature_hour_clicks: u64,
    feature_day_clicks: u64,
    rejects: u64,
}

const COUNTS: &str = "SELECT
    assumeNotNull((SELECT count() FROM raw_events WHERE system = {system:String})) AS raw_rows,
    assumeNotNull((SELECT uniqExact(identity) FROM raw_events WHERE system = {system:String})) AS raw_identities,
    assumeNotNull((SELECT sum(clicks) FROM feature_hours WHERE system = {system:String} AND zone = {zone:String})) AS feature_hour_clicks,
    assumeNotNull((SELECT sum(clicks) FROM feature_user_days WHERE system = {system:String} AND zone = {zone:String})) AS feature_day_clicks,
    assumeNotNull((SELECT uniqExact(kafka_topic, kafka_partition, kafka_offset) FROM rejects)) AS rejects";

async fn read_counts(config: &Config, truth: &TruthFile) -> anyhow::Result<Counts> {
    let store = Store::new(&config.clickhouse);
    let zone = truth.window["timezone"].as_str().unwrap_or_default();
    let query = store
        .client()
        .query(COUNTS)
        .param("system", &truth.system)
        .param("zone", zone);
    query.fetch_one().await.context("counting what is stored")
}

/// Returns when as much is stored as was sent and it stays so, or when nothing has moved for [`PATIENCE`].
async fn wait_until_counted(config: &Config, truth: &TruthFile, sending_took: Duration) -> anyhow::Result<Counts> {
    let started = Instant::now();
    let at_most = Duration::from_secs(300) + 10 * sending_took;
    let enough =
        |counts: &Counts| counts.raw_rows >= truth.messages.accepted && counts.rejects >= truth.messages.rejected();
    let mut last = Counts::default();
    let mut moved = Instant::now();
    loop {
        let counts = read_counts(config, truth).await?;
        if counts != last {
            moved = Instant::now();
            last = counts;
        }
        // A repeat that is counted wrongly comes after its event: leave it the time of a few batches.
        let settled = Duration::from_millis(3_000 + 2 * config.ingest.batch_age_ms);
        if moved.elapsed() >= if enough(&last) { settled } else { PATIENCE } {
            println!(
                "stored {} events in {:.1} s after the last was sent",
                last.raw_rows,
                (moved - started).as_secs_f64()
            );
            return Ok(last);
        }
        if started.elapsed() > at_most {
            bail!("after {} s storage is still changing: {last:?}", at_most.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn compare_counts(counts: &Counts, messages: &Messages, verdict: &mut Verdict) {
    let lost = messages.accepted.saturating_sub(counts.raw_identities);
    verdict.expect("events lost", &0, &lost);
    verdict.expect(
        "events counted twice in events",
        &0,
        &(counts.raw_rows - counts.raw_identities),
    );
    verdict.expect("rows of events", &messages.accepted, &counts.raw_rows);
    verdict.expect("clicks in feature_hours", &messages.clicks, &counts.feature_hour_clicks);
    verdict.expect(
        "clicks in feature_user_days",
        &messages.clicks,
        &counts.feature_day_clicks,
    );
}

async fn rejected_in_store(config: &Config) -> anyhow::Result<BTreeMap<String, u64>> {
    let store = Store::new(&config.clickhouse);
    let query = "SELECT reason, uniqExact(kafka_topic, kafka_partition, kafka_offset) FROM rejects GROUP BY reason";
    let rows: Vec<(String, u64)> = store
        .client()
        .query(query)
        .fetch_all()
        .await
        .context("counting rejects")?;
    Ok(rows.into_iter().collect())
}

async fn compare_answers(api: &str, truth: &TruthFile, verdict: &mut Verdict) -> anyhow::Result<()> {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build()?;
    for answer in &truth.answers {
        let url = format!("{api}/api/v1{}", answer.query);
        let response = http.get(&url).send().await.with_context(|| format!("GET {url}"))?;
        let status = response.status();
        let body: Value = response
            .json()
            .await
            .with_context(|| format!("GET {url}: {status}, not JSON"))?;
        if !status.is_success() {
            verdict
                .differences
                .push(format!("{}: expected an answer, got {status}: {body}", answer.query));
            continue;
        }
        let mut comparison = Comparison::default();
        comparison.compare(&answer.expect, &body);
        verdict.equal += comparison.equal;
        verdict.differences.extend(
            comparison
                .differences
                .iter()
                .map(|difference| format!("{}: {difference}", answer.query)),
        );
    }
    Ok(())
}
