//! One membership in the consumer group: joining, the poll loop, rebalances.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use rdkafka::client::OAuthToken;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::{ClientContext, Statistics};
use tokio_util::sync::CancellationToken;

use super::chain::Chain;
use super::member::Member;
use super::messages::Messages;
use super::progress::Open;
use super::protocol::Input;
use super::takeover::Takeover;
use super::writer::Writer;
use super::{Shared, lock};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::store::{Store, login, topics};

/// The longest the last report of a session may take.
const LAST_REPORT: Duration = Duration::from_secs(2);
/// The longest that the events of the group wait while there are no messages.
const POLL: Duration = Duration::from_millis(20);
/// A full batch waits for its turn this part of the session timeout before Kafka is paused: to pause throws away what is
/// fetched, and to wait longer would look like a worker that hangs.
const PAUSE_AFTER_PART: u64 = 8;

const COMPLAIN_AGAIN: Duration = Duration::from_secs(10);
/// A message costs about a microsecond; the rest of the loop is looked at once in so many.
const ROUND: usize = 256;

/// What librdkafka calls, on the polling thread.
pub struct Callbacks(Arc<Member>);

pub type GroupConsumer = BaseConsumer<Callbacks>;

impl ClientContext for Callbacks {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, token_file: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        login::token(token_file)
    }

    fn stats(&self, statistics: Statistics) {
        let member = &self.0;
        let is_writing = member.is_writing();
        let chain = lock(&member.chain);
        let open = chain.open_partitions().map(|partition| Open {
            partition,
            is_settled: !is_writing && !chain.holds(partition),
        });
        let open: Vec<Open> = open.collect();
        drop(chain);
        let topic = &member.config.kafka.topic;
        member.progress.observe(&statistics, topic, &open, &member.metrics);
    }

    /// The poll loop hears of the same errors.
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka client");
    }
}

impl ConsumerContext for Callbacks {
    fn pre_rebalance(&self, consumer: &GroupConsumer, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            // To be called back is to poll; the drain has its own time.
            self.0.polls();
            if consumer.assignment_lost() {
                self.0
                    .fail(anyhow!("the group took the partitions away without waiting"));
            }
            self.0.drain(numbers(partitions));
        }
    }

    /// Partitions that are assigned stay paused until they are taken over.
    fn post_rebalance(&self, consumer: &GroupConsumer, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) => match consumer.pause(partitions) {
                Ok(()) => self.0.tell(Input::Assigned(numbers(partitions))),
                Err(error) => self
                    .0
                    .fail(anyhow!(error).context("assigned partitions cannot be paused")),
            },
            Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => self.0.fail(anyhow!("rebalance: {error}")),
        }
    }
}

fn numbers(partitions: &TopicPartitionList) -> Vec<i32> {
    partitions
        .elements()
        .iter()
        .map(|element| element.partition())
        .collect()
}

/// One membership in the group, from joining to leaving.
pub struct Session {
    member: Arc<Member>,
    messages: Arc<Messages>,
    store: Store,
}

impl Session {
    pub fn open(config: &Config, shared: &Shared, metrics: &Metrics) -> anyhow::Result<Self> {
        let config = Arc::new(config.clone());
        let metrics = metrics.ingest.clone();
        let topic_id = Arc::default();
        let writer = Writer::new(&config, shared, metrics.clone(), Arc::clone(&topic_id))?;
        let takeover = Takeover {
            store: shared.store.clone(),
            topic: config.kafka.topic.clone(),
            identity_memory: config.ingest.identity_memory,
            kafka_timeout: Duration::from_millis(config.kafka.connect_timeout_ms),
            topic_id,
        };
        let chain = Chain::new(config.clone(), metrics.clone(), shared);
        let trouble = shared.trouble.clone();
        let member = Arc::new(Member::new(config, metrics, trouble, chain, writer, takeover));
        let messages = Arc::new(Messages::new(join_group(&member)?));
        member.attach(&messages);
        Ok(Self {
            member,
            messages,
            store: shared.store.clone(),
        })
    }

    /// True while this worker reads partition 0: it does what only one worker may do at a time.
    pub fn is_maintainer(&self) -> Arc<AtomicBool> {
        self.member.is_maintainer.clone()
    }

