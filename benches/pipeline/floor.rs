//! The floors: what Kafka's client and ClickHouse's engine cost by themselves. No worker can be cheaper than their sum.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};
use uptake::ingest;

use crate::RUNS;
use crate::parts::{Installation, Parts};
use crate::process::Meter;
use crate::report::Report;
use crate::topic::Topic;

/// The argument under which this program is [`consume`].
pub const CONSUME: &str = "consume";
const SILENCE: Duration = Duration::from_secs(30);

#[derive(Serialize, Deserialize)]
struct Consumed {
    cpu: Duration,
    wall: Duration,
}

/// librdkafka reading the topic and dropping each message, in a process of its own: all CPU of that process.
pub fn librdkafka(report: &mut Report, topic: &Topic) -> anyhow::Result<()> {
    report.progress(format_args!("librdkafka alone"));
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let kafka = &topic.kafka;
        let output = Command::new(std::env::current_exe()?)
            .args([CONSUME, &kafka.brokers, &kafka.topic])
            .args([kafka.partitions.to_string(), topic.events.to_string()])
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        runs.push(serde_json::from_slice::<Consumed>(&output.stdout)?);
    }
    let events = topic.events as f64;
    let all = |figure: &dyn Fn(&Consumed) -> f64| runs.iter().map(figure).collect::<Vec<_>>();
    let cpu = all(&|run| run.cpu.as_secs_f64() * 1e6 / events);
    report.add("floor: librdkafka alone: CPU", "µs/event", cpu);
    let speed = all(&|run| events / run.wall.as_secs_f64());
    report.add("floor: librdkafka alone: speed", "events/s", speed);
    Ok(())
}

/// The process that [`librdkafka`] measures. Fetches as the worker does.
pub fn consume(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let mut argument = || arguments.next().context("expected: brokers topic partitions events");
    let (brokers, topic) = (argument()?, argument()?);
    let (partitions, events): (i32, u64) = (argument()?.parse()?, argument()?.parse()?);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "floor")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("queued.max.messages.kbytes", "65536")
        .set("fetch.message.max.bytes", "4194304")
        .create()?;
    let mut assigned = TopicPartitionList::new();
    for partition in 0..partitions {
        assigned.add_partition_offset(&topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&assigned)?;
    let (mut seen, mut first) = (0, None);
    while seen < events {
        let Some(message) = consumer.poll(SILENCE) else {
            bail!("{seen} of {events} events, then nothing for {} s", SILENCE.as_secs());
        };
        drop(message?);
        first.get_or_insert_with(Instant::now);
        seen += 1;
    }
    let consumed = Consumed {
        cpu: own_cpu(),
        wall: first.map_or(Duration::ZERO, |first| first.elapsed()),
    };
    println!("{}", serde_json::to_string(&consumed)?);
    Ok(())
}

/// The engine taking the rows that the worker stored in `installation`, with their bytes, order and batches, one batch after
/// the other: the same table, views, settings and client, but nothing to read or decode.
pub async fn engine(report: &mut Report, parts: &Parts, installation: Installation) -> anyhow::Result<()> {
    report.progress(format_args!("the engine alone"));
    let batches = batches(&installation, report.events()).await?;
    installation.drop().await?;
    let (mut cpu, mut speed) = (Vec::new(), Vec::new());
    for run in 1..=RUNS {
        let installation = parts.database(&format!("floor_{run}")).await?;
        let sql = format!("INSERT INTO raw_events ({}) FORMAT Native", ingest::row_columns());
        let client = ingest::with_insert_settings(installation.store.client().clone());
        let meter = Meter::start(&[parts.engine_pid()])?;
        for (number, batch) in batches.iter().enumerate() {
            let client = client
                .clone()
                .with_setting("insert_deduplication_token", format!("{run}:{number}"));
            let mut insert = client.insert_formatted_with(&sql);
            insert.send(batch.clone()).await?;
            insert.end().await?;
        }
        let (wall, used) = meter.stop()?;
        let rows = installation.number("SELECT count() FROM raw_events").await? as f64;
        cpu.push(used[0].as_secs_f64() * 1e6 / rows);
        speed.push(rows / wall.as_secs_f64());
        installation.drop().await?;
    }
    report.add("floor: the engine alone: CPU", "µs/row", cpu);
    report.add("floor: the engine alone: speed", "rows/s", speed);
    Ok(())
}

/// The bodies of the inserts of the first `events` rows. Rows read back in Native are what the worker had sent, and the
/// rows of a batch share the time at which it was opened.
async fn batches(installation: &Installation, events: u64) -> anyhow::Result<Vec<Bytes>> {
    let client = installation.store.client();
    let sql = "SELECT toUnixTimestamp64Milli(ingested_at) AS at, count() FROM raw_events GROUP BY at ORDER BY at";
    let opened: Vec<(i64, u64)> = client.query(sql).fetch_all().await?;
    let (mut bodies, mut rows) = (Vec::new(), 0);
    for (at, count) in opened {
        if rows >= events {
            break;
        }
        let sql = format!(
            "SELECT {} FROM raw_events WHERE ingested_at = fromUnixTimestamp64Milli({at}) ORDER BY kafka_partition, kafka_offset",
            ingest::row_columns()
        );
        bodies.push(
            client
                .query(&sql)
                .with_setting("max_block_size", count.to_string())
                .fetch_bytes("Native")?
                .collect()
                .await?,
        );
        rows += count;
    }
    Ok(bodies)
}

/// User and system time of this process so far.
fn own_cpu() -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the call fills `usage`, and zeros are a valid one too.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let of = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000);
    of(usage.ru_utime) + of(usage.ru_stime)
}
