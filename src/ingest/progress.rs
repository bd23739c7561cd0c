//! How far each partition is, for `data_quality`, readiness and the lag metric.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use rdkafka::Statistics;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::batch::Covered;
use super::lock;
use crate::metrics::{IngestMetrics, PartitionLabel};
use crate::store::Store;

const REPORT: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
struct Standing {
    committed: u64,
    end: u64,
    /// Everything up to here has been counted: the time of the last look at an empty partition, or of the last message.
    complete_through: Timestamp,
    /// The end, where the consumer stood there with nothing unwritten in hand. Seen twice, what lies between the last
    /// committed message and the end is none that it is ever given: markers of transactions, or what was aborted. Once
    /// is not enough: after a pause librdkafka tells of a position that it no longer has.
    read_to: Option<i64>,
}

/// A partition that is read.
#[derive(Debug, Clone, Copy)]
pub struct Open {
    pub partition: i32,
    /// Nothing that was read of it waits to be written.
    pub is_settled: bool,
}

/// The standings of the partitions that this worker owns.
#[derive(Default)]
pub struct Progress {
    committed: Mutex<BTreeMap<i32, Covered>>,
    standings: Mutex<BTreeMap<i32, Standing>>,
}

impl Progress {
    pub fn committed(&self, offsets: &BTreeMap<i32, Covered>) {
        lock(&self.committed).extend(offsets);
    }

    pub fn release(&self, partition: i32, metrics: &IngestMetrics) {
        lock(&self.committed).remove(&partition);
        lock(&self.standings).remove(&partition);
        metrics.lag.remove(&PartitionLabel { partition });
    }

    /// Takes in librdkafka's statistics, which know the ends of the partitions.
    pub fn observe(&self, statistics: &Statistics, topic: &str, open: &[Open], metrics: &IngestMetrics) {
        let Some(topic) = statistics.topics.get(topic) else {
            return;
        };
        let now = Timestamp::now();
        for &Open { partition, is_settled } in open {
            let Some(seen) = topic.partitions.get(&partition).filter(|seen| seen.hi_offset >= 0) else {
                continue;
            };
            let ours = lock(&self.committed).get(&partition).copied();
            let start = seen.committed_offset.max(seen.lo_offset).max(0);
            let mut committed = ours.map_or(start, |covered| covered.next_offset.max(start));
            let is_at_end = is_settled && seen.fetchq_cnt == 0 && seen.next_offset >= seen.hi_offset;
            let read_to = is_at_end.then_some(seen.hi_offset);
            let before = lock(&self.standings).get(&partition).and_then(|before| before.read_to);
            if read_to.is_some() && before == read_to {
                committed = committed.max(seen.hi_offset);
            }
            let lag = (seen.hi_offset - committed).max(0);
            let complete_through = match (lag, ours) {
                (0, _) => Some(now),
                (_, Some(covered)) => Timestamp::from_millisecond(covered.kafka_ms).ok(),
                (_, None) => None,
            };
            metrics.lag.get_or_create(&PartitionLabel { partition }).set(lag);
            let standing = Standing {
                committed: committed as u64,
                end: seen.hi_offset as u64,
                complete_through: complete_through.unwrap_or(Timestamp::UNIX_EPOCH),
                read_to,
            };
            lock(&self.standings).insert(partition, standing);
        }
    }

    /// The statistics come once a second; what was committed since counts too, so that the last report of a worker that stops
    /// tells of its last commit.
    fn standings(&self) -> BTreeMap<i32, Standing> {
        let mut standings = lock(&self.standings).clone();
        for (partition, covered) in lock(&self.committed).iter() {
            if let Some(standing) = standings.get_mut(partition) {
                standing.committed = standing.committed.max(covered.next_offset as u64);
                standing.end = standing.end.max(standing.committed);
            }
        }
        standings
    }

    /// Writes the standings to `ingest_progress` every few seconds until shutdown, and once more then.
    pub async fn report(self: Arc<Self>, store: Store, topic: String, worker: String, shutdown: CancellationToken) {
        loop {
            let running = shutdown.run_until_cancelled(tokio::time::sleep(REPORT)).await.is_some();
            let standings = self.standings();
            if !standings.is_empty()
                && let Err(error) = write(&store, &topic, &worker, &standings).await
            {
                tracing::debug!(
                    error = format!("{error:#}"),
                    "the progress of ingest cannot be stored now"
                );
            }
            if !running {
                return;
            }
        }
    }
}

async fn write(store: &Store, topic: &str, worker: &str, standings: &BTreeMap<i32, Standing>) -> anyhow::Result<()> {
    let rows = standings.iter().map(|(partition, standing)| {
        json!({
            "kafka_topic": topic,
            "kafka_partition": partition,
            "committed_offset": standing.committed,
            "end_offset": standing.end,
            "complete_through": format!("{:.3}", standing.complete_through),
            "worker": worker,
            "updated_at": format!("{:.3}", Timestamp::now()),
        })
    });
    let columns = "kafka_topic, kafka_partition, committed_offset, end_offset, complete_through, worker, updated_at";
    store.insert_rows("ingest_progress", columns, rows).await
}
