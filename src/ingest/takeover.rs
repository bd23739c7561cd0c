//! Taking over a partition: wait until no insert of a previous owner is running, then remember what was stored
//! (architecture.md, guarantee 2).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clickhouse::Row;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::identity::IdentityMemory;
use super::insert::comment_prefix;
use crate::event::Identity;
use crate::store::Store;

const POLL: Duration = Duration::from_millis(50);
const RETRY: Duration = Duration::from_secs(1);

/// What a takeover needs.
#[derive(Clone)]
pub struct Takeover {
    pub store: Store,
    pub topic: String,
    pub identity_memory: usize,
    pub kafka_timeout: Duration,
}

#[derive(Row, Deserialize)]
struct StoredIdentity {
    identity: [u8; 16],
}

impl Takeover {
    /// Repeats until it succeeds; `None` when told to abort. Gives each partition's memory.
    pub async fn run<C: ConsumerContext + 'static>(
        &self,
        consumer: Arc<BaseConsumer<C>>,
        partitions: &[i32],
        abort: &CancellationToken,
    ) -> Option<BTreeMap<i32, IdentityMemory>> {
        let started = Instant::now();
        loop {
            let error = match abort
                .run_until_cancelled(self.attempt(consumer.clone(), partitions))
                .await?
            {
                Ok(memories) => {
                    let known: usize = memories.values().map(IdentityMemory::len).sum();
                    let took_ms = started.elapsed().as_millis() as u64;
                    tracing::info!(?partitions, identities = known, took_ms, "partitions are taken over");
                    return Some(memories);
                }
                Err(error) => error,
            };
            tracing::warn!(
                ?partitions,
                error = format!("{error:#}"),
                "partitions cannot be taken over yet"
            );
            abort.run_until_cancelled(tokio::time::sleep(RETRY)).await?;
        }
    }

    async fn attempt<C: ConsumerContext + 'static>(
        &self,
        consumer: Arc<BaseConsumer<C>>,
        partitions: &[i32],
    ) -> anyhow::Result<BTreeMap<i32, IdentityMemory>> {
        let committed = self.committed(consumer, partitions).await?;
        self.wait_for_inserts(partitions).await?;
        let mut memories = BTreeMap::new();
        for (partition, offset) in committed {
            memories.insert(partition, self.remember(partition, offset).await?);
        }
        Ok(memories)
    }

    /// The committed offset of each partition; 0 where nothing was committed.
    async fn committed<C: ConsumerContext + 'static>(
        &self,
        consumer: Arc<BaseConsumer<C>>,
        partitions: &[i32],
    ) -> anyhow::Result<Vec<(i32, u64)>> {
        let mut asked = TopicPartitionList::new();
        for &partition in partitions {
            asked.add_partition(&self.topic, partition);
        }
        let timeout = self.kafka_timeout;
        let committed = tokio::task::spawn_blocking(move || consumer.committed_offsets(asked, timeout))
            .await?
            .with_context(|| {
                format!(
                    "Kafka did not tell the committed offsets within {} s",
                    timeout.as_secs()
                )
            })?;
        let offset = |offset| {
            if let Offset::Offset(offset) = offset {
                offset.max(0) as u64
            } else {
                0
            }
        };
        Ok(committed
            .elements()
            .iter()
            .map(|element| (element.partition(), offset(element.offset())))
            .collect())
    }

    /// An insert that was sent before the takeover either is visible in `system.processes` until it ends, or has ended.
    async fn wait_for_inserts(&self, partitions: &[i32]) -> anyhow::Result<()> {
        let sql = "SELECT count() FROM system.processes WHERE startsWith(Settings['log_comment'], ?) \
            AND arrayExists(p -> position(Settings['log_comment'], concat(',', toString(p), ',')) > 0, ?)";
        let prefix = comment_prefix(&self.topic);
        loop {
            let running: u64 = self
                .store
                .client()
                .query(sql)
                .bind(&prefix)
                .bind(partitions)
                .fetch_one()
                .await?;
            if running == 0 {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// In the order in which they were stored, so that the newest are remembered also where a topic was made anew and its
    /// offsets began again.
    async fn remember(&self, partition: i32, committed: u64) -> anyhow::Result<IdentityMemory> {
        let from = committed.saturating_sub(self.identity_memory as u64);
        let sql = "SELECT identity FROM events WHERE kafka_topic = ? AND kafka_partition = ? AND kafka_offset >= ? \
            ORDER BY ingested_at, kafka_offset";
        let query = self
            .store
            .client()
            .query(sql)
            .bind(&self.topic)
            .bind(partition)
            .bind(from);
        let mut rows = query.fetch::<StoredIdentity>()?;
        let mut memory = IdentityMemory::new(self.identity_memory);
        while let Some(row) = rows.next().await? {
            memory.remember(Identity(u128::from_be_bytes(row.identity)));
        }
        Ok(memory)
    }
}
