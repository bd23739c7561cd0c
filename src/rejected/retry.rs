//! `uptake rejected retry`: sends refused messages to the topic of events again.
//!
//! A message is sent, acknowledged by Kafka, and then noted in `retries`; what is noted is not sent again. An interruption
//! between the two sends a message twice, which does no harm: if it is accepted now, its identity makes it count once, also
//! because it goes to its old partition; if it is refused again, both dead letters are the same [`Refusal`](super::topic::Refusal).

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::Context;
use clap::ArgGroup;
use futures_util::future::join_all;
use jiff::Timestamp;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Origin;
use super::list::load_retries;
use super::topic::{self, DeadLetter};
use crate::access::audit::{self, Action, Actor};
use crate::config::{self, Config};
use crate::error::BadInput;
use crate::event::TimeRange;
use crate::store::login::Login;
use crate::store::retries::Retry;
use crate::store::{Store, topics};

/// Messages between two notes.
const CHUNK: usize = 1_000;

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("which").required(true).args(["origins", "reason", "all"]))]
pub struct Args {
    /// Which ones, as `list` prints them: TOPIC/PARTITION/OFFSET
    #[arg(value_name = "ORIGIN")]
    origins: Vec<Origin>,
    /// Those of this reason
    #[arg(long, value_parser = super::reason)]
    reason: Option<&'static str>,
    /// All of them
    #[arg(long)]
    all: bool,
    /// Also those that were sent again before
    #[arg(long)]
    again: bool,
    /// Say what would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
}

/// What has been done so far.
#[derive(Default, Serialize)]
struct Tally {
    sent: usize,
    skipped: usize,
    /// Of those sent: ingest will refuse them as it did before.
    #[serde(rename = "as_wrong_as_before")]
    hopeless: usize,
    /// Of the origins asked for: those that are not in the topic.
    missing: BTreeSet<Origin>,
    interrupted: bool,
}

pub async fn run(config: &Config, args: Args, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let resend = resend(config, &args, shutdown);
    let tally = if args.dry_run {
        resend.await?
    } else {
        let store = Store::new(&config.clickhouse);
        let what = (Action::RetryRejects, config.kafka.rejected_topic.as_str());
        audit::record(&store, Actor::of_command(), what, resend).await?
    };
    println!("{}", tally.told(args.dry_run));
    match tally.missing.first() {
        Some(origin) if !tally.interrupted => Err(BadInput::new(format!(
            "{origin}: not in the topic {} ({} of the given origins are not)",
            config.kafka.rejected_topic,
            tally.missing.len()
        ))
        .into()),
        _ => Ok(()),
    }
}

async fn resend(config: &Config, args: &Args, shutdown: &CancellationToken) -> anyhow::Result<Tally> {
    let retries = load_retries(config).await?;
    let sender = Sender::new(config)?;
    let (send, mut letters) = mpsc::channel(CHUNK);
    let kafka = config.kafka.clone();
    let reading = tokio::task::spawn_blocking(move || {
        topic::read(&kafka, None, |letter| match send.blocking_send(letter) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        })
    });
    let now_ms = Timestamp::now().as_millisecond();
    let times = TimeRange::at(now_ms, config.retention.raw_days, config.ingest.future_tolerance_ms);
    let mut tally = Tally {
        missing: args.origins.iter().cloned().collect(),
        ..Tally::default()
    };
    let mut chunk = Vec::new();
    let mut seen = HashSet::new();
    while let Some(Some(letter)) = shutdown.run_until_cancelled(letters.recv()).await {
        let is_asked_for = match args.reason {
            Some(reason) => letter.reason == reason,
            None => args.all || args.origins.contains(&letter.origin),
        };
        if !is_asked_for {
            continue;
        }
        tally.missing.remove(&letter.origin);
        let refusal = letter.refusal();
        if !seen.insert(refusal) {
            continue;
        }
        if !args.again && retries.contains_key(&refusal) {
            tally.skipped += 1;
            continue;
        }
        tally.sent += 1;
        tally.hopeless += usize::from(letter.check(config.ingest.max_event_bytes, times).is_err());
        if args.dry_run {
            continue;
        }
        chunk.push(letter);
        if chunk.len() == CHUNK {
            sender.send(&std::mem::take(&mut chunk)).await?;
        }
    }
    sender.send(&chunk).await?;
    drop(letters);
    reading.await??;
    tally.interrupted = shutdown.is_cancelled();
    Ok(tally)
}

