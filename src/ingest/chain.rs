//! What happens to one message: decode ▸ identify ▸ batch. Pure but for the clock; nothing here waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::bail;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;

use super::Shared;
use super::batch::Batch;
use super::envelope::Envelope;
use super::identity::IdentityMemory;
use super::rows::Room;
use super::users::{UserKey, Users};
use super::zones::Zones;
use crate::config::Config;
use crate::event::{Event, Reject, TimeRange};
use crate::metrics::{IngestMetrics, ReasonLabel};
use crate::store::erasure::Tombstones;

/// So many messages are decoded before the first of them is looked for among the repeats.
const AHEAD: usize = 32;

/// The state of the polling thread.
pub struct Chain {
    config: Arc<Config>,
    metrics: IngestMetrics,
    users: Users,
    zones: watch::Receiver<Arc<Zones>>,
    tombstones: watch::Receiver<Arc<Tombstones>>,
    /// Of the partitions whose messages may be taken in.
    memories: BTreeMap<i32, IdentityMemory>,
    batch: Batch,
    /// What the last batch needed.
    room: Room,
    /// The clock, read once for many messages.
    now_ms: i64,
}

impl Chain {
    pub fn new(config: Arc<Config>, metrics: IngestMetrics, shared: &Shared) -> Self {
        let (zones, mut tombstones) = (shared.zones.clone(), shared.tombstones.clone());
        let erased = tombstones.borrow_and_update().clone();
        let pseudonymizer = config.privacy.pseudonymizer();
        let batch = Batch::new(zones.borrow().clone(), now_ms(), Room::default());
        Self {
            config,
            metrics,
            users: Users::new(pseudonymizer, StdRng::from_os_rng().random(), erased),
            zones,
            tombstones,
            memories: BTreeMap::new(),
            batch,
            room: Room::default(),
            now_ms: now_ms(),
        }
    }

    /// Reads the clock, and who was erased; to be called before every round of messages.
    pub fn tick(&mut self) {
        self.now_ms = now_ms();
        if self.tombstones.has_changed().unwrap_or(false) {
            self.users.forget(self.tombstones.borrow_and_update().clone());
        }
    }

    /// Takes messages in. Fails only when a partition's memory is missing, which would risk counting twice.
    pub fn take(&mut self, envelopes: &[Envelope<'_>]) -> anyhow::Result<()> {
        for envelopes in envelopes.chunks(AHEAD) {
            let decoded: Vec<_> = envelopes
                .iter()
                .map(|envelope| decode(envelope, &self.config, self.now_ms))
                .collect();
            for (envelope, event) in envelopes.iter().zip(&decoded) {
                if let (Some(memory), Ok(event)) = (self.memories.get(&envelope.position.partition), event) {
                    memory.look_ahead(event.identity);
                }
            }
            for (envelope, event) in envelopes.iter().zip(decoded) {
                self.take_one(envelope, event)?;
            }
        }
        Ok(())
    }

    fn take_one(&mut self, envelope: &Envelope<'_>, event: Result<Event<'_>, Reject>) -> anyhow::Result<()> {
        let position = envelope.position;
        let Some(memory) = self.memories.get_mut(&position.partition) else {
            bail!(
                "a message of partition {} came before the partition was taken over",
                position.partition
            );
        };
        if self.batch.is_empty() {
            self.batch = Batch::new(self.zones.borrow().clone(), self.now_ms, self.room);
        }
        self.metrics.messages.inc();
        match event {
            Ok(event) => {
                let user = self.users.of(&event.subject);
                if event.time_ms < user.erased_before_ms {
                    self.metrics.erased.inc();
                } else if memory.remember(event.identity) {
                    self.batch.push_row(&event, user, position);
                } else {
                    self.batch.repeats += 1;
                }
            }
            Err(reject) => {
                self.metrics
                    .rejects
                    .get_or_create(&ReasonLabel {
                        reason: reject.reason.code(),
                    })
                    .inc();
                self.batch.push_dead_letter(envelope, reject);
            }
        }
        self.batch.cover(envelope);
        Ok(())
    }

    pub fn is_full(&self) -> bool {
        self.batch.is_full(&self.config.ingest)
    }

    /// How many messages more the batch may take in.
    pub fn until_full(&self) -> usize {
        self.batch.until_full(&self.config.ingest)
    }

    pub fn is_due(&self) -> bool {
        self.is_full() || self.batch.is_due(&self.config.ingest)
    }

    /// The batch as it stands, if anything is in it; the next one starts empty.
    pub fn take_batch(&mut self) -> Option<Batch> {
        if self.batch.is_empty() {
            return None;
        }
        // The next batch allocates once what this one needed, when it begins.
        self.room = self.batch.room();
        let empty = Batch::new(self.zones.borrow().clone(), self.now_ms, Room::default());
        Some(std::mem::replace(&mut self.batch, empty))
    }

    pub fn learn(&mut self, ordinals: Vec<(UserKey, u64)>) {
        for (user, ordinal) in ordinals {
            self.users.learn(user, ordinal);
        }
    }

    /// Messages of the partition may be taken in from now on.
    pub fn open(&mut self, partition: i32, memory: IdentityMemory) {
        self.memories.insert(partition, memory);
    }

    pub fn forget(&mut self, partition: i32) {
        self.memories.remove(&partition);
    }

    /// Something of the partition is read and not handed over yet.
    pub fn holds(&self, partition: i32) -> bool {
        self.batch.covered.contains_key(&partition)
    }

    pub fn open_partitions(&self) -> impl Iterator<Item = i32> {
        self.memories.keys().copied()
    }
}

/// Bytes to event, or the reason why not.
fn decode<'m>(envelope: &Envelope<'m>, config: &Config, now: i64) -> Result<Event<'m>, Reject> {
    let times = TimeRange::at(now, config.retention.raw_days, config.ingest.future_tolerance_ms);
    let max_bytes = config.ingest.max_event_bytes;
    Event::read(envelope.binary_attributes(), envelope.payload, max_bytes, times)
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}
