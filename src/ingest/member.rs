//! Does what the [`protocol`] says and tells it what came of it.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio_util::sync::CancellationToken;

use super::batch::Batch;
use super::chain::Chain;
use super::consumer::GroupConsumer;
use super::identity::IdentityMemory;
use super::liveness::Liveness;
use super::lock;
use super::messages::Messages;
use super::progress::Progress;
use super::protocol::{self, Membership, Outcome, Reason};
use super::takeover::Takeover;
use super::trouble::Trouble;
use super::writer::{Writer, ends_membership, is_permanent};
use crate::config::Config;
use crate::metrics::IngestMetrics;
use crate::store::is_disk_full;

type Input = protocol::Input<Arc<Batch>, IdentityMemory>;
type Effect = protocol::Effect<Arc<Batch>, IdentityMemory>;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const LOOK_AT_TOPIC: Duration = Duration::from_secs(1);

/// One membership in the group: the protocol's state and all that its effects work on. The polling thread, the rebalance
/// callbacks on it and the tasks that write share it.
pub struct Member {
    pub config: Arc<Config>,
    pub metrics: IngestMetrics,
    trouble: Trouble,
    pub chain: Mutex<Chain>,
    pub progress: Arc<Progress>,
    /// True while this worker reads partition 0: it does what only one worker may do at a time.
    pub is_maintainer: Arc<AtomicBool>,
    /// Cancelled when the membership ends: everything under way stops.
    abort: CancellationToken,
    protocol: Mutex<Membership<Arc<Batch>>>,
    stepped: Condvar,
    writer: Writer,
    takeover: Takeover,
    takeovers_began: Mutex<BTreeMap<u64, Instant>>,
    liveness: Liveness,
    messages: OnceLock<Weak<Messages>>,
    failure: Mutex<Option<anyhow::Error>>,
    runtime: tokio::runtime::Handle,
}

impl Member {
    pub fn new(
        config: Arc<Config>,
        metrics: IngestMetrics,
        trouble: Trouble,
        chain: Chain,
        writer: Writer,
        takeover: Takeover,
    ) -> Self {
        Self {
            chain: Mutex::new(chain),
            progress: Arc::default(),
            is_maintainer: Arc::default(),
            abort: CancellationToken::new(),
            protocol: Mutex::default(),
            stepped: Condvar::new(),
            writer,
            takeover,
            takeovers_began: Mutex::default(),
            liveness: Liveness::new(Duration::from_millis(config.kafka.silence_limit_ms())),
            messages: OnceLock::new(),
            failure: Mutex::default(),
            runtime: tokio::runtime::Handle::current(),
            config,
            metrics,
            trouble,
        }
    }

    /// The consumer that the effects work on, and its messages; to be called once, before it is polled.
    pub fn attach(&self, messages: &Arc<Messages>) {
        let _first = self.messages.set(Arc::downgrade(messages));
    }

    /// To be called before every poll. The first poll after a silence ends the membership instead of hiding it.
    pub fn polls(self: &Arc<Self>) {
        if self.liveness.is_silent() {
            self.tell(Input::Silent);
        } else {
            self.liveness.polled();
        }
    }

    /// Takes a step and does what it asks for. The silence, which has no event of its own, is told before anything else.
    pub fn tell(self: &Arc<Self>, input: Input) {
        let mut protocol = lock(&self.protocol);
        let silence = self.liveness.is_silent().then_some(Input::Silent);
        let mut inputs: VecDeque<Input> = silence.into_iter().chain([input]).collect();
        while let Some(input) = inputs.pop_front() {
            for effect in protocol.step(input) {
                inputs.extend(self.perform(effect));
            }
        }
        self.metrics.partitions.set(protocol.owned_count() as i64);
        self.is_maintainer.store(protocol.is_open(0), Ordering::Release);
        self.stepped.notify_all();
    }

    /// The membership cannot go on.
    pub fn fail(self: &Arc<Self>, error: anyhow::Error) {
        lock(&self.failure).get_or_insert(error);
        self.tell(Input::Lost);
    }

