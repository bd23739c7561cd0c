//! Deriving a system's rollups again after its time zone was defined or changed.
//!
//! Raw events keep the zone their worker used. Rollup rows of that zone stay as they are and are simply not read any more;
//! what they stood for is derived from `raw_events` into rows of the current zone with `rebuilt = 1`. These are deleted and
//! derived whole, month by month, so that a rebuild which was cut off is run again and ends the same. `rebuilds` tells how
//! far it is; one worker at a time does it, the owner of partition 0.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Store;
use super::rollups::{RAW_COLUMNS, RAW_TABLES, ROLLUPS, Rollup};

const LOOK: Duration = Duration::from_secs(1);

/// Asks for a rebuild of `system`, whatever its last one was.
pub async fn request(store: &Store, system: &str) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let row = Progress {
        system,
        zone: "",
        started_at: now,
        done: 0,
        total: 0,
        finished: false,
    };
    row.store(store).await.context("a rebuild cannot be requested")
}

/// Runs rebuilds where they are needed, as long as `maintainer` says that this worker is the one to do it. `knows` says
/// whether this worker already counts the events of a system in that zone: what it counts before would be missed.
pub async fn watch(
    store: Store,
    maintainer: Arc<AtomicBool>,
    knows: impl Fn(&str, &str) -> bool,
    shutdown: CancellationToken,
) {
    while shutdown.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        if !maintainer.load(Ordering::Acquire) {
            continue;
        }
        match shutdown.run_until_cancelled(run_due(&store, &knows)).await {
            None | Some(Ok(())) => {}
            Some(Err(error)) => tracing::warn!(error = format!("{error:#}"), "a rebuild failed and is tried again"),
        }
    }
}

/// Runs every rebuild that is due: the zone is another one than the last rebuild's, or that one was not finished.
async fn run_due(store: &Store, knows: impl Fn(&str, &str) -> bool) -> anyhow::Result<()> {
    let sql = "SELECT s.system, s.zone FROM \
         (SELECT system, argMax(zone, version) AS zone FROM systems GROUP BY system) AS s \
         LEFT JOIN (SELECT system, argMax(zone, (started_at, updated_at)) AS built, \
             argMax(finished, (started_at, updated_at)) AS done FROM rebuilds GROUP BY system) AS r ON r.system = s.system \
         WHERE r.built != s.zone OR r.done = 0";
    let due = store.client().query(sql).fetch_all::<(String, String)>().await?;
    for (system, zone) in due.into_iter().filter(|(system, zone)| knows(system, zone)) {
        run(store, &system, &zone)
            .await
            .with_context(|| format!("rebuild of {system} in {zone}"))?;
    }
    Ok(())
}

async fn run(store: &Store, system: &str, zone: &str) -> anyhow::Result<()> {
    let mut progress = Progress {
        system,
        zone,
        started_at: Timestamp::now(),
        done: 0,
        total: 0,
        finished: false,
    };
    progress.store(store).await?;
    for rollup in &ROLLUPS {
        clear(store, system, rollup.table).await?;
    }
    let sql = "SELECT DISTINCT toYYYYMM(time) AS month FROM \
        (SELECT time FROM raw_events WHERE system = {system:String} AND zone != {zone:String} UNION ALL \
         SELECT time FROM erased_events WHERE system = {system:String} AND zone != {zone:String}) ORDER BY month";
    let months = store.client().query(sql).param("system", system).param("zone", zone);
    let months: Vec<u32> = months.fetch_all().await?;
    progress.total = months.len() as u32;
    for month in months {
        for rollup in &ROLLUPS {
            derive(store, system, zone, month, rollup).await?;
        }
        progress.done += 1;
        progress.store(store).await?;
    }
    progress.finished = true;
    progress.store(store).await?;
    tracing::info!(system, zone, months = progress.total, "rollups are rebuilt");
    Ok(())
}

