//! ClickHouse as the commands need it: reached, new enough, its clock right, our schema, the settings that ingest rests on, room, a worker.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;

use super::Findings;
use crate::config::Config;
use crate::ingest;
use crate::store::{Store, migrate, secret};
use crate::targets;

/// The oldest version whose SQL is ours.
const OLDEST: (u32, u32) = (24, 8);

/// Events are refused and days are closed by clocks on both sides.
const CLOCKS_MAY_DIFFER: Duration = Duration::from_secs(5);

/// Of a disk of ClickHouse: merges need room beside what is stored.
const NEEDED_SHARE: f64 = 0.05;

pub async fn examine(config: &Config, findings: &mut Findings) {
    let store = Store::new(&config.clickhouse);
    let wait = Duration::from_millis(config.clickhouse.connect_timeout_ms);
    if !findings.note(
        "clickhouse",
        "see that it listens there, and that clickhouse.user, password and ca_file are right; it must be version 24.8 or newer",
        version(&store, wait).await,
    ) {
        let rest = ["clock", "disks", "schema", "pseudonyms", "settings", "workers", "notices"];
        findings.not_checked(&rest, "ClickHouse is not reached");
        return;
    }
    findings.note(
        "clock",
        "let NTP set the clocks of this machine and of ClickHouse's",
        clock(&store).await,
    );
    findings.note(
        "disks",
        "make room, or shorten a term of [retention] and run `uptake migrate`",
        disks(&store).await,
    );
    if !findings.note(
        "schema",
        "run `uptake migrate` with this program; if the schema is newer, run the newer program",
        migrate::check(&store, config)
            .await
            .map(|()| format!("database {} is this program's", store.database())),
    ) {
        findings.not_checked(
            &["pseudonyms", "settings", "workers", "notices"],
            "the schema is not this program's",
        );
        return;
    }
    findings.note(
        "pseudonyms",
        "give this process the secret that the others have, in privacy.secret or in the file that privacy.secret_file names",
        secret::is_known(&store, &config.privacy.pseudonymizer()).await.map(|known| {
            let told = if known { "made with this secret" } else { "there are none yet" };
            told.to_owned()
        }),
    );
    findings.note(
        "settings",
        "remove what overrides the setting from the profile and the constraints of clickhouse.user",
        ingest::preflight::check(&store)
            .await
            .map(|()| "those that ingest rests on hold".to_owned()),
    );
    findings.note(
        "workers",
        "start `uptake ingest`; if it runs, its log and its /readyz tell what keeps it from working",
        workers(&store, &config.kafka.topic).await,
    );
    findings.note(
        "notices",
        "see that the receiver at targets.webhook.url runs and takes what it is sent; what waits is tried again",
        notices(&store).await,
    );
}

async fn version(store: &Store, wait: Duration) -> anyhow::Result<String> {
    store.wait(wait).await?;
    let version: String = store.server().query("SELECT version()").fetch_one().await?;
    let mut parts = version.split('.').map_while(|part| part.parse::<u32>().ok());
    let (year, month) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    ensure!(
        (year, month) >= OLDEST,
        "ClickHouse is version {version}, expected 24.8 or newer"
    );
    Ok(format!("version {version} answers"))
}

async fn clock(store: &Store) -> anyhow::Result<String> {
    let before = Timestamp::now().as_millisecond();
    let there: i64 = store
        .server()
        .query("SELECT toUnixTimestamp64Milli(now64(3))")
        .fetch_one()
        .await?;
    let after = Timestamp::now().as_millisecond();
    // It looked at its clock at some moment between the two.
    let apart = (before - there).max(there - after).max(0);
    let told = format!("ClickHouse's clock and ours are {:.1} s apart", apart as f64 / 1_000.0);
    ensure!(
        apart as u128 <= CLOCKS_MAY_DIFFER.as_millis(),
        "{told}, expected at most {} s",
        CLOCKS_MAY_DIFFER.as_secs()
    );
    Ok(told)
}

async fn disks(store: &Store) -> anyhow::Result<String> {
    let sql = "SELECT name, unreserved_space, total_space FROM system.disks WHERE total_space > 0 ORDER BY name";
    let disks = store.server().query(sql).fetch_all::<(String, u64, u64)>().await;
    let mut told = Vec::new();
    for (name, free, total) in disks.context("system.disks cannot be read")? {
        let this = format!("disk {name} has {} GB of {} GB free", free >> 30, total >> 30);
        if (free as f64) < total as f64 * NEEDED_SHARE {
            bail!("{this}, expected at least {:.0} %", NEEDED_SHARE * 100.0);
        }
        told.push(this);
    }
    Ok(told.join("; "))
}

async fn workers(store: &Store, topic: &str) -> anyhow::Result<String> {
    ensure!(
        store.has_worker().await?,
        "no ingest worker has told its progress in the last 10 s"
    );
    let sql = "SELECT toUInt64(sum(end_offset - least(committed_offset, end_offset))), uniqExact(worker), count() \
               FROM ingest_progress FINAL WHERE kafka_topic = ?";
    let (lag, workers, partitions) = store
        .client()
        .query(sql)
        .bind(topic)
        .fetch_one::<(u64, u64, u64)>()
        .await?;
    Ok(format!(
        "{workers} at work on {partitions} partitions, {lag} messages behind"
    ))
}

async fn notices(store: &Store) -> anyhow::Result<String> {
    match targets::waiting_notices(store).await? {
        None => Ok("none waits for the webhook".to_owned()),
        Some(told) => bail!("{told}"),
    }
}
