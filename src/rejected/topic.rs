//! Reading the topic of rejects from its beginning, or from a time, to where it ends now.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use jiff::Timestamp;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::{Offset, TopicPartitionList};
use xxhash_rust::xxh3::xxh3_128;

use super::Origin;
use crate::config::Kafka;
use crate::event::{Attributes, Event, Reject, TimeRange};
use crate::store::login::Login;
use crate::store::topics;

/// What our own headers begin with; no producer's header does.
const OURS: &str = "uptake_";
/// On a message that is sent again: which attempt it is, and where the message was refused first, e.g. `1 of usage.events/0/17`.
const RETRY: &str = "uptake_retry";

/// A refused message as its dead letter holds it.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    pub origin: Origin,
    pub refused_at: Timestamp,
    pub reason: String,
    pub sentence: String,
    pub key: Option<Vec<u8>>,
    /// The message's own headers.
    pub headers: OwnedHeaders,
    pub payload: Vec<u8>,
    /// Where the message was refused before it was first sent again; `origin` if it never was.
    pub first_origin: Origin,
    /// How often it had been sent again before this refusal.
    pub attempt: u32,
}

/// Stands for one refusal. The same for a dead letter that was published twice, and for two dead letters of a retry that was
/// sent twice; another where a topic that was created anew reaches the same offset.
pub type Refusal = u128;

impl DeadLetter {
    /// `None` for a message that ingest did not write.
    fn of(message: &BorrowedMessage<'_>) -> Option<Self> {
        let origin: Origin = std::str::from_utf8(message.key()?).ok()?.parse().ok()?;
        let mut own = OwnedHeaders::new();
        let mut ours = HashMap::new();
        for header in message.headers()?.iter() {
            match header.key.strip_prefix(OURS) {
                // The message's own headers come first: a later one of the same name is the right one.
                Some(name) => drop(ours.insert(name, header.value.unwrap_or_default())),
                None => own = own.insert(header),
            }
        }
        let text = |name: &str| Some(String::from_utf8_lossy(ours.get(name)?).into_owned());
        let retry = text("retry").and_then(|retry| {
            let (attempt, first) = retry.split_once(" of ")?;
            Some((attempt.parse().ok()?, first.parse().ok()?))
        });
        let (attempt, first_origin) = retry.unwrap_or_else(|| (0, origin.clone()));
        Some(Self {
            refused_at: Timestamp::from_millisecond(message.timestamp().to_millis()?).ok()?,
            reason: text("reason")?,
            sentence: text("detail").unwrap_or_default(),
            key: ours.get("key").map(|key| key.to_vec()),
            payload: message.payload().unwrap_or_default().to_vec(),
            headers: own,
            origin,
            first_origin,
            attempt,
        })
    }

    pub fn refusal(&self) -> Refusal {
        let mut text = format!("{}\n{}\n", self.first_origin, self.attempt).into_bytes();
        text.extend_from_slice(&self.payload);
        xxh3_128(&text)
    }

    /// The headers with which it is sent again.
    pub fn retry_headers(&self) -> OwnedHeaders {
        self.headers.clone().insert(Header {
            key: RETRY,
            value: Some(&format!("{} of {}", self.attempt + 1, self.first_origin)),
        })
    }

    /// What ingest would say to it now.
    pub fn check(&self, max_bytes: usize, times: TimeRange) -> Result<(), Reject> {
        let attributes = Attributes::of_headers(self.headers.iter().map(|header| (header.key, header.value)));
        Event::read(attributes, &self.payload, max_bytes, times).map(drop)
    }
}

/// Gives every dead letter, until `each` breaks off. A refusal may have several: who counts, counts [`DeadLetter::refusal`]s.
///
/// Blocks. Nothing is committed: reading changes nothing.
pub fn read(
    kafka: &Kafka,
    since: Option<Timestamp>,
    mut each: impl FnMut(DeadLetter) -> ControlFlow<()>,
) -> anyhow::Result<()> {
    topics::check_access(kafka)?;
    let consumer: BaseConsumer<Login> = topics::client_config(kafka)
        .set("group.id", "uptake-rejected")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .create_with_context(Login)
        .context("configuration: kafka")?;
    // Nothing comes before there is an assignment, but a login by token begins here.
    let _ = consumer.poll(Duration::ZERO);
    let place = format!("Kafka at {}, topic {}", kafka.brokers, kafka.rejected_topic);
    let timeout = Duration::from_millis(kafka.connect_timeout_ms);
    let mut ends = assign(&consumer, &kafka.rejected_topic, since, timeout).with_context(|| place.clone())?;
    let mut last = Instant::now();
    let mut trouble = None;
    while !ends.is_empty() {
        match consumer.poll(Duration::from_millis(200)) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(ends.remove(&partition)),
            // The client tries again by itself.
            Some(Err(error)) => trouble = Some(error),
            Some(Ok(message)) => {
                last = Instant::now();
                let Some(&end) = ends.get(&message.partition()) else {
                    continue;
                };
                if message.offset() + 1 >= end {
                    ends.remove(&message.partition());
                }
                if let Some(letter) = DeadLetter::of(&message).filter(|_| message.offset() < end)
                    && each(letter).is_break()
                {
                    return Ok(());
                }
            }
        }
        if last.elapsed() >= timeout {
            let why = trouble.map_or_else(|| "no messages".to_owned(), |error| error.to_string());
            bail!("{place} was not read to its end: for {} s {why}", timeout.as_secs());
        }
    }
    Ok(())
}

/// Assigns every partition that has something to read; partition → offset at which it ends now.
fn assign(
    consumer: &BaseConsumer<Login>,
    topic: &str,
    since: Option<Timestamp>,
    timeout: Duration,
) -> anyhow::Result<HashMap<i32, i64>> {
    let metadata = consumer.fetch_metadata(Some(topic), timeout)?;
    let partitions: Vec<i32> = metadata
        .topics()
        .iter()
        .flat_map(|t| t.partitions())
        .map(|p| p.id())
        .collect();
    if partitions.is_empty() {
        return Err(anyhow!("there is no such topic: run `uptake migrate`"));
    }
    let mut begins = HashMap::new();
    if let Some(since) = since {
        let mut times = TopicPartitionList::new();
        for &partition in &partitions {
            times.add_partition_offset(topic, partition, Offset::Offset(since.as_millisecond()))?;
        }
        let offsets = patiently(timeout, || consumer.offsets_for_times(times.clone(), timeout))?;
        for element in offsets.elements() {
            // Nothing is as young as that: the end, which is not a number.
            begins.insert(
                element.partition(),
                element.offset().to_raw().filter(|offset| *offset >= 0),
            );
        }
    }
    let mut ends = HashMap::new();
    let mut assignment = TopicPartitionList::new();
    for &partition in &partitions {
        let (first, end) = patiently(timeout, || consumer.fetch_watermarks(topic, partition, timeout))?;
        let begin = match begins.get(&partition) {
            Some(begin) => begin.unwrap_or(end).max(first),
            None => first,
        };
        if begin < end {
            assignment.add_partition_offset(topic, partition, Offset::Offset(begin))?;
            ends.insert(partition, end);
        }
    }
    consumer.assign(&assignment)?;
    Ok(ends)
}

/// Asks again for so long: a partition of a topic that has just been created has no leader yet.
fn patiently<T>(at_most: Duration, mut ask: impl FnMut() -> KafkaResult<T>) -> KafkaResult<T> {
    let started = Instant::now();
    loop {
        match ask() {
            Err(_) if started.elapsed() < at_most => std::thread::sleep(Duration::from_millis(100)),
            answer => return answer,
        }
    }
}
