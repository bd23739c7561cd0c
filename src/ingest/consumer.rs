//! One membership in the consumer group: the poll loop, rebalances, commits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::{ClientContext, Statistics};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::batch::Batch;
use super::chain::Chain;
use super::envelope::Envelope;
use super::identity::IdentityMemory;
use super::progress::Progress;
use super::slot::WriteSlot;
use super::takeover::Takeover;
use super::writer::{Liveness, Writer};
use super::zones::Zones;
use crate::config::Config;
use crate::metrics::{IngestMetrics, Metrics};
use crate::store::{Store, topics};

const POLL: Duration = Duration::from_millis(50);
/// A full batch waits for its turn this part of the session timeout before Kafka is paused: to pause throws away what is
/// fetched, and to wait longer would look like a worker that hangs.
const PAUSE_AFTER_PART: u64 = 8;

const COMPLAIN_AGAIN: Duration = Duration::from_secs(10);
/// A message costs less than a microsecond; the rest of the loop is looked at once in so many.
const ROUND: usize = 256;

/// What the poll loop and the rebalance callbacks share. Both run on the polling thread, so the locks are hardly contended.
struct Shared {
    config: Arc<Config>,
    metrics: IngestMetrics,
    chain: Mutex<Chain>,
    slot: WriteSlot,
    writer: Writer,
    liveness: Liveness,
    progress: Arc<Progress>,
    /// The consumer itself, for the commits; gone when the session ends.
    consumer: OnceLock<Weak<GroupConsumer>>,
    /// Assigned, but the takeover has not been started: partition and number of the assignment.
    assigned: Mutex<Vec<(i32, u64)>>,
    failure: Mutex<Option<anyhow::Error>>,
    is_maintainer: Arc<AtomicBool>,
    abort: CancellationToken,
    runtime: tokio::runtime::Handle,
}

struct Callbacks(Arc<Shared>);

type GroupConsumer = BaseConsumer<Callbacks>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientContext for Callbacks {
    fn stats(&self, statistics: Statistics) {
        let shared = &self.0;
        let ready: Vec<i32> = lock(&shared.chain).ready_partitions().collect();
        let topic = &shared.config.kafka.topic;
        shared.progress.observe(
            &statistics,
            topic,
            |partition| ready.contains(&partition),
            &shared.metrics,
        );
    }

    /// The poll loop hears of the same errors.
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka client");
    }
}

impl ConsumerContext for Callbacks {
    fn pre_rebalance(&self, consumer: &GroupConsumer, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            self.0.release(consumer, partitions);
        }
    }

    fn post_rebalance(&self, consumer: &GroupConsumer, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) => self.0.accept(consumer, partitions),
            Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => self.0.fail(anyhow!("rebalance: {error}")),
        }
    }
}

/// One membership in the group, from joining to leaving.
pub struct Session {
    shared: Arc<Shared>,
    consumer: Arc<GroupConsumer>,
    store: Store,
}

impl Session {
    pub fn open(
        config: &Config,
        store: &Store,
        zones: watch::Receiver<Arc<Zones>>,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let config = Arc::new(config.clone());
        let abort = CancellationToken::new();
        let liveness = Liveness::new(Duration::from_millis(config.kafka.session_timeout_ms));
        let ingest = metrics.ingest.clone();
        let writer = Writer::new(
            &config,
            store,
            zones.clone(),
            ingest.clone(),
            liveness.clone(),
            abort.clone(),
        )?;
        let shared = Arc::new(Shared {
            chain: Mutex::new(Chain::new(config.clone(), ingest.clone(), zones)),
            slot: WriteSlot::default(),
            writer,
            liveness,
            progress: Arc::default(),
            consumer: OnceLock::new(),
            assigned: Mutex::default(),
            failure: Mutex::default(),
            is_maintainer: Arc::default(),
            abort,
            runtime: tokio::runtime::Handle::current(),
            metrics: ingest,
            config,
        });
        let consumer = Arc::new(join_group(&shared)?);
        // Set once, here.
        let _first = shared.consumer.set(Arc::downgrade(&consumer));
        Ok(Self {
            shared,
            consumer,
            store: store.clone(),
        })
    }

    /// True while this worker owns partition 0: it does what only one worker may do at a time.
    pub fn is_maintainer(&self) -> Arc<AtomicBool> {
        self.shared.is_maintainer.clone()
    }

    /// Polls until shutdown, then drains. An error means that nothing more may be sent under this membership.
    pub async fn run(self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let Self {
            shared,
            consumer,
            store,
        } = self;
        let reporting = shutdown.child_token();
        let _stop_reporting = reporting.clone().drop_guard();
        let (topic, worker) = (shared.config.kafka.topic.clone(), format!("{}", std::process::id()));
        tokio::spawn(shared.progress.clone().report(store.clone(), topic, worker, reporting));
        let shutdown = shutdown.clone();
        let polling = tokio::task::spawn_blocking(move || {
            let result = shared.poll_loop(&consumer, &store, &shutdown);
            shared.abort.cancel();
            shared.is_maintainer.store(false, Ordering::Release);
            result
        });
        polling.await.context("the polling thread ended with a panic")?
    }
}

