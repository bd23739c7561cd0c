//! `make bench-peers`: Uptake's ingest and what people would use instead, one after the other on the same topic, into the same table
//! with the same views.
//!
//! ```text
//! topic ─► uptake ingest                                            ─┐
//!       ─► ClickHouse's table engine Kafka ─► view that maps         ├─► events ─► views ─► rollups
//!       ─► Kafka Connect, JDBC sink        ─► Null table, same view ─┘
//! ```
//!
//! Nothing is asserted; what a contender lost or counted twice is a figure like the others. They go to a table and to
//! `target/bench-peers.json`. `docs/benchmarks.md` says what each of them means. `UPTAKE_BENCH_EVENTS` makes everything smaller or larger.

mod connect;
mod contender;
#[path = "../common/group.rs"]
mod group;
mod inbox;
#[path = "../common/parts.rs"]
mod parts;
#[path = "../common/process.rs"]
mod process;
mod race;
#[path = "../common/report.rs"]
mod report;
#[path = "../common/topic.rs"]
mod topic;

use self::contender::Contender;
use self::race::Run;
use self::report::{RUNS, Report, Target};

/// Uptake is to be so many times as fast, at so many times less CPU, as [`Contender::ALL`] in their order.
const TIMES: [f64; 3] = [1.0, 3.0, 4.0];

fn main() -> anyhow::Result<()> {
    let mut report = Report::new(topic::events_wanted()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let parts = parts::Parts::start().await?;
        report.progress(format_args!("sending {} events to Kafka", report.events()));
        let topic = topic::Topic::fill(&parts, report.events()).await?;
        report.event_bytes(topic.mean_bytes);
        // Between their runs its workers stay: a service that has been up for long has its code compiled.
        let mut connect = connect::Connect::start(parts.config()).await?;
        let mut runs = Contender::ALL.map(|_| Vec::new());
        // Taking turns, so that what else the machine does meets them alike.
        for number in 1..=RUNS {
            for (contender, runs) in Contender::ALL.into_iter().zip(&mut runs) {
                report.progress(format_args!("{}, run {number} of {RUNS}", contender.name()));
                let database = format!("{}_{number}", contender.id());
                let installation = parts.database(&database).await?;
                let run = race::run(contender, &parts, &installation, &mut connect, &topic).await?;
                report.progress(format_args!("  {:.0} events/s", run.events_per_second));
                runs.push(run);
                installation.drop().await?;
            }
        }
        connect.stop()?;
        parts.stop().await;
        figures(&mut report, &runs);
        report.finish("bench-peers.json")
    })
}

fn figures(report: &mut Report, runs: &[Vec<Run>; 3]) {
    for (contender, runs) in Contender::ALL.into_iter().zip(runs) {
        let mut add = |what: &str, unit, figure: fn(&Run) -> f64| {
            let what = format!("{}: {what}", contender.name());
            let values: Vec<_> = runs.iter().map(figure).collect();
            match (contender, unit) {
                (Contender::Uptake, "events") => report.add_with_target(what, unit, values, Target::AtMost(0.0)),
                _ => report.add(what, unit, values),
            }
        };
        add("end to end", "events/s", |run| run.events_per_second);
        add("CPU of all but the broker", "µs/event", Run::us);
        if contender.has_process() {
            add("of that, its own process", "µs/event", |run| run.own_us);
            add("peak memory of its process", "MB", |run| run.own_mb);
        }
        add("CPU of the broker", "µs/event", |run| run.broker_us);
        add("lost", "events", |run| run.lost as f64);
        add("counted twice", "events", |run| run.twice as f64);
    }
    let [uptake, peers @ ..] = runs;
    let peers = Contender::ALL.into_iter().zip(TIMES).skip(1).zip(peers);
    for ((contender, times), runs) in peers {
        let ratio =
            |of: fn(&Run, &Run) -> f64| uptake.iter().zip(runs).map(|(ours, theirs)| of(ours, theirs)).collect();
        let speed = ratio(|ours, theirs| ours.events_per_second / theirs.events_per_second);
        let cpu = ratio(|ours, theirs| theirs.us() / ours.us());
        let name = contender.name();
        let target = Target::AtLeast(times);
        report.add_with_target(format!("uptake against {name}: speed"), "times", speed, target);
        report.add_with_target(format!("uptake against {name}: less CPU"), "times", cpu, target);
    }
}