    /// Polls until shutdown, then drains. An error means that nothing more may be sent under this membership.
    pub async fn run(self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let Self {
            member,
            messages,
            store,
        } = self;
        let reporting = CancellationToken::new();
        let _stop_reporting = reporting.clone().drop_guard();
        let (topic, worker) = (member.config.kafka.topic.clone(), format!("{}", std::process::id()));
        let reports = tokio::spawn(member.progress.clone().report(store, topic, worker, reporting.clone()));
        tokio::spawn(member.clone().watch_topic());
        let shutdown = shutdown.clone();
        // What a consumer that is dropped owned is forgotten, and the last report is still to tell of it.
        let kept = messages.clone();
        let polling = tokio::task::spawn_blocking(move || {
            let result = poll_loop(&member, &messages, &shutdown);
            member.stop();
            result
        });
        let ended = polling.await.context("the polling thread ended with a panic")?;
        reporting.cancel();
        let _without_clickhouse = tokio::time::timeout(LAST_REPORT, reports).await;
        drop(kept);
        ended
    }
}

fn join_group(member: &Arc<Member>) -> anyhow::Result<GroupConsumer> {
    let kafka = &member.config.kafka;
    let consumer: GroupConsumer = topics::client_config(kafka)
        .set("group.id", &kafka.group_id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", kafka.session_timeout_ms.to_string())
        .set("heartbeat.interval.ms", kafka.heartbeat_interval_ms().to_string())
        .set("statistics.interval.ms", "1000")
        // What lies fetched and unread is bounded, whatever the number of partitions.
        .set("queued.max.messages.kbytes", "65536")
        // Its default of a second leaves the worker idle after every time the queue was full.
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.message.max.bytes", "4194304")
        .create_with_context(Callbacks(member.clone()))
        .with_context(|| format!("Kafka consumer for {}", kafka.brokers))?;
    consumer.subscribe(&[&kafka.topic])?;
    Ok(consumer)
}

fn poll_loop(member: &Arc<Member>, messages: &Messages, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let mut backpressure = Backpressure::default();
    let mut complaints = Complaints::default();
    while !shutdown.is_cancelled() {
        member.polls();
        hand_over(member);
        backpressure.regulate(member, messages.consumer())?;
        poll_round(member, messages, &mut complaints)?;
        if let Some(error) = member.failure() {
            return Err(error);
        }
    }
    member.drain(Vec::new());
    if let Some(error) = member.failure() {
        // Nothing is lost: what was not committed is read again by the next owner.
        tracing::warn!(error = format!("{error:#}"), "stopped without finishing the last batch");
    }
    Ok(())
}

/// The events of the group are looked at before every round of messages, so that none is in hand when partitions go.
fn poll_round(member: &Member, messages: &Messages, complaints: &mut Complaints) -> anyhow::Result<()> {
    lock(&member.chain).tick();
    match messages.consumer().poll(Duration::ZERO) {
        Some(Ok(message)) => bail!(
            "a message of partition {} came outside of the queue of messages",
            message.partition()
        ),
        Some(Err(error)) => complaints.hear(error)?,
        None => {}
    }
    // What the identity memory is sure to recognise depends on the rows of a batch being bounded.
    let most = lock(&member.chain).until_full().clamp(1, ROUND);
    let taken = messages.take(most, POLL);
    let mut envelopes = Vec::with_capacity(most);
    for message in taken.iter() {
        match message {
            Ok(envelope) => envelopes.push(envelope),
            Err(error) => complaints.hear(error)?,
        }
    }
    lock(&member.chain).take(&envelopes)
}

fn hand_over(member: &Arc<Member>) {
    let is_due = lock(&member.chain).is_due();
    if is_due {
        member.tell(Input::Due);
    }
}

/// Pauses Kafka while a full batch waits for the one before it, so that memory stays bounded.
#[derive(Default)]
struct Backpressure {
    paused: Vec<i32>,
}

impl Backpressure {
    fn regulate(&mut self, member: &Arc<Member>, consumer: &GroupConsumer) -> anyhow::Result<()> {
        if lock(&member.chain).is_full() && self.paused.is_empty() {
            let patience = member.config.kafka.session_timeout_ms / PAUSE_AFTER_PART;
            member.await_write(Duration::from_millis(patience));
            hand_over(member);
        }
        // Locked to the end: a partition that a takeover opens meanwhile would go on unnoticed.
        let chain = lock(&member.chain);
        if !chain.is_full() && self.paused.is_empty() {
            return Ok(());
        }
        let open: Vec<i32> = chain.open_partitions().collect();
        let pause = if chain.is_full() { open.clone() } else { Vec::new() };
        if pause == self.paused {
            return Ok(());
        }
        let mut partitions = TopicPartitionList::new();
        for partition in open {
            partitions.add_partition(&member.config.kafka.topic, partition);
        }
        if pause.is_empty() {
            consumer.resume(&partitions)?;
        } else {
            consumer.pause(&partitions)?;
        }
        member.metrics.paused.set(i64::from(!pause.is_empty()));
        self.paused = pause;
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
