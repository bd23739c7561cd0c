//! A producer with a known truth: whatever happens, it repeats until Kafka has acknowledged.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::join_all;
use jiff::Timestamp;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::util::Timeout;
use serde_json::json;

use crate::common::workers::Workers;
use crate::plan::{Fault, Moment, SENDING};
use crate::topics::{self, Record, Topics};
use crate::truth::{Action, Event, SOURCE, Truth};

/// What a worker remembers of each partition.
pub const IDENTITY_MEMORY: usize = 200;
/// The producer repeats "at once" what lies at most so far back in its partition.
const AT_ONCE: usize = 10;
const TICK: Duration = Duration::from_millis(20);
const GIVE_UP: Duration = Duration::from_secs(90);

const SYSTEMS: [&str; 2] = ["erp", "crm"];
const FEATURES: [&str; 5] = [
    "finance.invoice.approve",
    "finance.report",
    "hr.leave",
    "stock.count",
    "财务.发票",
];

#[derive(Clone)]
struct Message {
    partition: i32,
    key: String,
    payload: Vec<u8>,
}

impl Message {
    /// The key is the event's id, so that compaction leaves one message of each event.
    fn of(event: &Event) -> Self {
        Self {
            partition: event.partition,
            key: event.id.clone(),
            payload: event.message(),
        }
    }
}

/// A message that must be refused, and the reason.
pub type Malformed = HashMap<Vec<u8>, &'static str>;

pub struct Producer<'r> {
    topics: &'r Topics,
    client: FutureProducer,
    rng: ChaCha8Rng,
    seed: u64,
    next: u64,
    started_ms: i64,
    /// The distinct events of each partition, as they were sent.
    order: Vec<Vec<Event>>,
    pub truth: Truth,
    pub malformed: Malformed,
    /// Messages acknowledged, repeats included.
    pub messages: usize,
    /// What stood in topics that were deleted.
    pub deleted: Vec<Record>,
}

impl<'r> Producer<'r> {
    pub fn new(topics: &'r Topics, seed: u64) -> anyhow::Result<Self> {
        // Not idempotent: when the broker dies the same message may well stand in the topic twice. One request at a time
        // keeps the order.
        let client = topics::client(&topics.kafka)
            .set("acks", "all")
            .set("linger.ms", "2")
            .set("max.in.flight.requests.per.connection", "1")
            .set("message.timeout.ms", "0")
            .create()?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(1);
        Ok(Self {
            topics,
            client,
            rng,
            seed,
            next: 0,
            started_ms: Timestamp::now().as_millisecond(),
            order: vec![Vec::new(); topics.kafka.partitions as usize],
            truth: Truth::default(),
            malformed: Malformed::new(),
            messages: 0,
            deleted: Vec::new(),
        })
    }

    /// Sends for a while, with the producer's own faults at their moments. Tells each that really happened.
    pub async fn run(
        &mut self,
        moments: &[Moment],
        workers: &Workers,
        mut happened: impl FnMut(Fault),
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut due = moments.iter().filter(|moment| moment.fault.is_of_producer()).peekable();
        while started.elapsed() < SENDING || due.peek().is_some() {
            while let Some(moment) = due.next_if(|moment| moment.at <= started.elapsed()) {
                let done = self.misbehave(moment, workers).await;
                if done.with_context(|| format!("fault: {}", moment.fault.name()))? {
                    happened(moment.fault);
                }
            }
            let count = self.rng.random_range(1..=40);
            self.send_new(count).await?;
            tokio::time::sleep(TICK).await;
        }
        Ok(())
    }

