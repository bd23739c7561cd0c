//! Every metric, declared once: name, help, labels, buckets. `uptake_<noun>_<unit>[_total]`, in base units.

use std::fmt::Debug;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    pub reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PartitionLabel {
    pub partition: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    pub outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RollupLabel {
    pub rollup: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabel {
    pub route: String,
    pub status: u16,
}

/// What an `ingest` worker tells.
#[derive(Debug, Clone)]
pub struct IngestMetrics {
    pub messages: Counter,
    pub events: Counter,
    pub rejects: Family<ReasonLabel, Counter>,
    pub repeats: Counter,
    pub erased: Counter,
    pub lag: Family<PartitionLabel, Gauge>,
    pub batch_rows: Histogram,
    pub batch_bytes: Histogram,
    pub inserts: Family<OutcomeLabel, Counter>,
    pub insert_seconds: Histogram,
    pub end_to_end_seconds: Histogram,
    pub partitions: Gauge,
    pub paused: Gauge,
    pub takeover_seconds: Histogram,
    pub last_commit: Gauge<f64, AtomicU64>,
}

/// What the reconciler tells.
#[derive(Debug, Clone)]
pub struct ReconcileMetrics {
    pub days: Counter,
    pub rows: Counter,
    pub differences: Family<RollupLabel, Counter>,
    pub repairs: Family<RollupLabel, Counter>,
    pub pending: Gauge,
    pub last_run: Gauge<f64, AtomicU64>,
}

/// A group of a target; `group` is empty where the target is one for the whole system.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TargetLabel {
    pub system: String,
    pub target: String,
    pub by: &'static str,
    pub group: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TargetStateLabel {
    pub system: String,
    pub target: String,
    pub by: &'static str,
    pub group: String,
    pub state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SystemLabel {
    pub system: String,
}

/// What the evaluator of targets tells. Nothing of a group that is suppressed.
#[derive(Debug, Clone)]
pub struct TargetMetrics {
    pub rate: Family<TargetLabel, Gauge<f64, AtomicU64>>,
    pub expected_rate: Family<TargetLabel, Gauge<f64, AtomicU64>>,
    pub eligible: Family<TargetLabel, Gauge>,
    pub state: Family<TargetStateLabel, Gauge>,
    pub decided_state: Family<TargetStateLabel, Gauge>,
    pub working_day: Family<SystemLabel, Gauge>,
    pub evaluated_through: Family<SystemLabel, Gauge<f64, AtomicU64>>,
    pub data_complete: Family<SystemLabel, Gauge>,
    pub notices_waiting: Gauge,
    pub notice_attempts: Family<OutcomeLabel, Counter>,
}

/// What the `api` tells.
#[derive(Debug, Clone)]
pub struct ApiMetrics {
    pub requests: Family<RouteLabel, Counter>,
    pub request_seconds: Family<RouteLabel, Histogram>,
}

/// What `POST /api/v1/events` tells.
#[derive(Debug, Clone)]
pub struct CollectorMetrics {
    pub events: Counter,
    pub refused: Family<ReasonLabel, Counter>,
    pub produce_seconds: Histogram,
    pub queue_bytes: Gauge,
}

/// All of them, with the registry that prints them.
pub struct Metrics {
    registry: Registry,
    /// 1 if the process was ready when it was last asked for its metrics.
    pub ready: Gauge,
    pub ingest: IngestMetrics,
    pub reconcile: ReconcileMetrics,
    pub targets: TargetMetrics,
    pub api: ApiMetrics,
    pub collector: CollectorMetrics,
}

fn seconds() -> Histogram {
    // 1 ms to 65 s.
    Histogram::new(exponential_buckets(0.001, 2.0, 17))
}

fn register<M: Metric + Clone + Debug>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("uptake");
        let ready = register(
            &mut registry,
            "ready",
            "1 if everything that the process needs answers",
            Gauge::default(),
        );
        let ingest = IngestMetrics::register(registry.sub_registry_with_prefix("ingest"));
        let reconcile = ReconcileMetrics::register(registry.sub_registry_with_prefix("reconcile"));
        let targets = TargetMetrics::register(registry.sub_registry_with_prefix("target"));
        let api = ApiMetrics::register(registry.sub_registry_with_prefix("api"));
        let collector = CollectorMetrics::register(registry.sub_registry_with_prefix("collector"));
        Self {
            registry,
            ready,
            ingest,
            reconcile,
            targets,
            api,
            collector,
        }
    }
}

impl Metrics {
    /// The text that Prometheus scrapes (OpenMetrics 1.0).
    pub fn render(&self) -> String {
        let mut out = String::new();
        if text::encode(&mut out, &self.registry).is_err() {
            tracing::error!("the metrics cannot be rendered");
        }
        out
    }
}

impl IngestMetrics {
    fn register(r: &mut Registry) -> Self {
        let rows = || Histogram::new(exponential_buckets(1.0, 4.0, 11));
        let bytes = || Histogram::new(exponential_buckets(256.0, 4.0, 11));
        Self {
            messages: register(r, "messages", "Messages read from Kafka", Counter::default()),
            events: register(r, "events", "Events stored in ClickHouse", Counter::default()),
            rejects: register(
                r,
                "rejects",
                "Events refused to the dead-letter topic, by reason",
                Family::default(),
            ),
            repeats: register(
                r,
                "repeats",
                "Events dropped because they had been counted before",
                Counter::default(),
            ),
            erased: register(
                r,
                "erased_events",
                "Events dropped because their user was erased after them",
                Counter::default(),
            ),
            lag: register(
                r,
                "lag_messages",
                "Messages in a partition not yet committed",
                Family::default(),
            ),
            batch_rows: register(r, "batch_rows", "Rows of a batch", rows()),
            batch_bytes: register(r, "batch_bytes", "Bytes of a batch as sent to ClickHouse", bytes()),
            inserts: register(
                r,
                "inserts",
                "Attempts to insert a batch, by outcome",
                Family::default(),
            ),
            insert_seconds: register(r, "insert_seconds", "Time of a successful insert", seconds()),
            end_to_end_seconds: register(
                r,
                "end_to_end_seconds",
                "From the Kafka timestamp of a batch's oldest event to its commit",
                seconds(),
            ),
            partitions: register(r, "partitions", "Partitions this worker owns", Gauge::default()),
            paused: register(
                r,
                "paused",
                "1 while consumption waits for ClickHouse",
                Gauge::default(),
            ),
            takeover_seconds: register(
                r,
                "takeover_seconds",
                "Time to take over the partitions of a rebalance",
                seconds(),
            ),
            last_commit: register(
                r,
                "last_commit_timestamp_seconds",
                "When offsets were last committed, in seconds since the epoch",
                Gauge::default(),
            ),
        }
    }
}

impl ReconcileMetrics {
    fn register(r: &mut Registry) -> Self {
        Self {
            days: register(
                r,
                "days",
                "Local days of a system whose rollups were compared with the raw events",
                Counter::default(),
            ),
            rows: register(r, "rows", "Events and rollup rows compared", Counter::default()),
            differences: register(
                r,
                "differences",
                "Keys of a rollup that did not say what the raw events say",
                Family::default(),
            ),
            repairs: register(
                r,
                "repairs",
                "Keys of a rollup that were made to say what the raw events say",
                Family::default(),
            ),
            pending: register(r, "pending_days", "Local days left for the next run", Gauge::default()),
            last_run: register(
                r,
                "last_run_timestamp_seconds",
                "When a run last finished, in seconds since the epoch",
                Gauge::default(),
            ),
        }
    }
}

impl TargetMetrics {
    fn register(r: &mut Registry) -> Self {
        Self {
            rate: register(r, "rate", "What a target is measured by", Family::default()),
            expected_rate: register(r, "expected_rate", "What the rate should be by now", Family::default()),
            eligible: register(r, "eligible", "People whom the rate is about", Family::default()),
            state: register(r, "state", "1 for the state that a target is in", Family::default()),
            decided_state: register(
                r,
                "decided_state",
                "1 for the state that was decided last, which stays while a target is undecided",
                Family::default(),
            ),
            working_day: register(r, "working_day", "1 on a working day of the system", Family::default()),
            evaluated_through: register(
                r,
                "evaluated_through_timestamp_seconds",
                "The end of the last local day that was evaluated, in seconds since the epoch",
                Family::default(),
            ),
            data_complete: register(
                r,
                "data_complete",
                "1 if the data of the last evaluated day were complete",
                Family::default(),
            ),
            notices_waiting: register(
                r,
                "notices_waiting",
                "Notices that the webhook has not taken yet",
                Gauge::default(),
            ),
            notice_attempts: register(
                r,
                "notice_attempts",
                "Attempts to deliver a notice to the webhook, by outcome",
                Family::default(),
            ),
        }
    }
}

impl ApiMetrics {
    fn register(r: &mut Registry) -> Self {
        Self {
            requests: register(
                r,
                "requests",
                "Requests answered, by route and status",
                Family::default(),
            ),
            request_seconds: register(
                r,
                "request_seconds",
                "Time to answer a request, by route and status",
                Family::new_with_constructor(seconds),
            ),
        }
    }
}

impl CollectorMetrics {
    fn register(r: &mut Registry) -> Self {
        Self {
            events: register(
                r,
                "events",
                "Events taken over HTTP and acknowledged by Kafka",
                Counter::default(),
            ),
            refused: register(
                r,
                "refused_events",
                "Events not taken over HTTP, by reason",
                Family::default(),
            ),
            produce_seconds: register(
                r,
                "produce_seconds",
                "From queueing a request's events to Kafka's acknowledgement of the last",
                seconds(),
            ),
            queue_bytes: register(
                r,
                "queue_bytes",
                "Bytes taken over HTTP that wait for Kafka",
                Gauge::default(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_readme_lists_every_metric_with_its_type_and_no_other() {
        let text = rendered();
        let declared: BTreeSet<_> = text.lines().filter_map(declaration).collect();
        let listed: BTreeSet<_> = include_str!("../README.md").lines().filter_map(row).collect();
        assert_eq!(listed, declared);
    }

    #[test]
    fn the_rules_name_only_metrics_that_there_are() {
        let text = rendered();
        let declared: BTreeSet<_> = text.lines().filter_map(declaration).map(|(name, _)| name).collect();
        let rules = [
            include_str!("../deploy/prometheus/rules/targets.yml"),
            include_str!("../deploy/prometheus/rules/pipeline.yml"),
        ];
        let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        let named: BTreeSet<_> = rules.iter().flat_map(|text| text.split(word)).collect();
        let named: Vec<_> = named.iter().filter(|name| name.starts_with("uptake_")).collect();
        assert!(named.len() > 5, "{named:?}");
        for name in named {
            assert!(declared.contains(*name), "{name}");
        }
    }

    /// With every metric in it.
    fn rendered() -> String {
        let metrics = Metrics::default();
        // A family is rendered once it has labels.
        let route = RouteLabel {
            route: "/".to_owned(),
            status: 200,
        };
        drop(metrics.ingest.rejects.get_or_create(&ReasonLabel { reason: "x" }));
        drop(metrics.ingest.lag.get_or_create(&PartitionLabel { partition: 0 }));
        drop(metrics.ingest.inserts.get_or_create(&OutcomeLabel { outcome: "x" }));
        let rollup = RollupLabel { rollup: "x" };
        drop(metrics.reconcile.differences.get_or_create(&rollup));
        drop(metrics.reconcile.repairs.get_or_create(&rollup));
        let system = SystemLabel { system: "x".to_owned() };
        let target = TargetLabel {
            system: "x".to_owned(),
            target: "x".to_owned(),
            by: "unit",
            group: "x".to_owned(),
        };
        let state = TargetStateLabel {
            system: "x".to_owned(),
            target: "x".to_owned(),
            by: "unit",
            group: "x".to_owned(),
            state: "x",
        };
        drop(metrics.targets.rate.get_or_create(&target));
        drop(metrics.targets.expected_rate.get_or_create(&target));
        drop(metrics.targets.eligible.get_or_create(&target));
        drop(metrics.targets.state.get_or_create(&state));
        drop(metrics.targets.decided_state.get_or_create(&state));
        drop(metrics.targets.working_day.get_or_create(&system));
        drop(metrics.targets.evaluated_through.get_or_create(&system));
        drop(metrics.targets.data_complete.get_or_create(&system));
        drop(
            metrics
                .targets
                .notice_attempts
                .get_or_create(&OutcomeLabel { outcome: "x" }),
        );
        drop(metrics.api.requests.get_or_create(&route));
        drop(metrics.api.request_seconds.get_or_create(&route));
        drop(metrics.collector.refused.get_or_create(&ReasonLabel { reason: "x" }));
        metrics.render()
    }

    /// Name and type of a `# TYPE` line; counters under the name they are scraped by.
    fn declaration(line: &str) -> Option<(String, &str)> {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        let total = if kind == "counter" { "_total" } else { "" };
        Some((format!("{name}{total}"), kind))
    }

    /// Name and type of a line of the README's table.
    fn row(line: &str) -> Option<(String, &str)> {
        let (name, rest) = line.strip_prefix("| `uptake_")?.split_once("` | ")?;
        Some((format!("uptake_{name}"), rest.split(' ').next()?))
    }
}
