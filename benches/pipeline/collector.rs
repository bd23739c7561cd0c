//! `POST /api/v1/events`: batches over connections that are kept open, to `uptake api`, with the broker beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use uptake::store::topics;

use crate::RUNS;
use crate::parts::Parts;
use crate::process::{self, Meter};
use crate::report::{Report, Target};
use crate::topic;

const TOPIC: &str = "collector";
/// Events in a request.
const BATCH: u64 = 100;
/// Requests under way: each waits for the broker.
const CONNECTIONS: usize = 16;
/// Of a processor that does nothing else.
const EVENTS_PER_CPU_SECOND: f64 = 20_000.0;

/// Measures [`RUNS`] runs of `events` events each.
pub async fn measure(report: &mut Report, parts: &Parts, events: u64) -> anyhow::Result<()> {
    let installation = parts.database(TOPIC).await?;
    let mut kafka = installation.config.kafka.clone();
    TOPIC.clone_into(&mut kafka.topic);
    topics::create(&kafka, &installation.config.retention).await?;
    let address = process::free_address()?;
    let settings = [("API__LISTEN", address.clone()), ("KAFKA__TOPIC", TOPIC.to_owned())];
    let mut api = installation.start("api", &settings)?;
    let url = format!("http://{address}/api/v1/events");
    let client = reqwest::Client::new();
    let started = Instant::now();
    // The first events also find out about the topic.
    while post(&client, &url, "[]".into()).await.is_err() {
        api.check()?;
        ensure!(
            started.elapsed() < Duration::from_secs(30),
            "the API does not answer at {url}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    send(&client, &url, bodies(10)).await?;

    let bodies = bodies((events / BATCH).max(1));
    let sent = bodies.len() as f64 * BATCH as f64;
    let (mut speeds, mut costs) = (Vec::new(), Vec::new());
    for run in 1..=RUNS {
        report.progress(format_args!("collector, run {run} of {RUNS}: {sent} events over HTTP"));
        let meter = Meter::start(&[api.pid()])?;
        send(&client, &url, bodies.clone()).await?;
        let (wall, used) = meter.stop()?;
        speeds.push(sent / wall.as_secs_f64());
        costs.push(used[0].as_secs_f64() * 1e6 / sent);
    }
    let status = api.stop()?;
    ensure!(status.success(), "uptake api: {status}");
    let per_cpu_second = costs.iter().map(|us| 1e6 / us).collect();
    report.add(
        "collector: batches of 100, client and broker on the same CPUs",
        "events/s",
        speeds,
    );
    report.add("collector: CPU of the API process", "µs/event", costs);
    report.add_with_target(
        "collector: events in a second of one CPU",
        "events/s",
        per_cpu_second,
        Target::AtLeast(EVENTS_PER_CPU_SECOND),
    );
    installation.drop().await
}

/// Different events, in batches as JSON.
fn bodies(batches: u64) -> Vec<Bytes> {
    let mut rng = StdRng::seed_from_u64(batches);
    let now = Timestamp::now();
    let mut message = String::new();
    let mut body = |batch: u64| {
        let mut body = String::from("[");
        for number in batch * BATCH..(batch + 1) * BATCH {
            let user = format!("u-{:06}", rng.random_range(0..topic::USERS));
            topic::write(&mut message, &mut rng, number, &user, now);
            body.push_str(&message);
            body.push(',');
        }
        body.pop();
        body.push(']');
        Bytes::from(body)
    };
    (0..batches).map(&mut body).collect()
}

/// Sends all of them, so many at a time.
async fn send(client: &reqwest::Client, url: &str, bodies: Vec<Bytes>) -> anyhow::Result<()> {
    let bodies: Arc<[Bytes]> = bodies.into();
    let next = Arc::new(AtomicUsize::new(0));
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (client, url, bodies, next) = (client.clone(), url.to_owned(), bodies.clone(), next.clone());
        connections.spawn(async move {
            while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                post(&client, &url, body.clone()).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = connections.join_next().await {
        ended??;
    }
    Ok(())
}

async fn post(client: &reqwest::Client, url: &str, body: Bytes) -> anyhow::Result<()> {
    let request = client
        .post(url)
        .header("content-type", "application/cloudevents-batch+json");
    let response = request.body(body).send().await.with_context(|| url.to_owned())?;
    let status = response.status();
    let text = response.text().await?;
    ensure!(status.is_success(), "{url}: {status} {text}");
    Ok(())
}
