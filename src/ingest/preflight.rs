//! The settings that the guarantees rest on, checked before the first message is read (architecture.md, guarantee 6).

use std::collections::HashMap;
use std::iter;

use anyhow::{Context, bail};

use super::insert::{SETTINGS, with_settings};
use crate::store::Store;
use crate::store::cluster::{self, Cluster};
use crate::store::rollups::ROLLUPS;

const WINDOW: &str = "deduplication_window";

/// Refuses a server on which an insert would not be what `insert` promises, naming the setting.
pub async fn check(store: &Store) -> anyhow::Result<()> {
    let client = with_settings(store.client().clone());
    let sql = "SELECT name, value FROM system.settings WHERE name IN ?";
    let names: Vec<&str> = SETTINGS.iter().map(|(name, _)| *name).collect();
    let rows = client.query(sql).bind(names).fetch_all::<(String, String)>().await;
    let effective: HashMap<String, String> = rows
        .context("ClickHouse does not let us set what ingest needs")?
        .into_iter()
        .collect();
    for (name, needed) in SETTINGS {
        match effective.get(name) {
            Some(value) if value == needed => {}
            Some(value) => {
                bail!("ClickHouse setting {name} is {value}, expected {needed}: the server overrides it for our user")
            }
            None => bail!("ClickHouse does not know the setting {name}: expected version 24.8 or newer"),
        }
    }
    if let Some(cluster) = store.cluster() {
        check_replicas(store, cluster).await?;
    }
    // The raw table and every table that a view of it fills.
    let targets: Vec<_> = iter::once("raw_events")
        .chain(ROLLUPS.iter().map(|rollup| rollup.table))
        .map(|table| store.stored(table).0)
        .collect();
    let sql = "SELECT name, create_table_query FROM system.tables WHERE database = ? AND name IN ?";
    let tables = store
        .client()
        .query(sql)
        .bind(store.database())
        .bind(&targets)
        .fetch_all::<(String, String)>();
    let tables: HashMap<String, String> = tables.await?.into_iter().collect();
    for table in targets {
        let definition = tables
            .get(&table)
            .with_context(|| format!("table {table} is missing"))?;
        if !definition.contains(WINDOW) {
            bail!("table {table} has no {WINDOW}: a repeated insert would be counted twice");
        }
    }
    Ok(())
}

/// What an insert was answered for must be seen on every server: [`cluster::QUORUM`].
async fn check_replicas(store: &Store, cluster: &Cluster) -> anyhow::Result<()> {
    let sql = "SELECT max(replica_num), count() FROM system.clusters WHERE cluster = ?";
    let (name, told, most) = (cluster.name(), u64::from(cluster.servers()), cluster::MOST_REPLICAS);
    let (replicas, servers): (u32, u64) = store.client().query(sql).bind(name).fetch_one().await?;
    if servers == 0 {
        bail!("ClickHouse knows no cluster {name}: clickhouse.cluster names one of remote_servers");
    }
    if servers != told {
        bail!(
            "cluster {name} has {servers} servers, but clickhouse.cluster_servers is {told}: an insert would not wait for all"
        );
    }
    if replicas > most {
        bail!(
            "a shard of cluster {name} has {replicas} replicas, expected at most {most}: an insert would be answered before all have it"
        );
    }
    Ok(())
}
