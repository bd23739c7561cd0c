//! A batch owns its rows and the exact partition → next-offset map that it covers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use rdkafka::message::OwnedHeaders;

use super::envelope::{Envelope, Position};
use super::lock;
use super::protocol::Content;
use super::rows::{Common, Room, Rows};
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
    row: usize,
    key: UserKey,
    user: Pseudonym,
}

/// Rows and everything else between two commits.
pub struct Batch {
    /// Taken out when they become the body.
    rows: Mutex<Rows>,
    /// What is sent; nothing changes it once it is there.
    body: OnceLock<Vec<Bytes>>,
    /// The rows whose users have no ordinal yet.
    unresolved: Vec<Unresolved>,
    pub row_count: usize,
    pub repeats: usize,
    pub dead_letters: Vec<DeadLetter>,
    /// Of rows and dead letters.
    held_bytes: usize,
    /// Skipped and refused messages included: what is committed is exactly this.
    pub covered: BTreeMap<i32, Covered>,
    pub oldest_kafka_ms: i64,
    /// The definitions that all of its rows are counted under.
    pub zones: Arc<Zones>,
    opened: Instant,
    /// Stands in every row of this batch, in milliseconds since the epoch.
    pub ingested_ms: i64,
    /// The rows' identities, added up with wrap-around: tells whether all of them are stored.
    pub identity_sum: u64,
}

impl Batch {
    /// `room` is what a batch like it needed.
    pub fn new(zones: Arc<Zones>, ingested_ms: i64, room: Room) -> Self {
        Self {
            rows: Mutex::new(Rows::with_room(room)),
            body: OnceLock::new(),
            unresolved: Vec::new(),
            row_count: 0,
            repeats: 0,
            dead_letters: Vec::new(),
            held_bytes: 0,
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
        self.until_full(bounds) == 0 || self.held_bytes >= bounds.batch_bytes
    }

    /// How many rows and dead letters more are allowed.
    pub fn until_full(&self, bounds: &config::Ingest) -> usize {
        bounds
            .batch_rows
            .saturating_sub(self.row_count + self.dead_letters.len())
    }

    pub fn is_due(&self, bounds: &config::Ingest) -> bool {
        !self.is_empty() && self.opened.elapsed() >= Duration::from_millis(bounds.batch_age_ms)
    }

    /// What is sent, in bytes.
    pub fn body_bytes(&self) -> usize {
        self.body.get().into_iter().flatten().map(Bytes::len).sum()
    }

    /// What the next batch of this kind will need.
    pub fn room(&self) -> Room {
        lock(&self.rows).room()
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
        let before = self.covered.insert(envelope.position.partition, covered);
        debug_assert!(before.is_none_or(|before| before.next_offset < covered.next_offset));
        self.oldest_kafka_ms = self.oldest_kafka_ms.min(envelope.kafka_ms);
    }

    pub fn push_row(&mut self, event: &Event<'_>, user: User, position: Position) {
        if user.ordinal == 0 {
            self.unresolved.push(Unresolved {
                row: self.row_count,
                key: user.key,
                user: user.pseudonym,
            });
        }
        let rows = self.rows.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.held_bytes += rows.push(event, user.ordinal, self.zones.of(&event.system), position);
        self.row_count += 1;
        self.identity_sum = self.identity_sum.wrapping_add(event.identity.0);
    }

    pub fn push_dead_letter(&mut self, envelope: &Envelope<'_>, reject: Reject) {
        let headers = envelope.headers.map(|headers| headers.detach()).unwrap_or_default();
        self.held_bytes += envelope.payload.len() + 512;
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
    pub fn complete(&self, ordinals: &HashMap<Pseudonym, u64>, topic: &str) -> anyhow::Result<Vec<(UserKey, u64)>> {
        let mut learnt = Vec::with_capacity(self.unresolved.len());
        let mut rows = lock(&self.rows);
        for unresolved in &self.unresolved {
            let (user, ordinal) = (unresolved.user, ordinals.get(&unresolved.user).copied());
            let ordinal = ordinal.with_context(|| format!("user {user}: expected an ordinal, there is none"))?;
            rows.set_ordinal(unresolved.row, ordinal);
            learnt.push((unresolved.key, ordinal));
        }
        let common = Common {
            topic,
            ingested_ms: self.ingested_ms,
        };
        let _first = self.body.set(std::mem::take(&mut *rows).into_body(&common));
        Ok(learnt)
    }

    /// The rows as they are sent, as often as it takes; `None` while users are unresolved.
    pub fn body(&self) -> Option<&[Bytes]> {
        self.body.get().map(Vec::as_slice)
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
