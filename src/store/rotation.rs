//! Rotating the secret: every pseudonym and tombstone that is stored is enciphered under the last line of the secret (`pseudonym`).
//!
//! 1. What each of them becomes is written to `rotating`.
//! 2. The new secret is remembered beside the old one. From then on nothing starts, with either, but what ends the rotation.
//! 3. Each partition of each table is copied with the new pseudonyms and takes the place of the old one, in one step.
//! 4. `rotating` is emptied, and the old secret forgotten.
//!
//! Every step may be repeated: what is not in `rotating` as the one before stays as it is, so a partition that has been exchanged comes out the same.
//! Raw events and sets of users hold ordinals and stay.

use std::collections::HashSet;

use anyhow::Context;
use clickhouse::Row;
use serde::{Deserialize, Serialize};

use super::Store;
use super::cluster::Cluster;
use super::reader::hex;
use super::secret::{self, Standing};
use crate::error::BadInput;
use crate::pseudonym::Pseudonymizer;

/// Every table that holds pseudonyms or tombstones, and the column that does.
pub const TABLES: [(&str, &str); 6] = [
    ("ordinals", "user"),
    ("split_users", "user"),
    ("roster", "user"),
    ("training", "user"),
    ("erased_events", "user"),
    ("erased", "tombstone"),
];

#[derive(Row, Deserialize)]
struct Stored {
    value: [u8; 16],
}

/// What a rotation changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rotated {
    /// Pseudonyms and tombstones.
    pub users: u64,
    pub rows: u64,
}

#[derive(Row, Serialize)]
struct Change {
    before: [u8; 16],
    after: [u8; 16],
}

/// Whether the secret has a line that the stored pseudonyms do not know, or not all of them.
pub async fn is_due(store: &Store, key: &Pseudonymizer) -> anyhow::Result<bool> {
    let standing = secret::standing(store, key).await?;
    Ok(matches!(standing, Standing::Rotated | Standing::HalfRotated))
}

/// Does what [`is_due`]. No other process may use the old secret: what it writes meanwhile would stay under the old pseudonyms. `tell` gets
/// the name of each table before it is rewritten.
pub async fn run(store: &Store, key: &Pseudonymizer, mut tell: impl FnMut(&str)) -> anyhow::Result<Rotated> {
    match secret::standing(store, key).await? {
        Standing::Rotated => begin(store, key).await?,
        Standing::HalfRotated => {}
        Standing::Unused | Standing::Same | Standing::Other(_) => {
            secret::is_known(store, key).await?;
            return Err(BadInput::new("privacy.secret: nothing to rotate: it has no line that is new").into());
        }
    }
    let mut rows = 0;
    for (table, column) in TABLES {
        tell(table);
        let rewritten = rewrite(store, table, column).await;
        rows += rewritten.with_context(|| format!("pseudonyms of {table}"))?;
    }
    let users = number(store, "SELECT count() FROM rotating").await?;
    execute(store, "TRUNCATE TABLE rotating").await?;
    let forget = "ALTER TABLE pseudonym_keys DELETE WHERE fingerprint != unhex({fingerprint:String}) SETTINGS mutations_sync = 2";
    let forget = store.client().query(forget);
    forget.param("fingerprint", hex(&key.fingerprint())).execute().await?;
    Ok(Rotated { users, rows })
}

async fn begin(store: &Store, key: &Pseudonymizer) -> anyhow::Result<()> {
    if number(store, "SELECT count() FROM erasing").await? > 0 {
        let refused = "an erasure was cut off: with the former secret, erase the same user again, then rotate";
        return Err(BadInput::new(refused).into());
    }
    // Left by one that was cut off before it was remembered.
    execute(store, "TRUNCATE TABLE rotating").await?;
    let mut changes = HashSet::new();
    for (table, column) in TABLES {
        let sql = format!("SELECT DISTINCT {column} AS value FROM {table}");
        let mut rows = store.client().query(&sql).fetch::<Stored>()?;
        while let Some(Stored { value }) = rows.next().await? {
            changes.insert(value);
        }
    }
    let client = store.client().clone().with_setting("async_insert", "0");
    let mut insert = client.insert::<Change>("rotating").await?;
    for before in changes {
        let after = key.rotated(before);
        insert.write(&Change { before, after }).await?;
    }
    insert.end().await?;
    secret::remember(store, key).await
}

/// Returns how many rows that is.
async fn rewrite(store: &Store, table: &str, column: &str) -> anyhow::Result<u64> {
    let copy = format!("rotated_{table}");
    drop_copy(store, &copy).await?;
    create_copy(store, table, &copy).await?;
    let partitions = format!("SELECT DISTINCT _partition_id FROM {table} ORDER BY _partition_id");
    let partitions: Vec<String> = store.client().query(&partitions).fetch_all().await?;
    let mut rows = 0;
    for partition in partitions {
        let insert = format!(
            "INSERT INTO {copy} SELECT t.* REPLACE (if(changes, after, t.{column}) AS {column}) FROM {table} AS t \
             ANY LEFT JOIN (SELECT before, after, true AS changes FROM rotating) AS r ON t.{column} = r.before \
             WHERE t._partition_id = '{partition}'"
        );
        execute(store, &insert).await?;
        rows += number(store, &format!("SELECT count() FROM {copy}")).await?;
        execute(
            store,
            &format!("ALTER TABLE {table} REPLACE PARTITION ID '{partition}' FROM {copy}"),
        )
        .await?;
        execute(store, &format!("TRUNCATE TABLE {copy}")).await?;
    }
    drop_copy(store, &copy).await?;
    Ok(rows)
}

/// A table like `table`, on every server that holds that one.
async fn create_copy(store: &Store, table: &str, copy: &str) -> anyhow::Result<()> {
    let sql = "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = ?";
    let engine: String = store.client().query(sql).bind(table).fetch_one().await?;
    // A replicated table has a place of its own in Keeper.
    let engine = engine.replace(&format!("/{table}'"), &format!("/{copy}'"));
    let on = store.cluster().map(Cluster::on).unwrap_or_default();
    execute(store, &format!("CREATE TABLE {copy} {on} AS {table} ENGINE = {engine}")).await
}

async fn drop_copy(store: &Store, copy: &str) -> anyhow::Result<()> {
    let on = store.cluster().map(Cluster::on).unwrap_or_default();
    execute(store, &format!("DROP TABLE IF EXISTS {copy} {on} SYNC")).await
}

async fn execute(store: &Store, sql: &str) -> anyhow::Result<()> {
    let query = store.client().query_raw(sql);
    // The copy of a large month may take long, and has no repeats to look for.
    let query = query
        .with_setting("max_execution_time", "0")
        .with_setting("insert_deduplicate", "0");
    Ok(query.execute().await?)
}

async fn number(store: &Store, sql: &str) -> anyhow::Result<u64> {
    Ok(store.client().query(sql).fetch_one().await?)
}