/// Removes what an earlier rebuild wrote. A mutation touches every part, so it is only started where there is something.
async fn clear(store: &Store, system: &str, table: &str) -> anyhow::Result<()> {
    let which = "WHERE system = ? AND rebuilt = 1";
    let count = format!("SELECT count() FROM {table} {which}");
    if store.client().query(&count).bind(system).fetch_one::<u64>().await? > 0 {
        let (stored, on) = store.stored(table);
        let delete = format!("DELETE FROM {stored} {on} {which} SETTINGS mutations_sync = 2");
        store.client().query(&delete).bind(system).execute().await?;
    }
    Ok(())
}

async fn derive(store: &Store, system: &str, zone: &str, month: u32, rollup: &Rollup) -> anyhow::Result<()> {
    let events = RAW_TABLES.map(|raw| {
        format!(
            "SELECT {RAW_COLUMNS}, toUInt8(1) AS rebuilt, toDate(time, {{zone:String}}) AS day, toHour(time, {{zone:String}}) AS hour \
             FROM {raw} \
             WHERE system = {{system:String}} AND zone != {{zone:String}} AND toYYYYMM(time) = {{month:UInt32}}"
        )
    });
    let events = events.join(" UNION ALL ");
    let (table, columns, rows) = (rollup.table, rollup.columns(), rollup.derived_from(&events));
    let sql = format!("INSERT INTO {table} ({columns}) SELECT {{system:String}}, {{zone:String}}, * FROM ({rows})");
    let query = store.spreading().query(&sql).with_setting("insert_deduplicate", "0");
    query
        .param("system", system)
        .param("zone", zone)
        .param("month", month)
        .execute()
        .await?;
    Ok(())
}

/// Whether the rollups of `system` stand in `zone` and no rebuild of them is due or under way. The zone of a system that is
/// not defined is `''`, and never rebuilt.
pub async fn is_settled(store: &Store, system: &str, zone: &str) -> anyhow::Result<bool> {
    let sql = "SELECT zone = {zone:String} AND (zone = '' OR (built = zone AND finished = 1)) FROM \
        (SELECT argMax(zone, version) AS zone FROM systems WHERE system = {system:String}) AS defined \
        CROSS JOIN (SELECT argMax(zone, (started_at, updated_at)) AS built, argMax(finished, (started_at, updated_at)) AS finished \
            FROM rebuilds WHERE system = {system:String}) AS newest";
    let query = store.client().query(sql).param("system", system).param("zone", zone);
    Ok(query.fetch_one::<u8>().await? == 1)
}

/// Waits until the rollups of `system` are derived in `zone`, telling months done and in all. `false`: no worker began it
/// in time.
pub async fn wait(
    store: &Store,
    system: &str,
    zone: &str,
    patience: Duration,
    mut tell: impl FnMut(u32, u32),
) -> anyhow::Result<bool> {
    let sql = "SELECT zone, months_done, months_total, finished = 1 FROM rebuilds WHERE system = ? \
        ORDER BY started_at DESC, updated_at DESC LIMIT 1";
    let started = Instant::now();
    loop {
        let newest: Option<(String, u32, u32, u8)> = store.client().query(sql).bind(system).fetch_optional().await?;
        match newest.filter(|(of, ..)| of == zone) {
            Some((.., 1)) => return Ok(true),
            Some((_, done, total, _)) => tell(done, total),
            None if started.elapsed() >= patience => return Ok(false),
            None => {}
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A row of `rebuilds`.
struct Progress<'a> {
    system: &'a str,
    zone: &'a str,
    started_at: Timestamp,
    done: u32,
    total: u32,
    finished: bool,
}

impl Progress<'_> {
    async fn store(&self, store: &Store) -> anyhow::Result<()> {
        let row = json!({
            "system": self.system,
            "zone": self.zone,
            "started_at": format!("{:.3}", self.started_at),
            "updated_at": format!("{:.3}", Timestamp::now()),
            "months_done": self.done,
            "months_total": self.total,
            "finished": u8::from(self.finished),
        });
        let columns = "system, zone, started_at, updated_at, months_done, months_total, finished";
        store.insert_rows("rebuilds", columns, [row]).await
    }
}
