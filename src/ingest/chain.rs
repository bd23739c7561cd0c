//! What happens to one message: decode ▸ identify ▸ batch. Pure but for the clock; nothing here waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::bail;
use jiff::Timestamp;
use tokio::sync::watch;

use super::batch::Batch;
use super::envelope::Envelope;
use super::identity::IdentityMemory;
use super::zones::Zones;
use crate::config::Config;
use crate::event::{self, Event, Reject, TimeRange};
use crate::metrics::{IngestMetrics, ReasonLabel};
use crate::pseudonym::Pseudonymizer;

/// A partition of this worker: without a memory as long as its takeover is running.
struct Owned {
    assignment: u64,
    memory: Option<IdentityMemory>,
}

/// The state of the polling thread.
pub struct Chain {
    config: Arc<Config>,
    metrics: IngestMetrics,
    pseudonymizer: Pseudonymizer,
    zones: watch::Receiver<Arc<Zones>>,
    owned: BTreeMap<i32, Owned>,
    assignments: u64,
    batch: Batch,
    row_bytes: usize,
    /// The clock, read once for many messages.
    now_ms: i64,
}

impl Chain {
    pub fn new(config: Arc<Config>, metrics: IngestMetrics, zones: watch::Receiver<Arc<Zones>>) -> Self {
        let pseudonymizer = Pseudonymizer::new(config.privacy.secret.expose().as_bytes());
        let batch = Batch::new(zones.borrow().clone(), now_ms());
        Self {
            config,
            metrics,
            pseudonymizer,
            zones,
            owned: BTreeMap::new(),
            assignments: 0,
            batch,
            row_bytes: 0,
            now_ms: now_ms(),
        }
    }

    /// Reads the clock; to be called before every round of messages.
    pub fn tick(&mut self) {
        self.now_ms = now_ms();
    }

    /// Takes one message in. Fails only when the partition's memory is missing, which would risk counting twice.
    pub fn take(&mut self, envelope: &Envelope<'_>) -> anyhow::Result<()> {
        let position = envelope.position;
        let owned = self.owned.get_mut(&position.partition);
        let Some(memory) = owned.and_then(|owned| owned.memory.as_mut()) else {
            bail!(
                "a message of partition {} came before the partition was taken over",
                position.partition
            );
        };
        if self.batch.is_empty() {
            self.batch = Batch::new(self.zones.borrow().clone(), self.now_ms);
            self.batch.reserve(self.row_bytes);
        }
        self.metrics.messages.inc();
        match decode(envelope, &self.config, self.now_ms) {
            Ok(event) if memory.remember(event.identity) => {
                let user = self.pseudonymizer.pseudonym(&event.subject);
                self.batch.push_row(&event, user, &self.config.kafka.topic, position);
            }
            Ok(_) => self.batch.repeats += 1,
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

    pub fn is_due(&self) -> bool {
        self.is_full() || self.batch.is_due(&self.config.ingest)
    }

    pub fn has_batch(&self) -> bool {
        !self.batch.is_empty()
    }

    /// The batch as it stands, if anything is in it; the next one starts empty.
    pub fn take_batch(&mut self) -> Option<Batch> {
        if self.batch.is_empty() {
            return None;
        }
        // The next batch allocates once what this one needed.
        self.row_bytes = self.batch.bytes();
        let empty = Batch::new(self.zones.borrow().clone(), self.now_ms);
        Some(std::mem::replace(&mut self.batch, empty))
    }

    /// Notes that a partition was assigned; it has no memory yet. Gives the number of this assignment.
    pub fn assigned(&mut self, partition: i32) -> u64 {
        self.assignments += 1;
        self.owned.insert(
            partition,
            Owned {
                assignment: self.assignments,
                memory: None,
            },
        );
        self.assignments
    }

    /// Gives an assignment its memory; `false` when the partition has been revoked since.
    pub fn taken_over(&mut self, partition: i32, assignment: u64, memory: IdentityMemory) -> bool {
        match self.owned.get_mut(&partition) {
            Some(owned) if owned.assignment == assignment => {
                owned.memory = Some(memory);
                true
            }
            _ => false,
        }
    }

    pub fn revoked(&mut self, partition: i32) {
        self.owned.remove(&partition);
    }

    /// The partitions whose messages may be taken in.
    pub fn ready_partitions(&self) -> impl Iterator<Item = i32> {
        self.owned
            .iter()
            .filter(|(_, owned)| owned.memory.is_some())
            .map(|(&partition, _)| partition)
    }

    pub fn owned_count(&self) -> usize {
        self.owned.len()
    }
}

/// Bytes to event, or the reason why not.
fn decode<'m>(envelope: &Envelope<'m>, config: &Config, now: i64) -> Result<Event<'m>, Reject> {
    if let Some(reject) = event::oversized(envelope.payload, config.ingest.max_event_bytes) {
        return Err(reject);
    }
    let times = TimeRange::at(now, config.retention.raw_days, config.ingest.future_tolerance_ms);
    match envelope.binary_attributes() {
        Some(attributes) => Event::binary(attributes, envelope.payload, times),
        None => Event::structured(envelope.payload, times),
    }
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}
