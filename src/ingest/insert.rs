//! The insert of one batch: the same bytes under the same token until the outcome is known (architecture.md, guarantee 3).

use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use clickhouse::Compression;
use uuid::Uuid;

use super::rows;
use crate::metrics::{IngestMetrics, OutcomeLabel};
use crate::store::Store;
use crate::store::running::INGEST_COMMENT;

/// ClickHouse error codes that the same bytes will meet again: wrong table, column, type, format, right or setting.
const PERMANENT: [u32; 16] = [6, 16, 26, 27, 33, 36, 44, 47, 53, 60, 62, 81, 115, 117, 497, 516];

/// ClickHouse will not take these rows, however often they are sent: a mistake of the installation or of this program.
#[derive(Debug, thiserror::Error)]
#[error("ClickHouse refuses the rows for good: {0}")]
pub struct PermanentRefusal(String);

/// Inserts batches for one worker. A token is the worker's own id and a running number, so it is never used for other data.
pub struct Inserter {
    store: Store,
    topic: String,
    worker: Uuid,
}

/// What `log_comment` of an insert begins with; see `takeover`.
pub fn comment_prefix(topic: &str) -> String {
    format!("{INGEST_COMMENT}topic={topic} ")
}

impl Inserter {
    pub fn new(store: &Store, topic: &str, worker: Uuid) -> Self {
        Self {
            store: store.clone(),
            topic: topic.to_owned(),
            worker,
        }
    }

    /// One attempt. An error leaves open whether the rows are stored, unless it is a [`PermanentRefusal`].
    pub async fn insert(
        &self,
        number: u64,
        partitions: impl Iterator<Item = i32>,
        body: &[Bytes],
        metrics: &IngestMetrics,
    ) -> anyhow::Result<()> {
        let token = format!("{}:{number}", self.worker);
        let mut comment = comment_prefix(&self.topic) + "partitions=,";
        for partition in partitions {
            comment += &format!("{partition},");
        }
        let started = Instant::now();
        let Err(error) = self.send(&token, &comment, body).await else {
            metrics.inserts.get_or_create(&OutcomeLabel { outcome: "stored" }).inc();
            metrics.insert_seconds.observe(started.elapsed().as_secs_f64());
            return Ok(());
        };
        metrics.inserts.get_or_create(&OutcomeLabel { outcome: "failed" }).inc();
        if code_of(&error).is_some_and(|code| PERMANENT.contains(&code)) {
            return Err(PermanentRefusal(error.to_string()).into());
        }
        Err(error).with_context(|| format!("insert {token}"))
    }

    async fn send(&self, token: &str, comment: &str, body: &[Bytes]) -> Result<(), clickhouse::error::Error> {
        let sql = format!("INSERT INTO raw_events ({}) FORMAT Native", rows::columns());
        // Compressing costs the worker more than it saves on any network that carries the events to Kafka.
        let client = with_settings(self.store.spreading())
            .with_compression(Compression::None)
            .with_setting("insert_deduplication_token", token)
            .with_setting("log_comment", comment);
        let mut insert = client
            .insert_formatted_with(sql)
            .with_timeouts(None, Some(Duration::from_secs(120)));
        for piece in body {
            insert.send(piece.clone()).await?;
        }
        insert.end().await
    }
}

/// How ClickHouse takes a batch: [`SETTINGS`], and what is only faster.
pub fn with_settings(client: clickhouse::Client) -> clickhouse::Client {
    SETTINGS
        .iter()
        .chain(&FASTER)
        .fold(client, |client, (name, value)| client.with_setting(*name, *value))
}

/// A batch has no repeats and a view no two rows of one key: to look for them in every insert finds nothing.
const FASTER: [(&str, &str); 1] = [("optimize_on_insert", "0")];

/// Name and value of what the guarantees rest on; checked against the server at start. The last three keep one INSERT one block
/// for each table partition.
pub const SETTINGS: [(&str, &str); 8] = [
    ("async_insert", "0"),
    ("insert_deduplicate", "1"),
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    ("parallel_view_processing", "1"),
    ("max_partitions_per_insert_block", "0"),
    ("max_insert_block_size", "100000000"),
    ("min_insert_block_size_rows", "100000000"),
    ("min_insert_block_size_bytes", "10000000000"),
];

/// The code in ClickHouse's error text, `Code: 60. DB::Exception: …`.
fn code_of(error: &clickhouse::error::Error) -> Option<u32> {
    let text = error.to_string();
    let rest = &text[text.find("Code: ")? + "Code: ".len()..];
    rest.split('.').next()?.trim().parse().ok()
}
