//! The attempts to write a batch: its rows, its dead letters, the commit of exactly what it covers. Which one comes when, and
//! how often, is the [`protocol`](super::protocol)'s to say.

use std::sync::{Arc, OnceLock};

use anyhow::Context;
use jiff::Timestamp;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use uuid::Uuid;

use super::Shared;
use super::batch::Batch;
use super::dead_letter::{self, DeadLetters};
use super::insert::{Inserter, PermanentRefusal};
use super::users::UserKey;
use crate::config::Config;
use crate::metrics::IngestMetrics;
use crate::store::rebuild;

/// Writes the batches of one session.
pub struct Writer {
    shared: Shared,
    topic: String,
    inserter: Inserter,
    dead_letters: DeadLetters,
    metrics: IngestMetrics,
    topic_id: Arc<OnceLock<Uuid>>,
}

/// The group has gone on without this worker: what it read is read again by the new owner. An old generation alone does not say
/// so: it is also met by a worker that keeps its partitions through a rebalance.
pub fn ends_membership(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref().and_then(KafkaError::rdkafka_error_code);
    matches!(
        code,
        Some(RDKafkaErrorCode::UnknownMemberId | RDKafkaErrorCode::FencedInstanceId | RDKafkaErrorCode::UnknownGroup)
    )
}

/// Whether the same work would fail again however often it is tried.
pub fn is_permanent(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<PermanentRefusal>() || matches!(cause.downcast_ref(), Some(KafkaError::ClientCreation(_)))
    })
}

impl Writer {
    pub fn new(
        config: &Config,
        shared: &Shared,
        metrics: IngestMetrics,
        topic_id: Arc<OnceLock<Uuid>>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            topic_id,
            shared: shared.clone(),
            topic: config.kafka.topic.clone(),
            inserter: Inserter::new(&shared.store, &config.kafka.topic, Uuid::new_v4()),
            dead_letters: DeadLetters::new(&config.kafka)?,
            metrics,
        })
    }

    /// Finds the ordinals of the batch's new users, and gives them for the chain to know. Only what is complete can be sent;
    /// the first success is the last, so that what is sent never changes.
    pub async fn complete(&self, batch: &Batch) -> anyhow::Result<Vec<(UserKey, u64)>> {
        if batch.body().is_some() {
            return Ok(Vec::new());
        }
        let ordinals = self.shared.ordinals.resolve(batch.unresolved()).await?;
        batch.complete(&ordinals, &self.topic)
    }

    /// Sends the rows of a batch that is complete, always the same under the same token.
    pub async fn insert(&self, token: u64, batch: &Arc<Batch>) -> anyhow::Result<()> {
        let partitions = batch.covered.keys().copied();
        let body = batch
            .body()
            .context("a batch was to be sent whose users are not resolved")?;
        self.inserter.insert(token, partitions, body, &self.metrics).await?;
        self.request_rebuilds(batch).await
    }

    /// Whether every row of the batch is in `raw_events`. What stands there beside them never makes a missing row look stored.
    pub async fn has_stored(&self, batch: &Batch) -> anyhow::Result<bool> {
        let sql = "SELECT count(), sum(identity) FROM \
            (SELECT DISTINCT identity FROM raw_events WHERE kafka_topic = ? AND kafka_partition IN ? \
                AND ingested_at = fromUnixTimestamp64Milli(?, 'UTC'))";
        let partitions: Vec<i32> = batch.covered.keys().copied().collect();
        let query = self.shared.store.client().query(sql).bind(&self.topic).bind(partitions);
        let (count, sum): (u64, u64) = query.bind(batch.ingested_ms).fetch_one().await?;
        Ok((count, sum) == (batch.row_count as u64, batch.identity_sum))
    }

    /// Returns once every dead letter is acknowledged by Kafka and recorded in ClickHouse. Repeating it is harmless.
    pub async fn publish(&self, batch: &Batch) -> anyhow::Result<()> {
        self.dead_letters.publish(&batch.dead_letters).await?;
        dead_letter::record(&self.shared.store, &self.topic, &batch.dead_letters)
            .await
            .context("dead letters cannot be recorded in ClickHouse")
    }

    /// Whether the topic is still the one that this membership reads; also while that is not known.
    pub async fn is_same_topic(&self) -> bool {
        let Some(&known) = self.topic_id.get() else { return true };
        self.dead_letters
            .topic_id(&self.topic)
            .await
            .is_none_or(|id| id == known)
    }

    /// This is the only place that moves an offset. It goes with the id of its topic: in one that is created anew under the
    /// same name it means nothing.
    pub async fn commit<C: ConsumerContext + 'static>(
        &self,
        batch: &Batch,
        consumer: Arc<BaseConsumer<C>>,
    ) -> anyhow::Result<()> {
        let mut offsets = TopicPartitionList::new();
        for (&partition, covered) in &batch.covered {
            let mut element = offsets.add_partition(&self.topic, partition);
            element.set_offset(Offset::Offset(covered.next_offset))?;
            if let Some(id) = self.topic_id.get() {
                element.set_metadata(id.to_string());
            }
        }
        tokio::task::spawn_blocking(move || consumer.commit(&offsets, CommitMode::Sync)).await??;
        Ok(())
    }

    /// Counts a batch that is written.
    pub fn count(&self, batch: &Batch) {
        let now_ms = Timestamp::now().as_millisecond();
        if batch.row_count > 0 {
            self.metrics.batch_rows.observe(batch.row_count as f64);
            self.metrics.batch_bytes.observe(batch.body_bytes() as f64);
        }
        self.metrics.events.inc_by(batch.row_count as u64);
        self.metrics.repeats.inc_by(batch.repeats as u64);
        self.metrics.last_commit.set(now_ms as f64 / 1_000.0);
        self.metrics
            .end_to_end_seconds
            .observe((now_ms - batch.oldest_kafka_ms).max(0) as f64 / 1_000.0);
        return_memory();
    }

    /// A zone that was changed while this batch was under way: its rows stand under the old zone and must be derived again.
    async fn request_rebuilds(&self, batch: &Batch) -> anyhow::Result<()> {
        let current = self.shared.zones.borrow().clone();
        if Arc::ptr_eq(&current, &batch.zones) {
            return Ok(());
        }
        let changed: Vec<_> = batch.zones.changed_in(&current).map(str::to_owned).collect();
        for system in changed {
            rebuild::request(&self.shared.store, &system).await?;
        }
        Ok(())
    }
}

/// A batch that is written leaves holes of megabytes, which the next one rarely fits: without this a worker grows by a tenth.
fn return_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: frees what nothing owns; may be called at any time by any thread.
    unsafe {
        libc::malloc_trim(0)
    };
}