    /// Whether it could be staged.
    async fn misbehave(&mut self, moment: &Moment, workers: &Workers) -> anyhow::Result<bool> {
        let partition = moment.pick % self.order.len();
        match moment.fault {
            Fault::RepeatsAtOnce => {
                let sent = &self.order[partition];
                let newest = sent[sent.len().saturating_sub(AT_ONCE)..].to_vec();
                self.send_events(&newest).await?;
                return Ok(!newest.is_empty());
            }
            Fault::RepeatsLater => {
                let between = self.new_events(IDENTITY_MEMORY + AT_ONCE, Some(partition as i32));
                let early = self.new_events(AT_ONCE, Some(partition as i32));
                for events in [&early, &between, &early] {
                    self.send_events(events).await?;
                }
                self.acknowledged(early.into_iter().chain(between));
            }
            Fault::Malformed => self.send_malformed().await?,
            Fault::TransactionCommitted => {
                let events = self.new_events(12, None);
                self.transaction(&events, true).await?;
                self.acknowledged(events);
            }
            Fault::TransactionAborted => {
                let never = self.new_events(12, None);
                self.transaction(&never, false).await?;
            }
            Fault::Compaction => return self.compact(workers).await,
            Fault::TopicAnew => self.make_topic_anew().await?,
            _ => {}
        }
        Ok(true)
    }

    async fn send_new(&mut self, count: usize) -> anyhow::Result<()> {
        let events = self.new_events(count, None);
        self.send_events(&events).await?;
        self.acknowledged(events);
        Ok(())
    }

