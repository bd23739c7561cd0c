//! `make bench`: what an event costs and how fast answers come, against the real broker and the real engine.
//!
//! ```text
//! topic ─► floor: librdkafka alone ─► end to end: `uptake ingest` ─► floor: the engine alone ─► answers of the API
//! ```
//!
//! Nothing is asserted but that every event was counted: the figures go to a table and to `target/bench.json`.
//! `docs/benchmarks.md` says what each of them means. `UPTAKE_BENCH_EVENTS` makes everything smaller or larger.

mod answers;
mod floor;
mod ingest;
mod parts;
mod process;
mod report;
mod topic;

use anyhow::Context;

use self::report::Report;

const EVENTS: &str = "UPTAKE_BENCH_EVENTS";
const DEFAULT_EVENTS: u64 = 2_000_000;
/// The API is asked about this many times the events that go through the topic.
const STORED_FOR_EACH_SENT: u64 = 5;
/// How often a measurement that takes seconds is repeated.
const RUNS: usize = 3;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(floor::CONSUME) {
        return floor::consume(arguments);
    }
    let events = match std::env::var(EVENTS) {
        Ok(text) => text
            .parse()
            .ok()
            .filter(|&events| events >= 1_000)
            .with_context(|| format!("{EVENTS} = {text}: expected a number of at least 1000"))?,
        Err(_) => DEFAULT_EVENTS,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(events))
}

async fn run(events: u64) -> anyhow::Result<()> {
    let mut report = Report::new(events);
    let parts = parts::Parts::start().await?;
    report.progress(format_args!("sending {events} events to Kafka"));
    let mut topic = topic::Topic::fill(&parts, events).await?;
    report.event_bytes(topic.mean_bytes);

    floor::librdkafka(&mut report, &topic)?;
    let database = ingest::end_to_end(&mut report, &parts, &mut topic).await?;
    floor::engine(&mut report, &parts, database).await?;
    answers::measure(&mut report, &parts, events * STORED_FOR_EACH_SENT).await?;

    parts.stop().await;
    report.finish()
}