fn join_group(shared: &Arc<Shared>) -> anyhow::Result<GroupConsumer> {
    let kafka = &shared.config.kafka;
    let consumer: GroupConsumer = topics::client_config(kafka)
        .set("group.id", &kafka.group_id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", kafka.session_timeout_ms.to_string())
        .set("statistics.interval.ms", "1000")
        // What lies fetched and unread is bounded, whatever the number of partitions.
        .set("queued.max.messages.kbytes", "65536")
        // Its default of a second leaves the worker idle after every time the queue was full.
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.message.max.bytes", "4194304")
        .create_with_context(Callbacks(shared.clone()))
        .with_context(|| format!("Kafka consumer for {}", kafka.brokers))?;
    consumer.subscribe(&[&kafka.topic])?;
    Ok(consumer)
}

impl Shared {
    fn poll_loop(
        self: &Arc<Self>,
        consumer: &Arc<GroupConsumer>,
        store: &Store,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<()> {
        let (finished, takeovers) = mpsc::channel();
        let mut backpressure = Backpressure::default();
        let mut complaints = Complaints::default();
        while !shutdown.is_cancelled() {
            self.liveness.polled();
            self.start_takeovers(consumer, store, &finished);
            if self.finish_takeovers(consumer, &takeovers)? {
                backpressure.paused = false;
            }
            self.collect(Duration::ZERO)?;
            self.hand_over();
            backpressure.regulate(self, consumer)?;
            self.poll_round(consumer, &mut complaints)?;
            if let Some(error) = lock(&self.failure).take() {
                return Err(error);
            }
        }
        let deadline = Instant::now() + Duration::from_millis(self.config.ingest.drain_timeout_ms);
        if let Err(error) = self.drain(deadline) {
            // Nothing is lost: what was not committed is read again by the next owner.
            tracing::warn!(error = format!("{error:#}"), "stopped without finishing the last batch");
        }
        Ok(())
    }

    fn poll_round(&self, consumer: &GroupConsumer, complaints: &mut Complaints) -> anyhow::Result<()> {
        lock(&self.chain).tick();
        for _ in 0..ROUND {
            match consumer.poll(POLL) {
                Some(Ok(message)) => {
                    let mut chain = lock(&self.chain);
                    chain.take(&Envelope::of(&message))?;
                    if chain.is_full() {
                        break;
                    }
                }
                Some(Err(error)) => return complaints.hear(error),
                None => break,
            }
        }
        Ok(())
    }

    /// Starts writing the batch when it is full or old enough and nothing else is being written.
    fn hand_over(self: &Arc<Self>) {
        if lock(&self.chain).is_due() && !self.slot.is_writing() {
            self.start_write();
        }
    }

    fn start_write(self: &Arc<Self>) {
        let Some(consumer) = self.consumer.get().and_then(Weak::upgrade) else {
            return;
        };
        let Some(batch) = self.take_batch() else { return };
        let shared = self.clone();
        self.runtime.spawn(async move {
            let writing = tokio::spawn({
                let shared = shared.clone();
                async move { shared.writer.write(batch, consumer, &shared.progress).await }
            });
            let outcome = writing.await.context("writing a batch ended with a panic").flatten();
            shared.slot.end(outcome);
        });
    }

    /// The current batch, if there is one and nothing else is being written; the slot is its own then.
    fn take_batch(&self) -> Option<Batch> {
        let mut chain = lock(&self.chain);
        if !chain.has_batch() || !self.slot.try_begin() {
            return None;
        }
        chain.take_batch()
    }

    /// Learns how the batch being written ended, waiting for it at most so long.
    fn collect(&self, at_most: Duration) -> anyhow::Result<()> {
        self.slot.outcome(at_most).unwrap_or(Ok(()))
    }

    /// Writes and commits what is under way, all before the deadline.
    fn drain(self: &Arc<Self>, deadline: Instant) -> anyhow::Result<()> {
        for start in [false, true] {
            if start {
                self.start_write();
            }
            self.collect(deadline.saturating_duration_since(Instant::now()))?;
            if self.slot.is_writing() {
                bail!("a batch could not be written and committed before the deadline");
            }
        }
        Ok(())
    }

    /// Partitions are being taken away: drain, commit, let go. Past the deadline nothing is committed and this membership
    /// ends; the next owner takes over from the last commit.
    fn release(self: &Arc<Self>, consumer: &GroupConsumer, partitions: &TopicPartitionList) {
        let deadline = Instant::now() + Duration::from_millis(self.config.ingest.drain_timeout_ms);
        if consumer.assignment_lost() {
            self.fail(anyhow!("the group took the partitions away without waiting"));
        } else if let Err(error) = self.drain(deadline) {
            self.fail(error.context("partitions were revoked"));
        }
        let mut chain = lock(&self.chain);
        for element in partitions.elements() {
            let partition = element.partition();
            chain.revoked(partition);
            self.progress.release(partition, &self.metrics);
        }
        self.note_ownership(&chain);
    }

    /// Partitions are assigned: they stay paused until they are taken over.
    fn accept(&self, consumer: &GroupConsumer, partitions: &TopicPartitionList) {
        if let Err(error) = consumer.pause(partitions) {
            return self.fail(anyhow!(error).context("assigned partitions cannot be paused"));
        }
        let mut chain = lock(&self.chain);
        for element in partitions.elements() {
            let assignment = chain.assigned(element.partition());
            lock(&self.assigned).push((element.partition(), assignment));
        }
        self.note_ownership(&chain);
    }

    fn note_ownership(&self, chain: &Chain) {
        self.metrics.partitions.set(chain.owned_count() as i64);
        self.is_maintainer.store(
            chain.ready_partitions().any(|partition| partition == 0),
            Ordering::Release,
        );
    }

    fn fail(&self, error: anyhow::Error) {
        self.abort.cancel();
        lock(&self.failure).get_or_insert(error);
    }

    fn start_takeovers(&self, consumer: &Arc<GroupConsumer>, store: &Store, finished: &mpsc::Sender<TakenOver>) {
        let assigned = std::mem::take(&mut *lock(&self.assigned));
        if assigned.is_empty() {
            return;
        }
        let takeover = Takeover {
            store: store.clone(),
            topic: self.config.kafka.topic.clone(),
            identity_memory: self.config.ingest.identity_memory,
            kafka_timeout: Duration::from_millis(self.config.kafka.connect_timeout_ms),
        };
        let (consumer, finished, abort) = (consumer.clone(), finished.clone(), self.abort.clone());
        let seconds = self.metrics.takeover_seconds.clone();
        self.runtime.spawn(async move {
            let started = Instant::now();
            let partitions: Vec<i32> = assigned.iter().map(|&(partition, _)| partition).collect();
            if let Some(memories) = takeover.run(consumer, &partitions, &abort).await {
                seconds.observe(started.elapsed().as_secs_f64());
                // The session may have ended meanwhile; then nobody needs the memories.
                let _ended = finished.send(TakenOver { assigned, memories });
            }
        });
    }

    /// Whether any partition was resumed.
    fn finish_takeovers(
        &self,
        consumer: &GroupConsumer,
        takeovers: &mpsc::Receiver<TakenOver>,
    ) -> anyhow::Result<bool> {
        let mut resumed = false;
        for TakenOver { assigned, mut memories } in takeovers.try_iter() {
            let mut ready = TopicPartitionList::new();
            let mut chain = lock(&self.chain);
            for (partition, assignment) in assigned {
                let memory = memories
                    .remove(&partition)
                    .with_context(|| format!("no memory of partition {partition}"))?;
                if chain.taken_over(partition, assignment, memory) {
                    ready.add_partition(&self.config.kafka.topic, partition);
                }
            }
            self.note_ownership(&chain);
            consumer.resume(&ready)?;
            resumed |= ready.count() > 0;
        }
        Ok(resumed)
    }
}

/// A finished takeover: the assignments it was for, and the memory of each partition.
struct TakenOver {
    assigned: Vec<(i32, u64)>,
    memories: BTreeMap<i32, IdentityMemory>,
}

/// Pauses Kafka while a full batch waits for the one before it, so that memory stays bounded.
#[derive(Default)]
struct Backpressure {
    paused: bool,
}

impl Backpressure {
    fn regulate(&mut self, shared: &Arc<Shared>, consumer: &GroupConsumer) -> anyhow::Result<()> {
        let waiting = || lock(&shared.chain).is_full();
        if waiting() && !self.paused {
            let patience = shared.config.kafka.session_timeout_ms / PAUSE_AFTER_PART;
            shared.collect(Duration::from_millis(patience))?;
            shared.hand_over();
        }
        let pause = waiting();
        if pause != self.paused {
            let mut partitions = TopicPartitionList::new();
            for partition in lock(&shared.chain).ready_partitions() {
                partitions.add_partition(&shared.config.kafka.topic, partition);
            }
            if pause {
                consumer.pause(&partitions)?
            } else {
                consumer.resume(&partitions)?
            }
            shared.metrics.paused.set(i64::from(pause));
            self.paused = pause;
        }
        Ok(())
    }
}

/// What librdkafka recovers from by itself is only told, and the same thing only now and then: while Kafka is away it comes
/// many times a second.
#[derive(Default)]
struct Complaints {
    last: Option<(RDKafkaErrorCode, Instant)>,
}

impl Complaints {
    fn hear(&mut self, error: KafkaError) -> anyhow::Result<()> {
        use RDKafkaErrorCode::{Fatal, GroupAuthorizationFailed, TopicAuthorizationFailed};
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        if matches!(code, Fatal | GroupAuthorizationFailed | TopicAuthorizationFailed) {
            return Err(error).context("Kafka consumer");
        }
        let told = |(last, at): (RDKafkaErrorCode, Instant)| last == code && at.elapsed() < COMPLAIN_AGAIN;
        if !self.last.is_some_and(told) {
            tracing::warn!(%error, "Kafka consumer");
            self.last = Some((code, Instant::now()));
        }
        Ok(())
    }
}
