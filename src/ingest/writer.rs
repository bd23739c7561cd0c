//! Writing one batch: rows, then dead letters, then the commit of exactly what the batch covers (architecture.md,
//! guarantee 1). This is the only place that moves an offset.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use jiff::Timestamp;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::batch::{Batch, Covered};
use super::dead_letter::{self, DeadLetters};
use super::insert::{Inserter, PermanentRefusal};
use super::progress::Progress;
use super::zones::Zones;
use crate::config::Config;
use crate::metrics::IngestMetrics;
use crate::store::{Store, rebuild};

const COMMIT_AGAIN: Duration = Duration::from_millis(500);

/// Writes the batches of one session.
pub struct Writer {
    store: Store,
    topic: String,
    inserter: Inserter,
    dead_letters: DeadLetters,
    zones: watch::Receiver<Arc<Zones>>,
    metrics: IngestMetrics,
    liveness: Liveness,
    abort: CancellationToken,
    batches: AtomicU64,
}

/// Whether the polling thread still polls: a worker that may have lost its partitions must not send (guarantee 4).
#[derive(Clone)]
pub struct Liveness {
    started: Instant,
    last_poll_ms: Arc<AtomicU64>,
    limit: Duration,
}

impl Liveness {
    pub fn new(limit: Duration) -> Self {
        Self {
            started: Instant::now(),
            last_poll_ms: Arc::default(),
            limit,
        }
    }

    pub fn polled(&self) {
        self.last_poll_ms
            .store(self.started.elapsed().as_millis() as u64, Ordering::Release);
    }

    fn check(&self) -> anyhow::Result<()> {
        let last = Duration::from_millis(self.last_poll_ms.load(Ordering::Acquire));
        let silent = self.started.elapsed().saturating_sub(last);
        if silent >= self.limit {
            bail!(
                "Kafka was not polled for {} s: the partitions may have another owner",
                silent.as_secs()
            );
        }
        Ok(())
    }
}

/// The group has gone on without this worker: what it read is read again by the new owner.
fn ends_membership(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::FencedInstanceId
                | RDKafkaErrorCode::UnknownGroup
        )
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
        store: &Store,
        zones: watch::Receiver<Arc<Zones>>,
        metrics: IngestMetrics,
        liveness: Liveness,
        abort: CancellationToken,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            store: store.clone(),
            topic: config.kafka.topic.clone(),
            inserter: Inserter::new(store, &config.kafka.topic, Uuid::new_v4()),
            dead_letters: DeadLetters::new(&config.kafka)?,
            zones,
            metrics,
            liveness,
            abort,
            batches: AtomicU64::new(0),
        })
    }

    /// Returns once every row is stored, every dead letter is acknowledged and the offsets are committed.
    pub async fn write<C: ConsumerContext + 'static>(
        &self,
        mut batch: Batch,
        consumer: Arc<BaseConsumer<C>>,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        if batch.row_count > 0 {
            self.insert(&mut batch).await?;
        }
        if !batch.dead_letters.is_empty() {
            self.dead_letters.publish(&batch.dead_letters).await?;
            dead_letter::record(&self.store, &self.topic, &batch.dead_letters)
                .await
                .context("dead letters cannot be recorded in ClickHouse")?;
        }
        self.commit(&batch.covered, consumer).await?;
        progress.committed(&batch.covered);
        self.count(&batch);
        Ok(())
    }

    /// Repeats until Kafka has it, as long as this membership lasts. While Kafka is away the batch stays in its slot, and
    /// that holds the worker back.
    async fn commit<C: ConsumerContext + 'static>(
        &self,
        covered: &BTreeMap<i32, Covered>,
        consumer: Arc<BaseConsumer<C>>,
    ) -> anyhow::Result<()> {
        let mut offsets = TopicPartitionList::new();
        for (&partition, covered) in covered {
            offsets.add_partition_offset(&self.topic, partition, Offset::Offset(covered.next_offset))?;
        }
        loop {
            let (consumer, offsets) = (consumer.clone(), offsets.clone());
            let commit = tokio::task::spawn_blocking(move || consumer.commit(&offsets, CommitMode::Sync));
            match commit.await? {
                Ok(()) => return Ok(()),
                Err(error) if ends_membership(&error) => return Err(error).context("offsets were not committed"),
                Err(error) => tracing::warn!(%error, "offsets were not committed and are committed again"),
            }
            if self
                .abort
                .run_until_cancelled(tokio::time::sleep(COMMIT_AGAIN))
                .await
                .is_none()
            {
                bail!("the commit was given up");
            }
        }
    }

    fn count(&self, batch: &Batch) {
        let now_ms = Timestamp::now().as_millisecond();
        self.metrics.events.inc_by(batch.row_count as u64);
        self.metrics.repeats.inc_by(batch.repeats as u64);
        self.metrics.last_commit.set(now_ms as f64 / 1_000.0);
        self.metrics
            .end_to_end_seconds
            .observe((now_ms - batch.oldest_kafka_ms).max(0) as f64 / 1_000.0);
    }

    async fn insert(&self, batch: &mut Batch) -> anyhow::Result<()> {
        let rows = batch.take_rows();
        self.metrics.batch_rows.observe(batch.row_count as f64);
        self.metrics.batch_bytes.observe(rows.len() as f64);
        let number = self.batches.fetch_add(1, Ordering::Relaxed);
        let partitions = batch.covered.keys().copied();
        let may_send = || self.liveness.check();
        self.inserter
            .insert(number, partitions, rows, &self.metrics, may_send, &self.abort)
            .await?;
        self.request_rebuilds(batch).await
    }

    /// A zone that was changed while this batch was under way: its rows stand under the old zone and must be derived again.
    async fn request_rebuilds(&self, batch: &Batch) -> anyhow::Result<()> {
        let current = self.zones.borrow().clone();
        if Arc::ptr_eq(&current, &batch.zones) {
            return Ok(());
        }
        let changed: Vec<_> = batch.zones.changed_in(&current).map(str::to_owned).collect();
        for system in changed {
            rebuild::request(&self.store, &system).await?;
        }
        Ok(())
    }
}
