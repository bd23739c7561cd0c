//! Events over HTTP, against the real broker: taken whole or not at all, and answered after Kafka has them.

use std::time::Duration;

use jiff::Timestamp;
use rdkafka::message::{Headers, Message};
use reqwest::header::RETRY_AFTER;
use serde_json::{Value, json};
use uptake::config::Config;
use uptake::embedded;
use uptake::store::topics;

use crate::access::create_token;
use crate::api::Api;
use crate::harness::{config, directory, eventually, messages};
use crate::ingest::Worker;

pub const SINGLE: &str = "application/cloudevents+json";
pub const BATCH: &str = "application/cloudevents-batch+json";

fn event(id: &str, data: Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/test", "type": "usage.feature_click.v1", "subject": "员工-1",
        "time": Timestamp::now().to_string(), "data": data})
}

pub fn click(id: &str) -> Value {
    event(id, json!({"system": "erp", "feature": "finance.invoice.approve"}))
}

pub async fn start(adapt: impl FnOnce(&mut Config)) -> Api {
    let api = Api::start(adapt).await;
    let config = &api.fixture.config;
    topics::create(&config.kafka, &config.retention).await.unwrap();
    api
}

async fn post(api: &Api, kind: &str, body: impl ToString) -> (u16, Value) {
    let request = api.post("/events").header("content-type", kind);
    api.send(request.body(body.to_string())).await
}

