//! `make bench`: what an event costs and how fast answers come, against the real broker and the real engine.
//!
//! ```text
//! topic ─► floor: librdkafka alone ─► end to end: `uptake ingest` ─► floor: the engine alone ─► answers of the API ─► collector
//! ```
//!
//! `cargo bench --bench pipeline collector` measures only the last, `… pipeline ingest` only what is before the answers.
//!
//! Nothing is asserted but that every event was counted: the figures go to a table and to `target/bench.json`.
//! `docs/benchmarks.md` says what each of them means. `UPTAKE_BENCH_EVENTS` makes everything smaller or larger.

mod answers;
mod collector;
#[path = "../common/company.rs"]
mod company;
mod floor;
#[path = "../common/group.rs"]
mod group;
mod ingest;
#[path = "../common/parts.rs"]
mod parts;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/report.rs"]
mod report;
#[path = "../common/topic.rs"]
mod topic;

use self::report::{RUNS, Report};

/// The API is asked about this many times the events that go through the topic.
const STORED_FOR_EACH_SENT: u64 = 5;
/// The collector is sent one for so many that go through the topic.
const SENT_FOR_EACH_OVER_HTTP: u64 = 5;

fn main() -> anyhow::Result<()> {
    let only = |part| std::env::args().any(|argument| argument == part);
    let (only_collector, only_ingest) = (only("collector"), only("ingest"));
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(floor::CONSUME) {
        return floor::consume(arguments);
    }
    let events = topic::events_wanted()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut report = Report::new(events);
        let parts = parts::Parts::start().await?;
        if only_collector {
            report.event_bytes(topic::BYTES as f64);
        } else {
            ingest(&mut report, &parts, events).await?;
            if !only_ingest {
                answers::measure(&mut report, &parts, events * STORED_FOR_EACH_SENT).await?;
            }
        }
        if !only_ingest {
            collector::measure(&mut report, &parts, events / SENT_FOR_EACH_OVER_HTTP).await?;
        }
        parts.stop().await;
        report.finish("bench.json")
    })
}

async fn ingest(report: &mut Report, parts: &parts::Parts, events: u64) -> anyhow::Result<()> {
    report.progress(format_args!("sending {events} events to Kafka"));
    let mut topic = topic::Topic::fill(parts, events).await?;
    report.event_bytes(topic.mean_bytes);

    floor::librdkafka(report, &topic)?;
    let database = self::ingest::end_to_end(report, parts, &mut topic).await?;
    floor::engine(report, parts, database).await
}
