//! `uptake import`.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::harness::{Fixture, PATIENCE, eventually};

/// Every message of the topic of events.
fn messages(fixture: &Fixture) -> Vec<String> {
    let topic = &fixture.config.kafka.topic;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &fixture.config.kafka.brokers)
        .set("group.id", "reader")
        .create()
        .expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("metadata");
    let mut all = TopicPartitionList::new();
    let mut left = 0;
    for partition in metadata.topics()[0].partitions() {
        let (low, high) = consumer
            .fetch_watermarks(topic, partition.id(), PATIENCE)
            .expect("watermarks");
        all.add_partition_offset(topic, partition.id(), Offset::Beginning)
            .expect("a partition");
        left += high - low;
    }
    consumer.assign(&all).expect("assigned");
    let next = |_| {
        let message = consumer.poll(PATIENCE).expect("a message").expect("readable");
        assert!(message.key().is_some(), "keyed by user");
        String::from_utf8_lossy(message.payload().expect("an event")).into_owned()
    };
    (0..left).map(next).collect()
}

fn ids(messages: &[String]) -> HashSet<String> {
    let id = |message: &String| {
        let event: serde_json::Value = serde_json::from_str(message).expect("JSON");
        event["id"].as_str().expect("an id").to_owned()
    };
    messages.iter().map(id).collect()
}

/// A log of `rows` rows, written into the fixture's data directory.
fn log(fixture: &Fixture, rows: usize) -> PathBuf {
    let mut text = "who,what,when\n".to_owned();
    for i in 0..rows {
        let (user, feature, minute, second) = (i % 97, i % 13, i / 60 % 60, i % 60);
        writeln!(
            text,
            "u-{user},Feature {feature},2026-03-02 08:{minute:02}:{second:02}Z"
        )
        .expect("memory");
    }
    let path = fixture.config.data_dir.join("log.csv");
    std::fs::write(&path, text).expect("written");
    path
}

fn import(fixture: &Fixture, log: &Path) -> Command {
    let mut program = fixture.program();
    program
        .env("UPTAKE__RETENTION__RAW_DAYS", "30000")
        .env("UPTAKE__RETENTION__USER_MONTHS", "1100");
    program.env("UPTAKE__RETENTION__AGGREGATE_MONTHS", "1100");
    program.args(["import", "--system=erp", "--user=who", "--feature=what", "--time=when"]);
    program.arg(log);
    program
}

/// Exit code and everything printed.
fn run(mut program: Command) -> (Option<i32>, String) {
    let output = program.output().expect("runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn a_log_imported_again_counts_once_and_one_that_grew_adds_its_new_rows() {
    let fixture = Fixture::new().await;
    let file = log(&fixture, 1_000);
    let (code, text) = run(import(&fixture, &file));
    assert!(code == Some(0) && text.contains("1000 events acknowledged"), "{text}");
    assert_eq!(ids(&messages(&fixture)).len(), 1_000);

    let (code, text) = run(import(&fixture, &file));
    assert!(
        code == Some(0) && text.contains("all of them were sent before"),
        "{text}"
    );
    assert_eq!(messages(&fixture).len(), 1_000);

    log(&fixture, 1_500);
    let (code, text) = run(import(&fixture, &file));
    assert!(code == Some(0) && text.contains("500 events acknowledged"), "{text}");
    assert_eq!(messages(&fixture).len(), 1_500);

    let mut again = import(&fixture, &file);
    again.arg("--restart");
    let (code, text) = run(again);
    assert!(code == Some(0) && text.contains("1500 events acknowledged"), "{text}");
    let messages = messages(&fixture);
    assert_eq!((messages.len(), ids(&messages).len()), (3_000, 1_500));
}

#[tokio::test]
async fn a_stopped_import_says_how_far_it_came_and_goes_on_from_there() {
    const ROWS: usize = 600_000;
    let fixture = Fixture::new().await;
    let file = log(&fixture, ROWS);
    let mut program = import(&fixture, &file);
    let child = program
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let state = fixture.config.data_dir.join("import");
    eventually("the sending begins", async || state.is_dir()).await;
    let pid = child.id().cast_signed();
    // SAFETY: a signal to a child that has not been waited for.
    unsafe { libc::kill(pid, libc::SIGINT) };
    let output = child.wait_with_output().expect("ends");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("of 600000; the same command goes on from there"),
        "{text}"
    );
    assert!(messages(&fixture).len() < ROWS, "it was stopped before the end");

    let (code, text) = run(import(&fixture, &file));
    assert!(code == Some(0) && text.contains("events acknowledged"), "{text}");
    assert_eq!(ids(&messages(&fixture)).len(), ROWS);
}

#[tokio::test]
async fn nothing_is_sent_of_a_bad_log() {
    let fixture = Fixture::new().await;
    let file = log(&fixture, 10);
    let text = std::fs::read_to_string(&file).expect("readable");
    std::fs::write(&file, text.replace("08:00:07Z", "08:00:07")).expect("written");
    let (code, text) = run(import(&fixture, &file));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("line 9, column when: \"2026-03-02 08:00:07\""), "{text}");
    assert_eq!(messages(&fixture), Vec::<String>::new());

    let mut skipping = import(&fixture, &file);
    skipping.arg("--skip-bad");
    let (code, text) = run(skipping);
    assert!(code == Some(0) && text.contains("1 bad rows left out"), "{text}");
    assert_eq!(messages(&fixture).len(), 9);

    let mut young = import(&fixture, &file);
    young.env("UPTAKE__RETENTION__RAW_DAYS", "1").arg("--timezone=UTC");
    let (code, text) = run(young);
    assert!(code == Some(2) && text.contains("retention.raw_days"), "{text}");
}

#[tokio::test]
async fn a_broker_that_cannot_be_reached_is_named() {
    let fixture = Fixture::new().await;
    let file = log(&fixture, 10);
    let mut program = import(&fixture, &file);
    program.env("UPTAKE__KAFKA__BROKERS", "127.0.0.1:1");
    program.env("UPTAKE__KAFKA__CONNECT_TIMEOUT_MS", "1000");
    let (code, text) = run(program);
    assert_eq!(code, Some(1));
    assert!(
        text.contains("Kafka at 127.0.0.1:1 did not answer within 1 s"),
        "{text}"
    );

    let mut program = import(&fixture, &file);
    program.env("UPTAKE__KAFKA__TOPIC", "no.such.topic");
    let (code, text) = run(program);
    assert!(code == Some(1) && text.contains("has no topic no.such.topic"), "{text}");
}
