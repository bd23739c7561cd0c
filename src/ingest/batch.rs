//! A batch owns its rows, already serialised, and the exact partition → next-offset map that it covers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use rdkafka::message::OwnedHeaders;

use super::envelope::{Envelope, Position};
use super::lock;
use super::protocol::Content;
use super::row;
use super::users::{User, UserKey};
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

/// A row that waits for the ordinal of its user.
struct Unresolved {
    /// Where the ordinal stands in the rows.
    at: usize,
    key: UserKey,
    user: Pseudonym,
}

/// Rows and everything else between two commits.
pub struct Batch {
    /// Serialised; taken out when they become the body.
    rows: Mutex<Vec<u8>>,
    row_bytes: usize,
    /// What is sent; nothing changes it once it is there.
    body: OnceLock<Bytes>,
    /// The rows whose users have no ordinal yet.
    unresolved: Vec<Unresolved>,
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
            rows: Mutex::default(),
            row_bytes: 0,
            body: OnceLock::new(),
            unresolved: Vec::new(),
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
            || self.row_bytes + self.dead_letter_bytes >= bounds.batch_bytes
    }

    pub fn is_due(&self, bounds: &config::Ingest) -> bool {
        !self.is_empty() && self.opened.elapsed() >= Duration::from_millis(bounds.batch_age_ms)
    }

    pub fn bytes(&self) -> usize {
        self.row_bytes
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

    pub fn push_row(&mut self, event: &Event<'_>, user: User, topic: &str, position: Position) {
        let zone = self.zones.of(&event.system);
        let rows = self.rows.get_mut().unwrap_or_else(PoisonError::into_inner);
        if user.ordinal == 0 {
            self.unresolved.push(Unresolved {
                at: rows.len(),
                key: user.key,
                user: user.pseudonym,
            });
        }
        row::encode(rows, event, &user, zone, topic, position, self.ingested_ms);
        self.row_bytes = rows.len();
        self.row_count += 1;
        self.identity_sum = self.identity_sum.wrapping_add(event.identity.0 as u64);
    }

    pub fn push_dead_letter(&mut self, envelope: &Envelope<'_>, reject: Reject) {
        let headers = envelope.headers.map(|headers| headers.detach()).unwrap_or_default();
        self.dead_letter_bytes += envelope.payload.len() + 512;
        self.dead_letters.push(DeadLetter {
            position: envelope.position,
            kafka_ms: envelope.kafka_ms,
            key: envelope.key.map(<[u8]>::to_vec),
            payload: envelope.payload.to_vec(),
            headers,
            reject,
        });
    }

    /// The users without whose ordinals the rows cannot be sent.
    pub fn unresolved(&self) -> impl Iterator<Item = Pseudonym> {
        self.unresolved.iter().map(|row| row.user)
    }

    /// Fills in the `ordinals` of the unresolved users, once and for all, and gives what the chain can learn from it.
    pub fn complete(&self, ordinals: &HashMap<Pseudonym, u64>) -> anyhow::Result<Vec<(UserKey, u64)>> {
        let mut learnt = Vec::with_capacity(self.unresolved.len());
        let mut rows = lock(&self.rows);
        for row in &self.unresolved {
            let ordinal = ordinals.get(&row.user).copied();
            let ordinal = ordinal.with_context(|| format!("user {}: expected an ordinal, there is none", row.user))?;
            rows[row.at..row.at + size_of::<u64>()].copy_from_slice(&ordinal.to_le_bytes());
            learnt.push((row.key, ordinal));
        }
        let body = Bytes::from(std::mem::take(&mut *rows));
        let _first = self.body.set(body);
        Ok(learnt)
    }

    /// The rows as they are sent, as often as it takes; `None` while users are unresolved.
    pub fn body(&self) -> Option<Bytes> {
        self.body.get().cloned()
    }

    /// Allocates once what a batch of this size needs.
    pub fn reserve(&mut self, bytes: usize) {
        let rows = self.rows.get_mut().unwrap_or_else(PoisonError::into_inner);
        rows.reserve_exact(bytes);
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