    /// Ends the membership when the topic is another one than it reads: librdkafka goes on at its old offsets then, and what
    /// stands before them would be lost.
    pub async fn watch_topic(self: Arc<Self>) {
        while self.writer.is_same_topic().await {
            if self
                .abort
                .run_until_cancelled(tokio::time::sleep(LOOK_AT_TOPIC))
                .await
                .is_none()
            {
                return;
            }
        }
        let topic = &self.config.kafka.topic;
        self.fail(anyhow!("topic {topic} was deleted and created anew"));
    }

    /// Nobody polls any more: whatever is still under way stops.
    pub fn stop(&self) {
        self.abort.cancel();
        self.is_maintainer.store(false, Ordering::Release);
    }

    /// Why the membership ended, when it did.
    pub fn failure(&self) -> Option<anyhow::Error> {
        self.abort.is_cancelled().then(|| {
            let told = lock(&self.failure).take();
            told.unwrap_or_else(|| anyhow!("the membership ended"))
        })
    }

    pub fn is_writing(&self) -> bool {
        lock(&self.protocol).is_writing()
    }

    /// Waits until no batch is being written, at most so long.
    pub fn await_write(&self, at_most: Duration) {
        self.wait_while(at_most, Membership::is_writing);
    }

    /// Writes and commits what was read, then lets the partitions go; without finishing when the time is over.
    pub fn drain(self: &Arc<Self>, revoked: Vec<i32>) {
        self.tell(Input::Drain { revoked });
        let at_most = Duration::from_millis(self.config.ingest.drain_timeout_ms);
        self.wait_while(at_most, Membership::is_draining);
        self.tell(Input::OutOfTime);
    }

