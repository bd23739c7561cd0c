//! The audit log as stored.

use clickhouse::Row;
use serde::{Deserialize, Serialize};

use super::Store;

/// A row of `audit`; the one with the greatest `step` of an id counts.
#[derive(Debug, Clone, Row, Serialize, Deserialize)]
pub struct AuditRow {
    /// A UUID of version 7.
    pub id: String,
    pub step: u8,
    /// Milliseconds since 1970-01-01T00:00Z.
    pub at: i64,
    pub kind: String,
    pub who: String,
    pub roles: Vec<String>,
    pub action: String,
    pub object: String,
    pub outcome: String,
    /// JSON; empty before the change is over.
    pub detail: String,
}

impl Store {
    /// Returns when it is on disk.
    pub async fn write_audit(&self, row: &AuditRow) -> anyhow::Result<()> {
        let client = self.client().clone().with_setting("async_insert", "0");
        let mut insert = client.insert::<AuditRow>("audit").await?;
        insert.write(row).await?;
        Ok(insert.end().await?)
    }

    /// The newest entries, newest first; those older than `before`, where it is given.
    pub async fn audit(&self, before: Option<&str>, limit: usize) -> anyhow::Result<Vec<AuditRow>> {
        let sql = "SELECT ?fields FROM audit WHERE {before:String} = '' OR id < {before:String} \
            ORDER BY id DESC, step DESC LIMIT 1 BY id LIMIT {limit:UInt64}";
        let question = self.client().query(sql).param("before", before.unwrap_or_default());
        Ok(question.param("limit", limit as u64).fetch_all().await?)
    }
}
