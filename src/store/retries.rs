//! Which rejects have been sent again.

use std::collections::HashMap;

use clickhouse::Row;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Store;

/// A row of `retries`.
#[derive(Debug, Row, Serialize)]
pub struct Retry {
    pub refusal: [u8; 16],
    pub kafka_topic: String,
    pub kafka_partition: u16,
    pub kafka_offset: u64,
    /// Milliseconds since 1970-01-01T00:00Z.
    pub retried_at: i64,
}

#[derive(Row, Deserialize)]
struct Retried {
    refusal: [u8; 16],
    retried_at_ms: i64,
}

impl Store {
    /// Refusal → when it was last sent again.
    pub async fn retries(&self) -> anyhow::Result<HashMap<u128, Timestamp>> {
        let sql =
            "SELECT refusal, toUnixTimestamp64Milli(max(retried_at)) AS retried_at_ms FROM retries GROUP BY refusal";
        let rows: Vec<Retried> = self.client().query(sql).fetch_all().await?;
        let entry = |row: Retried| {
            let at = Timestamp::from_millisecond(row.retried_at_ms).unwrap_or_default();
            (u128::from_be_bytes(row.refusal), at)
        };
        Ok(rows.into_iter().map(entry).collect())
    }

    /// Returns when they are on disk.
    pub async fn note_retries(&self, retries: &[Retry]) -> anyhow::Result<()> {
        if retries.is_empty() {
            return Ok(());
        }
        let client = self.client().clone().with_setting("async_insert", "0");
        let mut insert = client.insert::<Retry>("retries").await?;
        for retry in retries {
            insert.write(retry).await?;
        }
        Ok(insert.end().await?)
    }
}