/// An event of the same user comes after what would have been sent before it.
async fn nothing_was_sent(api: &Api) {
    assert_eq!(post(api, SINGLE, click("last")).await.0, 202);
    let kafka = &api.fixture.config.kafka;
    assert_eq!(messages(kafka, &kafka.topic).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_reaches_kafka_with_its_own_bytes_and_is_counted_once() {
    let api = start(|_| {}).await;
    let (one, two, three) = (click("1"), click("2"), click("3"));
    // A single event may be spaced as it likes.
    let spaced = serde_json::to_string_pretty(&one).unwrap();
    assert_eq!(post(&api, SINGLE, &spaced).await, (202, json!({"accepted": 1})));
    let batch = format!(" [{two},\n {three} ]");
    let kind = format!("{BATCH}; charset=utf-8");
    assert_eq!(post(&api, &kind, &batch).await, (202, json!({"accepted": 2})));
    // Sent again, as after an answer that was lost.
    assert_eq!(post(&api, BATCH, &batch).await.0, 202);
    assert_eq!(post(&api, BATCH, "[]").await, (202, json!({"accepted": 0})));
    let data = r#"{"system": "erp", "outcome": "success"}"#;
    let binary = api.post("/events").header("content-type", "application/json");
    let time = Timestamp::now().to_string();
    let binary = binary
        .header("ce-specversion", "1.0")
        .header("ce-id", "4")
        .header("ce-source", "/test");
    let binary = binary
        .header("ce-type", "usage.login.v1")
        .header("ce-subject", "%E5%91%98%E5%B7%A5-1");
    let binary = binary
        .header("ce-time", &time)
        .header("ce-traceparent", "00-1-2-01")
        .body(data);
    assert_eq!(api.send(binary).await, (202, json!({"accepted": 1})));

    let kafka = &api.fixture.config.kafka;
    let messages = messages(kafka, &kafka.topic);
    // One user, one partition, one order.
    let texts: Vec<_> = messages
        .iter()
        .map(|message| std::str::from_utf8(message.payload().unwrap()).unwrap())
        .collect();
    let (two, three) = (two.to_string(), three.to_string());
    assert_eq!(texts, [&spaced, &two, &three, &two, &three, data]);
    assert!(
        messages
            .iter()
            .all(|message| message.key() == Some("员工-1".as_bytes()))
    );
    assert!(messages[0].headers().is_none());
    let headers = messages[5].headers().unwrap();
    let mut headers: Vec<_> = headers
        .iter()
        .map(|header| (header.key, std::str::from_utf8(header.value.unwrap()).unwrap()))
        .collect();
    headers.sort_unstable();
    let expected = [
        ("ce_id", "4"),
        ("ce_source", "/test"),
        ("ce_specversion", "1.0"),
        ("ce_subject", "员工-1"),
        ("ce_time", &time),
        ("ce_traceparent", "00-1-2-01"),
        ("ce_type", "usage.login.v1"),
        ("content-type", "application/json"),
    ];
    assert_eq!(headers, expected);

    let _worker = Worker::start(&api.fixture);
    let logins = "SELECT groupBitmapMerge(users) FROM day_users WHERE activity = 'login'";
    eventually("the login is counted", async || api.fixture.number(logins).await == 1).await;
    let clicks = "SELECT toUInt64(sum(clicks)) FROM feature_user_days";
    eventually("the clicks are counted", async || api.fixture.number(clicks).await == 3).await;
    assert_eq!(api.fixture.number("SELECT count() FROM raw_events").await, 4);
    assert_eq!(api.fixture.number("SELECT count() FROM rejects").await, 0);

    let (_, metrics) = api.ops("/metrics").await;
    assert!(metrics.contains("uptake_collector_events_total 6"), "{metrics}");
    assert!(metrics.contains("uptake_collector_queue_bytes 0"), "{metrics}");
}

#[tokio::test]
async fn a_batch_with_bad_events_is_refused_whole_and_each_of_them_is_named() {
    let api = start(|config| config.ingest.max_event_bytes = 400).await;
    let mut old = click("old");
    old["time"] = json!("1999-01-01T00:00:00Z");
    let large = event(
        "large",
        json!({"system": "erp", "feature": "f", "padding": "x".repeat(400)}),
    );
    let batch = json!([
        click("1"),
        event("2", json!({"system": "erp"})),
        click("3"),
        old,
        5,
        large
    ]);
    let (status, body) = post(&api, BATCH, batch).await;
    assert_eq!((status, &body["code"]), (422, &json!("invalid_events")), "{body}");
    assert_eq!(body["detail"], "no event was taken: 4 events to correct");
    let size = body["errors"][3]["value"].clone();
    let expected = json!([
        {"index": 1, "reason": "missing_field", "place": "data.feature", "value": "missing", "expected": "a string"},
        {"index": 3, "reason": "time_before_retention", "place": "time", "value": "\"1999-01-01T00:00:00Z\"",
            "expected": "a time within the retention of events"},
        {"index": 4, "reason": "wrong_type", "place": "the message", "value": "a number", "expected": "an object"},
        {"index": 5, "reason": "too_large", "place": "the message", "value": size, "expected": "at most 400 bytes"},
    ]);
    assert_eq!(body["errors"], expected);

    let binary = api
        .post("/events")
        .header("content-type", "application/json")
        .header("ce-id", "1");
    let (status, body) = api.send(binary.body("{}")).await;
    assert_eq!(
        (status, &body["errors"][0]["place"]),
        (422, &json!("ce-specversion")),
        "{body}"
    );
    let (status, body) = post(&api, SINGLE, "{\"specversion\"").await;
    assert_eq!(
        (status, &body["errors"][0]["reason"]),
        (422, &json!("invalid_json")),
        "{body}"
    );

    nothing_was_sent(&api).await;
    let (_, metrics) = api.ops("/metrics").await;
    assert!(
        metrics.contains("uptake_collector_refused_events_total{reason=\"too_large\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn what_is_too_large_or_of_another_type_is_told_so() {
    let api = start(|config| {
        config.collector.max_body_bytes = 2_000;
        config.collector.max_events = 2;
    })
    .await;
    let large = event(
        "large",
        json!({"system": "erp", "feature": "f", "padding": "x".repeat(2_000)}),
    );
    for (kind, body, status, code) in [
        (SINGLE, large.to_string(), 413, "body_too_large"),
        (
            BATCH,
            json!([click("1"), click("2"), click("3")]).to_string(),
            413,
            "too_many_events",
        ),
        ("text/plain", click("1").to_string(), 415, "unsupported_media_type"),
        (
            "application/json",
            click("1").to_string(),
            415,
            "unsupported_media_type",
        ),
        (BATCH, click("1").to_string(), 400, "unreadable_body"),
        (BATCH, format!("[{}", click("1")), 400, "unreadable_body"),
    ] {
        let (given, answer) = post(&api, kind, &body).await;
        assert_eq!((given, &answer["code"]), (status, &json!(code)), "{kind} {body}");
    }
    nothing_was_sent(&api).await;
}

#[tokio::test]
async fn a_producer_may_send_and_nothing_else() {
    let api = start(|config| config.api.authentication = true).await;
    for role in ["producer", "admin", "viewer", "analyst", "privacy"] {
        let token = create_token(&api.fixture, role, &["--role", role]);
        let request = api.post("/events").header("content-type", SINGLE).bearer_auth(token);
        let (status, _) = api.send(request.body(click("1").to_string())).await;
        let may = matches!(role, "producer" | "admin");
        assert_eq!(status, if may { 202 } else { 403 }, "{role}");
    }
    assert_eq!(post(&api, SINGLE, click("1")).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_says_come_again_and_empties_when_kafka_is_given_up() {
    let event = click("1").to_string();
    let bytes = event.len();
    let api = Api::start(|config| {
        config.kafka.brokers = "127.0.0.1:1".to_owned();
        config.collector.max_body_bytes = bytes;
        config.collector.queue_bytes = bytes + 1;
        config.collector.timeout_ms = 3_000;
    })
    .await;
    let send = async || {
        let request = api.post("/events").header("content-type", SINGLE).body(event.clone());
        let response = request.send().await.unwrap();
        let again = response.headers().get(RETRY_AFTER).cloned();
        (
            response.status().as_u16(),
            again.map(|value| value.to_str().unwrap().to_owned()),
        )
    };
    let told = Some("1".to_owned());
    let waiting = async || {
        eventually("the first waits", async || {
            api.ops("/metrics")
                .await
                .1
                .contains(&format!("uptake_collector_queue_bytes {bytes}"))
        })
        .await;
        send().await
    };
    let (first, second) = tokio::join!(send(), waiting());
    assert_eq!(second, (429, told.clone()));
    assert_eq!(first, (503, told.clone()));
    // There is room again.
    assert_eq!(send().await, (503, told));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kafka_did_not_acknowledge_in_time_is_sent_again_without_harm() {
    let mut embedded = config().embedded;
    embedded.kafka_port = 0;
    let kafka = embedded::kafka::Kafka::prepare(&directory("kafka"), &embedded)
        .await
        .unwrap();
    let broker = kafka.start().await.unwrap();
    let api = start(|config| {
        config.kafka.brokers = kafka.address();
        config.collector.timeout_ms = 3_000;
    })
    .await;
    assert_eq!(post(&api, SINGLE, click("1")).await.0, 202);
    let signal = |signal| {
        // SAFETY: a signal to our own child, which lives until the end of the test.
        assert_eq!(unsafe { libc::kill(broker.pid() as libc::pid_t, signal) }, 0);
    };
    signal(libc::SIGSTOP);
    let (status, body) = post(&api, SINGLE, click("2")).await;
    signal(libc::SIGCONT);
    assert_eq!((status, &body["code"]), (503, &json!("not_acknowledged")), "{body}");
    eventually("Kafka takes it", async || post(&api, SINGLE, click("2")).await.0 == 202).await;

    let worker = Worker::start(&api.fixture);
    let counted = "SELECT count() FROM raw_events";
    eventually("both are counted", async || api.fixture.number(counted).await >= 2).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(api.fixture.number(counted).await, 2);
    drop(worker);
    broker.stop().await;
}
