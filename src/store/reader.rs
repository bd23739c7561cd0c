//! The user who may read the views of the numbers and nothing under them, on a ClickHouse server: `clickhouse.reader`.
//!
//! The views run with the rights of whoever migrates (`SQL SECURITY DEFINER`), so that a grant on them is enough. The embedded engine knows
//! no second user; its HTTP interface does the same (`embedded::clickhouse::reader`).

use anyhow::Context;
use clickhouse::sql::Identifier;
use sha2::{Digest, Sha256};

use super::cluster::Cluster;
use super::{Store, numbers};
use crate::config;

/// `readonly = 2`: may set what clients set (`max_execution_time`), within these bounds, and write nothing.
const LIMITS: &str = "readonly = 2, max_execution_time = 30 MIN 1 MAX 60, max_memory_usage = 1000000000 READONLY, max_result_rows = 1000000 READONLY";

/// Creates the reader that `config` names, or brings it up to date; nothing where it names none.
pub async fn create(store: &Store, config: &config::ClickHouse) -> anyhow::Result<()> {
    let reader = &config.reader;
    if reader.user.is_empty() {
        return Ok(());
    }
    let on = store.cluster().map(Cluster::on).unwrap_or_default();
    let slow = numbers::slow_planning_of(store.client())
        .await
        .context("system.settings cannot be read")?;
    let planning: String = slow.iter().map(|step| format!(", {step} = 0")).collect();
    let hash = hex(&Sha256::digest(reader.password.expose()));
    // ALTER as well: the password may be a new one. The hash is written so that no log of ClickHouse holds the password.
    for verb in ["CREATE USER IF NOT EXISTS", "ALTER USER"] {
        let sql = format!("{verb} ? {on} IDENTIFIED WITH sha256_hash BY '{hash}' SETTINGS {LIMITS}{planning}");
        let query = store.client().query(&sql).bind(Identifier(&reader.user));
        let place = || format!("clickhouse.reader.user = \"{}\": {verb}", reader.user);
        query.execute().await.with_context(place)?;
    }
    for view in numbers::names() {
        let query = store.client().query(&format!("GRANT {on} SELECT ON ?.? TO ?"));
        let query = query.bind(Identifier(store.database())).bind(Identifier(view));
        let place = || format!("clickhouse.reader.user = \"{}\": GRANT SELECT ON {view}", reader.user);
        query
            .bind(Identifier(&reader.user))
            .execute()
            .await
            .with_context(place)?;
    }
    Ok(())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