    fn wait_while(&self, at_most: Duration, condition: impl Fn(&Membership<Arc<Batch>>) -> bool) {
        let protocol = lock(&self.protocol);
        let waited = self
            .stepped
            .wait_timeout_while(protocol, at_most, |protocol| condition(protocol));
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Starts an effect, or does it when it does not wait. Gives what is to be told at once.
    fn perform(self: &Arc<Self>, effect: Effect) -> Option<Input> {
        let member = self.clone();
        match effect {
            Effect::AskCommitted { assignment, partitions } => {
                let consumer = self.consumer()?;
                lock(&self.takeovers_began).insert(assignment, Instant::now());
                self.spawn(async move {
                    let offsets = member.takeover.committed(consumer, &partitions).await;
                    Input::Committed { assignment, offsets }
                });
            }
            Effect::AwaitInserts { assignment, partitions } => self.spawn(async move {
                member.takeover.await_inserts(&partitions).await;
                Input::InsertsEnded { assignment }
            }),
            Effect::Remember { assignment, offsets } => self.spawn(async move {
                let memories = member.takeover.remember(&offsets).await;
                member.taken_over(assignment, &memories);
                Input::Remembered { assignment, memories }
            }),
            Effect::Open { partition, memory } => return self.open(partition, memory),
            Effect::CloseBatch => return Some(Input::Closed(lock(&self.chain).take_batch().map(Arc::new))),
            Effect::Insert { token, batch } => self.spawn(async move {
                let inserted = member.insert(token, &batch).await;
                Input::Ended(member.outcome("insert", inserted))
            }),
            Effect::Check(batch) => self.spawn(async move {
                Input::Ended(match member.writer.has_stored(&batch).await {
                    Ok(false) => Outcome::Missing,
                    checked => member.outcome("check of a repeated insert", checked.map(drop)),
                })
            }),
            Effect::PublishDeadLetters(batch) => self.spawn(async move {
                let published = member.writer.publish(&batch).await;
                Input::Ended(member.outcome("publishing of dead letters", published))
            }),
            Effect::Commit(batch) => {
                let consumer = self.consumer()?;
                self.spawn(async move {
                    let committed = member.writer.commit(&batch, consumer).await;
                    Input::Ended(member.outcome("commit", committed))
                });
            }
            Effect::Pause { failed } => self.spawn(async move {
                let doubled = FIRST_PAUSE.saturating_mul(1 << (failed - 1).min(16));
                tokio::time::sleep(doubled.min(LONGEST_PAUSE)).await;
                Input::PauseOver
            }),
            Effect::Written(batch) => {
                self.progress.committed(&batch.covered);
                self.writer.count(&batch);
            }
            Effect::Release(partitions) => self.release(&partitions),
            Effect::End(reason) => {
                lock(&self.failure).get_or_insert_with(|| sentence(reason));
                self.abort.cancel();
            }
        }
        None
    }

    /// Does the work beside, unless the membership ends, and tells its result. A panic in it ends the membership.
    fn spawn(self: &Arc<Self>, work: impl Future<Output = Input> + Send + 'static) {
        let member = self.clone();
        let work = self.runtime.spawn(self.abort.clone().run_until_cancelled_owned(work));
        self.runtime.spawn(async move {
            match work.await {
                Ok(Some(input)) => member.tell(input),
                Ok(None) => {}
                Err(panic) => member.fail(anyhow!(panic).context("the work of ingest ended with a panic")),
            }
        });
    }

    async fn insert(&self, token: u64, batch: &Arc<Batch>) -> anyhow::Result<()> {
        let learnt = self.writer.complete(batch).await?;
        lock(&self.chain).learn(learnt);
        self.writer.insert(token, batch).await
    }

    /// `None` once the session is over: then nobody waits for an answer.
    fn messages(&self) -> Option<Arc<Messages>> {
        self.messages.get().and_then(Weak::upgrade)
    }

    /// As [`Self::messages`].
    fn consumer(&self) -> Option<Arc<GroupConsumer>> {
        Some(self.messages()?.consumer().clone())
    }

    /// Under the chain's lock, so that nobody who pauses sees the partition open and not yet resumed.
    fn open(&self, partition: i32, memory: IdentityMemory) -> Option<Input> {
        let messages = self.messages()?;
        let topic = &self.config.kafka.topic;
        let mut chain = lock(&self.chain);
        chain.open(partition, memory);
        let mut opened = TopicPartitionList::new();
        opened.add_partition(topic, partition);
        let led = messages.lead_here(topic, partition);
        let error = led.and_then(|()| messages.consumer().resume(&opened)).err()?;
        lock(&self.failure).get_or_insert(anyhow!(error).context("a partition cannot be resumed"));
        Some(Input::Lost)
    }

    fn release(&self, partitions: &[i32]) {
        let mut chain = lock(&self.chain);
        for &partition in partitions {
            chain.forget(partition);
            self.progress.release(partition, &self.metrics);
        }
    }

    fn taken_over(&self, assignment: u64, memories: &BTreeMap<i32, IdentityMemory>) {
        let Some(began) = lock(&self.takeovers_began).remove(&assignment) else {
            return;
        };
        self.metrics.takeover_seconds.observe(began.elapsed().as_secs_f64());
        let partitions: Vec<i32> = memories.keys().copied().collect();
        let known: usize = memories.values().map(IdentityMemory::len).sum();
        let took_ms = began.elapsed().as_millis() as u64;
        tracing::info!(?partitions, identities = known, took_ms, "partitions are taken over");
    }

    fn outcome(&self, what: &str, result: anyhow::Result<()>) -> Outcome {
        let Err(error) = result else {
            self.trouble.is_over();
            return Outcome::Done;
        };
        if is_permanent(&error) || ends_membership(&error) {
            lock(&self.failure).get_or_insert(error);
            return Outcome::Refused;
        }
        let error = match is_disk_full(&error) {
            true => format!("the disk is full: {error:#}"),
            false => format!("{error:#}"),
        };
        tracing::warn!(error, "{what} failed and is tried again");
        self.trouble.tell(format!("{what}: {error}"));
        Outcome::Unknown
    }
}

fn sentence(reason: Reason) -> anyhow::Error {
    anyhow!(match reason {
        Reason::Lost => "the place in the group is lost",
        Reason::Silent => "Kafka was not polled for so long that the partitions may have another owner",
        Reason::OutOfTime => "a batch could not be written and committed before the deadline",
        Reason::Refused => "a batch was refused",
    })
}
