//! A batch owns its rows, already serialised, and the exact partition → next-offset map that it covers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::message::OwnedHeaders;

use super::envelope::{Envelope, Position};
use super::protocol::Content;
use super::row;
use super::zones::Zones;
use crate::config;
use crate::event::{Event, Reject};
use crate::pseudonym::Pseudonym;

/// A refused message with all that its dead letter needs.
pub struct DeadLetter {
    pub position: Position,
    pub kafka_ms: i64,
    pub key: Option<Vec<u8>>,
    pub payload: Vec<u8>,
    pub headers: OwnedHeaders,
    pub reject: Reject,
}

/// The offset to commit for a partition, and the Kafka timestamp of the message before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Covered {
    pub next_offset: i64,
    pub kafka_ms: i64,
}

/// Rows and everything else between two commits.
pub struct Batch {
    rows: Vec<u8>,
    pub row_count: usize,
    pub repeats: usize,
    pub dead_letters: Vec<DeadLetter>,
    dead_letter_bytes: usize,
    /// Skipped and refused messages included: what is committed is exactly this.
    pub covered: BTreeMap<i32, Covered>,
    pub oldest_kafka_ms: i64,
    /// The definitions that all of its rows are counted under.
    pub zones: Arc<Zones>,
    opened: Instant,
    /// Stands in every row of this batch, in milliseconds since the epoch.
    pub ingested_ms: i64,
    /// The low halves of the rows' identities, added up with wrap-around: tells whether all of them are stored.
    pub identity_sum: u64,
}

impl Batch {
    pub fn new(zones: Arc<Zones>, ingested_ms: i64) -> Self {
        Self {
            rows: Vec::new(),
            row_count: 0,
            repeats: 0,
            dead_letters: Vec::new(),
            dead_letter_bytes: 0,
            covered: BTreeMap::new(),
            oldest_kafka_ms: i64::MAX,
            zones,
            opened: Instant::now(),
            ingested_ms,
            identity_sum: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.covered.is_empty()
    }

    pub fn is_full(&self, bounds: &config::Ingest) -> bool {
        self.row_count + self.dead_letters.len() >= bounds.batch_rows
            || self.rows.len() + self.dead_letter_bytes >= bounds.batch_bytes
    }

    pub fn is_due(&self, bounds: &config::Ingest) -> bool {
        !self.is_empty() && self.opened.elapsed() >= Duration::from_millis(bounds.batch_age_ms)
    }

    pub fn bytes(&self) -> usize {
        self.rows.len()
    }

    /// Counts the message as covered, whatever became of it. Messages of a partition come in ascending order.
    pub fn cover(&mut self, envelope: &Envelope<'_>) {
        if self.is_empty() {
            self.opened = Instant::now();
        }
        let covered = Covered {
            next_offset: envelope.position.offset + 1,
            kafka_ms: envelope.kafka_ms,
        };
        self.covered.insert(envelope.position.partition, covered);
        self.oldest_kafka_ms = self.oldest_kafka_ms.min(envelope.kafka_ms);
    }

    pub fn push_row(&mut self, event: &Event<'_>, user: Pseudonym, topic: &str, position: Position) {
        let zone = self.zones.of(&event.system);
        row::encode(&mut self.rows, event, user, zone, topic, position, self.ingested_ms);
        self.row_count += 1;
        self.identity_sum = self.identity_sum.wrapping_add(event.identity.0 as u64);
    }

    pub fn push_dead_letter(&mut self, envelope: &Envelope<'_>, reject: Reject) {
        let headers = envelope.headers.map(|headers| headers.detach()).unwrap_or_default();
        self.dead_letter_bytes += envelope.payload.len() + reject.sentence.len() + 256;
        self.dead_letters.push(DeadLetter {
            position: envelope.position,
            kafka_ms: envelope.kafka_ms,
            key: envelope.key.map(<[u8]>::to_vec),
            payload: envelope.payload.to_vec(),
            headers,
            reject,
        });
    }

    /// The serialised rows, to be sent as they are, as often as it takes.
    pub fn rows(self: &Arc<Self>) -> Bytes {
        Bytes::from_owner(Rows(self.clone()))
    }

    /// Allocates once what a batch of this size needs.
    pub fn reserve(&mut self, bytes: usize) {
        self.rows.reserve_exact(bytes);
    }
}

impl Content for Arc<Batch> {
    fn has_rows(&self) -> bool {
        self.row_count > 0
    }

    fn has_dead_letters(&self) -> bool {
        !self.dead_letters.is_empty()
    }
}

struct Rows(Arc<Batch>);

impl AsRef<[u8]> for Rows {
    fn as_ref(&self) -> &[u8] {
        &self.0.rows
    }
}
