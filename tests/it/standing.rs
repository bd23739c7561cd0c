//! What a worker tells of itself: how far it is, and what keeps it from writing.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use jiff::Timestamp;
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::util::Timeout;
use serde_json::json;

use crate::common::proxy::{Inserts, Proxy};
use crate::harness::{Fixture, PATIENCE, eventually};
use crate::ingest::Worker;

fn click(id: u32) -> String {
    json!({"specversion": "1.0", "id": id.to_string(), "source": "/test", "type": "usage.feature_click.v1",
        "subject": "u-1", "time": Timestamp::now().to_string(), "data": {"system": "erp", "feature": "hr.leave"}})
    .to_string()
}

async fn transaction(fixture: &Fixture, ids: std::ops::Range<u32>, commit: bool) {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", &fixture.config.kafka.brokers)
        .set("transactional.id", &fixture.config.kafka.topic)
        .create()
        .unwrap();
    let limit = Timeout::After(PATIENCE);
    producer.init_transactions(limit).unwrap();
    producer.begin_transaction().unwrap();
    for id in ids {
        let payload = click(id);
        let record = FutureRecord::to(&fixture.config.kafka.topic)
            .key("u-1")
            .payload(&payload);
        producer.send(record, limit).await.unwrap();
    }
    match commit {
        true => producer.commit_transaction(limit).unwrap(),
        false => producer.abort_transaction(limit).unwrap(),
    }
}

/// The last message of a partition is then none that a consumer gets: the marker of the end of the transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_transactional_producer_leaves_no_lag() {
    let fixture = Fixture::new().await;
    transaction(&fixture, 0..3, true).await;
    transaction(&fixture, 3..5, false).await;
    let _worker = Worker::start(&fixture);
    let sent = Timestamp::now().as_millisecond();
    let complete = format!(
        "SELECT toUInt64(count() > 0 AND sum(end_offset) = 7 AND sum(end_offset - committed_offset) = 0 \
            AND toUnixTimestamp64Milli(min(complete_through)) > {sent}) FROM ingest_progress FINAL"
    );
    eventually("everything counts as read", async || {
        fixture.number(&complete).await == 1
    })
    .await;
    assert_eq!(fixture.number("SELECT count() FROM raw_events FINAL").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_makes_a_worker_unready_and_is_told() {
    let fixture = Fixture::new().await;
    let proxy = Proxy::to(&fixture.config.clickhouse.url, Inserts::BreakBody).await;
    let ops = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let settings = [
        ("UPTAKE__CLICKHOUSE__URL", proxy.url.as_str()),
        ("UPTAKE__OPS__LISTEN", &ops.to_string()),
    ];
    let _worker = Worker::with(&fixture, &settings);
    let readiness = async || match reqwest::get(format!("http://{ops}/readyz")).await {
        Ok(answer) => answer.text().await.unwrap_or_default(),
        Err(_) => String::new(),
    };
    eventually("the worker is ready", async || readiness().await == "ready\n").await;
    fixture.produce("u-1", click(1)).await;
    let reason = async || readiness().await.starts_with("ingest: nothing written for ");
    eventually("the worker tells that inserts fail", reason).await;
    assert!(readiness().await.contains("insert"), "{}", readiness().await);
    proxy.set(Inserts::Pass);
    eventually("the worker is ready again", async || readiness().await == "ready\n").await;
    let stored = async || fixture.number("SELECT count() FROM raw_events FINAL").await == 1;
    tokio::time::timeout(Duration::from_secs(1), async { while !stored().await {} })
        .await
        .expect("a worker that is ready has written");
}