    fn acknowledged(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.order[event.partition as usize].push(event.clone());
            self.truth.add(event);
        }
    }

    async fn send_events(&mut self, events: &[Event]) -> anyhow::Result<()> {
        let messages: Vec<Message> = events.iter().map(Message::of).collect();
        self.send(&messages).await
    }

    /// Returns when all of them are acknowledged.
    async fn send(&mut self, messages: &[Message]) -> anyhow::Result<()> {
        let all = join_all(messages.iter().map(async |message| {
            while deliver(&self.client, &self.topics.kafka.topic, message).await.is_err() {
                tokio::time::sleep(TICK).await;
            }
        }));
        tokio::time::timeout(GIVE_UP, all)
            .await
            .context("Kafka does not acknowledge")?;
        self.messages += messages.len();
        Ok(())
    }

    fn new_events(&mut self, count: usize, partition: Option<i32>) -> Vec<Event> {
        (0..count).map(|_| self.new_event(partition)).collect()
    }

    /// Of the last three days mostly, of the last months sometimes.
    fn new_event(&mut self, partition: Option<i32>) -> Event {
        self.next += 1;
        let rng = &mut self.rng;
        let action = match rng.random_range(0..10) {
            0..=1 => Action::Login { success: true },
            2 => Action::Login { success: false },
            3 => Action::Feedback {
                score: rng.random_range(1..=5),
            },
            _ => Action::Click {
                feature: FEATURES.choose(rng).copied().unwrap_or_default(),
            },
        };
        let days = if rng.random_bool(0.9) { 3 } else { 100 };
        Event {
            id: format!("{}-{}", self.seed, self.next),
            partition: partition.unwrap_or_else(|| rng.random_range(0..self.order.len() as i32)),
            system: SYSTEMS.choose(rng).copied().unwrap_or_default(),
            user: format!("u-{}", rng.random_range(0..30)),
            time_ms: self.started_ms - rng.random_range(7_200_000..days * 86_400_000),
            action,
        }
    }

    /// One of each kind that ingest must refuse.
    async fn send_malformed(&mut self) -> anyhow::Result<()> {
        let mut messages = Vec::new();
        for kind in 0..7 {
            self.next += 1;
            let id = format!("{}-{}", self.seed, self.next);
            let event = |kind: &str, time: &str, subject: &str| {
                json!({"specversion": "1.0", "id": id, "source": SOURCE, "type": kind, "subject": subject, "time": time,
                    "data": {"system": "erp", "feature": "x"}})
                .to_string()
                .into_bytes()
            };
            let click = "usage.feature_click.v1";
            let now = Timestamp::now().to_string();
            let (payload, reason) = match kind {
                0 => (format!("{{\"id\":\"{id}").into_bytes(), "invalid_json"),
                1 => (
                    format!("{{\"specversion\":\"1.0\",\"id\":\"{id}\"}}").into_bytes(),
                    "missing_field",
                ),
                2 => (event("usage.dance.v1", &now, "u-1"), "unknown_type"),
                3 => (event(click, "2999-01-01T00:00:00Z", "u-1"), "time_in_future"),
                4 => (event(click, "1999-01-01T00:00:00Z", "u-1"), "time_before_retention"),
                5 => ([b"\xff", id.as_bytes()].concat(), "invalid_utf8"),
                _ => (event(click, &now, &"u".repeat(70_000)), "too_large"),
            };
            self.malformed.insert(payload.clone(), reason);
            messages.push(Message {
                partition: self.rng.random_range(0..self.order.len() as i32),
                key: id,
                payload,
            });
        }
        self.send(&messages).await
    }

    /// Repeats until it is known to be committed or aborted.
    async fn transaction(&mut self, events: &[Event], commit: bool) -> anyhow::Result<()> {
        let messages: Vec<Message> = events.iter().map(Message::of).collect();
        let started = Instant::now();
        while let Err(error) = self.try_transaction(&messages, commit).await {
            if started.elapsed() > GIVE_UP {
                return Err(error).context("a transaction cannot be ended");
            }
        }
        self.messages += messages.len();
        Ok(())
    }

    /// Initialising ends what an earlier attempt left open.
    async fn try_transaction(&self, messages: &[Message], commit: bool) -> anyhow::Result<()> {
        let topic = &self.topics.kafka.topic;
        let client: FutureProducer = topics::client(&self.topics.kafka)
            .set("transactional.id", topic)
            .set("transaction.timeout.ms", "10000")
            .set("message.timeout.ms", "10000")
            .set("linger.ms", "2")
            .create()?;
        let limit = Timeout::After(Duration::from_secs(10));
        let begun = client.clone();
        tokio::task::spawn_blocking(move || {
            begun.init_transactions(limit)?;
            begun.begin_transaction()
        })
        .await??;
        for sent in join_all(messages.iter().map(|message| deliver(&client, topic, message))).await {
            sent?;
        }
        tokio::task::spawn_blocking(move || match commit {
            true => client.commit_transaction(limit),
            false => client.abort_transaction(limit),
        })
        .await??;
        Ok(())
    }

    /// Messages that no worker has read yet are compacted away: the first of two that hold the same event. Whether the
    /// broker did so in time.
    async fn compact(&mut self, workers: &Workers) -> anyhow::Result<bool> {
        let mut away = workers.stop_all().await?;
        let events = self.new_events(40, None);
        let pause = Duration::from_millis(150);
        for _ in 0..2 {
            self.send_events(&events).await?;
            tokio::time::sleep(pause).await;
        }
        self.acknowledged(events.clone());
        let started = Instant::now();
        let mut compacted = false;
        while !compacted && started.elapsed() < Duration::from_secs(3) {
            // A segment is closed by the message after it.
            self.send_new(4).await?;
            tokio::time::sleep(pause).await;
            let records = self.topics.read(&self.topics.kafka.topic).await?;
            let copies = |event: &Event| {
                records
                    .iter()
                    .filter(|record| record.key == event.id.as_bytes())
                    .count()
            };
            compacted = events.iter().map(copies).sum::<usize>() < 2 * events.len();
        }
        away.iter_mut().try_for_each(|slot| slot.start())?;
        Ok(compacted)
    }

    /// What was not consumed would be gone with the topic: so it is consumed first.
    async fn make_topic_anew(&mut self) -> anyhow::Result<()> {
        let topic = &self.topics.kafka.topic;
        let records = self.topics.read(topic).await?;
        self.topics.consumed(&records).await?;
        self.topics.delete(&[topic]).await?;
        self.deleted.extend(records);
        self.topics.create().await
    }
}

async fn deliver(client: &FutureProducer, topic: &str, message: &Message) -> anyhow::Result<()> {
    let record = FutureRecord::to(topic)
        .partition(message.partition)
        .key(&message.key)
        .payload(&message.payload);
    client.send(record, Timeout::Never).await.map_err(|(error, _)| error)?;
    Ok(())
}