impl Tally {
    fn told(&self, dry_run: bool) -> String {
        let Self {
            sent,
            skipped,
            hopeless,
            ..
        } = self;
        let done = if dry_run { "would be sent again" } else { "sent again" };
        let mut text = format!("{sent} {done}, {skipped} skipped because they were before");
        if *hopeless > 0 {
            text += &format!("; {hopeless} of them as wrong as before: ingest refuses them again");
        }
        if self.interrupted {
            text += "; interrupted: run it again for the rest";
        }
        text
    }
}

/// To the topic of events, with a note of each.
struct Sender {
    producer: FutureProducer<Login>,
    kafka: config::Kafka,
    /// How many the topic has now.
    partitions: i32,
    store: Store,
}

impl Sender {
    fn new(config: &Config) -> anyhow::Result<Self> {
        let kafka = config.kafka.clone();
        let timeout = Duration::from_millis(kafka.connect_timeout_ms);
        topics::check_access(&kafka)?;
        let producer: FutureProducer<Login> = topics::client_config(&kafka)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("message.max.bytes", topics::REJECT_MAX_BYTES)
            .set("linger.ms", "5")
            .set("message.timeout.ms", "60000")
            .create_with_context(Login)
            .context("configuration: kafka")?;
        let metadata = producer
            .client()
            .fetch_metadata(Some(&kafka.topic), timeout)
            .with_context(|| format!("Kafka at {}", kafka.brokers))?;
        let partitions: usize = metadata.topics().iter().map(|topic| topic.partitions().len()).sum();
        Ok(Self {
            producer,
            partitions: i32::try_from(partitions)?,
            kafka,
            store: Store::new(&config.clickhouse),
        })
    }

    /// Returns once Kafka has all of them and each is noted. On an error, what Kafka has is noted all the same.
    async fn send(&self, letters: &[DeadLetter]) -> anyhow::Result<()> {
        let results = join_all(letters.iter().map(|letter| self.send_one(letter))).await;
        let mut notes = Vec::new();
        let mut failure = None;
        for (letter, result) in letters.iter().zip(results) {
            match result {
                Ok(()) => notes.push(note(letter)),
                Err(error) => failure = Some(error),
            }
        }
        let noted = self.store.note_retries(&notes).await;
        noted.with_context(|| {
            format!(
                "{} messages were sent again and could not be noted: the next run sends them once more, which does no harm",
                notes.len()
            )
        })?;
        failure.map_or(Ok(()), Err)
    }

    async fn send_one(&self, letter: &DeadLetter) -> anyhow::Result<()> {
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&self.kafka.topic)
            .payload(letter.payload.as_slice())
            .headers(letter.retry_headers());
        if let Some(key) = &letter.key {
            record = record.key(key);
        }
        // Where its worker remembers the event, should it have been accepted after all.
        if letter.origin.topic == self.kafka.topic && letter.origin.partition < self.partitions {
            record = record.partition(letter.origin.partition);
        }
        let sent = self.producer.send(record, Duration::from_secs(60)).await;
        sent.map(drop).map_err(|(error, _)| error).with_context(|| {
            format!(
                "{} to {} at Kafka {}",
                letter.origin, self.kafka.topic, self.kafka.brokers
            )
        })
    }
}

fn note(letter: &DeadLetter) -> Retry {
    Retry {
        refusal: letter.refusal().to_be_bytes(),
        kafka_topic: letter.origin.topic.clone(),
        kafka_partition: letter.origin.partition as u16,
        kafka_offset: letter.origin.offset as u64,
        retried_at: Timestamp::now().as_millisecond(),
    }
}
