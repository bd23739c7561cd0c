//! Taking over a partition: wait until no insert of a previous owner is running, then remember what was stored
//! (architecture.md, guarantee 2).

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clickhouse::Row;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::Deserialize;

use super::identity::IdentityMemory;
use super::insert::comment_prefix;
use crate::event::Identity;
use crate::store::Store;

const POLL: Duration = Duration::from_millis(50);
const RETRY: Duration = Duration::from_secs(1);

/// The steps of a takeover. Each one is repeated until it succeeds.
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

/// Repeats a step until it succeeds; `what` is what could not be done.
async fn persist<T, F: Future<Output = anyhow::Result<T>>>(what: &str, step: impl Fn() -> F) -> T {
    loop {
        match step().await {
            Ok(done) => return done,
            Err(error) => tracing::warn!(error = format!("{error:#}"), "{what} yet"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

impl Takeover {
    /// The committed offset of each partition; 0 where nothing was committed.
    pub async fn committed<C: ConsumerContext + 'static>(
        &self,
        consumer: Arc<BaseConsumer<C>>,
        partitions: &[i32],
    ) -> BTreeMap<i32, u64> {
        let ask = || self.ask_committed(consumer.clone(), partitions);
        persist("the committed offsets are not known", ask).await
    }

    /// An insert that was sent before the takeover either is visible in `system.processes` until it ends, or has ended.
    pub async fn await_inserts(&self, partitions: &[i32]) {
        let running = || self.count_inserts(partitions);
        while persist("the running inserts are not known", &running).await > 0 {
            tokio::time::sleep(POLL).await;
        }
    }

    /// The memory of each partition, read from what was stored at or after its offset and before.
    pub async fn remember(&self, offsets: &BTreeMap<i32, u64>) -> BTreeMap<i32, IdentityMemory> {
        let mut memories = BTreeMap::new();
        for (&partition, &offset) in offsets {
            let read = || self.read_identities(partition, offset);
            memories.insert(partition, persist("the stored identities cannot be read", read).await);
        }
        memories
    }

    async fn ask_committed<C: ConsumerContext + 'static>(
        &self,
        consumer: Arc<BaseConsumer<C>>,
        partitions: &[i32],
    ) -> anyhow::Result<BTreeMap<i32, u64>> {
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

    async fn count_inserts(&self, partitions: &[i32]) -> anyhow::Result<u64> {
        let sql = "SELECT count() FROM system.processes WHERE startsWith(Settings['log_comment'], ?) \
            AND arrayExists(p -> position(Settings['log_comment'], concat(',', toString(p), ',')) > 0, ?)";
        let query = self.store.client().query(sql).bind(comment_prefix(&self.topic));
        Ok(query.bind(partitions).fetch_one().await?)
    }

    /// In the order in which they were stored, so that the newest are remembered also where a topic was made anew and its
    /// offsets began again.
    async fn read_identities(&self, partition: i32, committed: u64) -> anyhow::Result<IdentityMemory> {
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
