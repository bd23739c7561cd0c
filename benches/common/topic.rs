//! The topic that everything reads: 4 partitions of feature clicks and logins as a company makes them.

use std::time::Duration;

use anyhow::{Context, bail};
use jiff::{Timestamp, ToSpan};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use uptake::config::Kafka;
use uptake::store::topics;

use crate::parts::{Parts, SYSTEM};

pub const USERS: u32 = 20_000;
const FEATURES: f64 = 200.0;
/// A visit is a login and some clicks.
const EVENTS_A_VISIT: u64 = 10;
/// The topic spans so many days, in the order of time as events arrive.
const DAYS: u64 = 5;
pub const BYTES: usize = 430;

const EVENTS: &str = "UPTAKE_BENCH_EVENTS";
const DEFAULT_EVENTS: u64 = 2_000_000;

/// How many events a run is about: `UPTAKE_BENCH_EVENTS`, or 2,000,000.
pub fn events_wanted() -> anyhow::Result<u64> {
    match std::env::var(EVENTS) {
        Ok(text) => text
            .parse()
            .ok()
            .filter(|&events| events >= 1_000)
            .with_context(|| format!("{EVENTS} = {text}: expected a number of at least 1000")),
        Err(_) => Ok(DEFAULT_EVENTS),
    }
}

pub struct Topic {
    pub kafka: Kafka,
    pub events: u64,
    pub mean_bytes: f64,
}

impl Topic {
    /// Creates the topic and sends `events` different events, uncompressed as Kafka's clients do unless told otherwise.
    pub async fn fill(parts: &Parts, events: u64) -> anyhow::Result<Self> {
        // Migrating creates the topics; the database is not used.
        parts.database("topics").await?.drop().await?;
        let mut topic = Self::empty(&parts.config().kafka);
        topic.send(events).await?;
        Ok(topic)
    }

    /// The topic as migrating an installation creates it.
    pub fn empty(kafka: &Kafka) -> Self {
        Self {
            kafka: kafka.clone(),
            events: 0,
            mean_bytes: 0.0,
        }
    }

    /// Sends so many further events.
    pub async fn send(&mut self, events: u64) -> anyhow::Result<()> {
        let (kafka, first) = (self.kafka.clone(), self.events);
        let bytes = tokio::task::spawn_blocking(move || produce(&kafka, first, events)).await??;
        self.mean_bytes = (self.mean_bytes * self.events as f64 + bytes as f64) / (self.events + events) as f64;
        self.events += events;
        Ok(())
    }
}

/// Sends the events `first..first + count` and returns their bytes.
fn produce(kafka: &Kafka, first: u64, count: u64) -> anyhow::Result<u64> {
    let producer: BaseProducer = topics::client_config(kafka)
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "20")
        .set("batch.size", "1000000")
        .set("queue.buffering.max.messages", "500000")
        .create()?;
    let mut rng = StdRng::seed_from_u64(first);
    let start = Timestamp::now() - (DAYS * 24).cast_signed().hours();
    let (mut bytes, mut message, mut user) = (0, String::new(), String::new());
    for number in first..first + count {
        let at = (number - first) as f64 / count as f64;
        let time = start + Duration::from_secs_f64(at * (DAYS * 86_400 - 3_600) as f64);
        if (number - first).is_multiple_of(EVENTS_A_VISIT) {
            user = format!("u-{:06}", rng.random_range(0..USERS));
        }
        write(&mut message, &mut rng, number, &user, time);
        bytes += message.len() as u64;
        let mut record = BaseRecord::to(&kafka.topic).key(&user).payload(&message);
        while let Err((error, back)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(error).context("filling the topic");
            }
            producer.poll(Duration::from_millis(10));
            record = back;
        }
        if number % 10_000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(120)).context("filling the topic")?;
    if producer.in_flight_count() > 0 {
        bail!("Kafka did not take all events");
    }
    Ok(bytes)
}

/// One event of about [`BYTES`] bytes.
pub fn write(message: &mut String, rng: &mut StdRng, number: u64, user: &str, time: Timestamp) {
    use std::fmt::Write;
    message.clear();
    let id = uuid::Uuid::from_u128(u128::from(rng.random::<u64>()) << 64 | u128::from(number));
    let (r#type, data) = if number.is_multiple_of(EVENTS_A_VISIT) {
        ("usage.login.v1", r#""outcome":"success","method":"saml""#.to_owned())
    } else {
        // Few features take most of the clicks.
        let feature = (FEATURES * rng.random::<f64>().powi(3)) as u32;
        let data = format!(
            r#""feature":"module{}.document{feature}.approve","element":"toolbar/button-{}""#,
            feature % 12,
            feature % 7
        );
        ("usage.feature_click.v1", data)
    };
    let written = write!(
        message,
        r#"{{"specversion":"1.0","id":"{id}","source":"/erp/production/web-{}","type":"{type}","subject":"{user}","time":"{time:.3}","datacontenttype":"application/json","traceparent":"00-{:032x}-{:016x}-01","data":{{"system":"{SYSTEM}",{data},"session":"s-{user}-{}"}}}}"#,
        number % 4,
        rng.random::<u128>(),
        number,
        number / EVENTS_A_VISIT % 100_000,
    );
    debug_assert!(written.is_ok());
    // What a producer adds for itself and ingest ignores.
    let missing = BYTES.saturating_sub(message.len());
    if missing > 12 {
        message.truncate(message.len() - 1);
        message.push_str(r#","client":""#);
        message.extend(std::iter::repeat_n('x', missing - 12));
        message.push_str("\"}");
    }
}
