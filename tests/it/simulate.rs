//! `uptake simulate`: the same bytes every time, all of them on the topic.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::Value;
use uptake::config::Kafka;

use crate::harness::{Fixture, PROGRAM, directory};

fn run(command: &mut Command, arguments: &[&str]) -> Output {
    command.args(arguments).output().expect("the program starts")
}

fn succeed(command: &mut Command, arguments: &[&str]) {
    let output = run(command, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn read(dir: &Path, file: &str) -> String {
    std::fs::read_to_string(dir.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// How many messages a topic holds.
fn messages_on(kafka: &Kafka) -> i64 {
    let timeout = Duration::from_secs(10);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.brokers)
        .create()
        .expect("a consumer");
    let on_partition = |partition| {
        let (first, end) = consumer
            .fetch_watermarks(&kafka.topic, partition, timeout)
            .expect("watermarks");
        end - first
    };
    (0..kafka.partitions).map(on_partition).sum()
}

#[test]
fn a_dry_run_needs_nothing_and_writes_the_same_files_every_time() {
    let (once, again) = (directory("once"), directory("again"));
    for dir in [&once, &again] {
        let out = dir.display().to_string();
        succeed(
            &mut Command::new(PROGRAM),
            &["simulate", "--dry-run", "--users", "120", "--days", "12", "--out", &out],
        );
    }
    for file in ["definition.yaml", "roster.csv", "truth.json"] {
        assert_eq!(read(&once, file), read(&again, file), "{file}");
    }
}

#[tokio::test]
async fn everything_the_truth_counts_is_on_the_topic_and_the_company_is_known() {
    let fixture = Fixture::new().await;
    let dir = directory("simulated");
    let out = dir.display().to_string();
    let arguments = [
        "simulate",
        "--users",
        "120",
        "--days",
        "12",
        "--malformed",
        "0.01",
        "--out",
        &out,
    ];
    succeed(&mut fixture.program(), &arguments);

    let truth: Value = serde_json::from_str(&read(&dir, "truth.json")).expect("JSON");
    let messages = &truth["messages"];
    let rejected = messages["rejected"]
        .as_object()
        .expect("reasons")
        .values()
        .map(|n| n.as_i64().expect("a count"));
    let counted = ["accepted", "repeats"].map(|key| messages[key].as_i64().expect("a count"));
    assert!(counted.iter().all(|n| *n > 0));
    assert_eq!(
        messages_on(&fixture.config.kafka),
        counted.iter().sum::<i64>() + rejected.sum::<i64>()
    );

    let rows = read(&dir, "roster.csv").lines().count() as u64 - 1;
    assert_eq!(
        fixture.number("SELECT count() FROM roster WHERE system = 'erp'").await,
        rows
    );
    assert_eq!(
        fixture
            .number("SELECT count() FROM systems WHERE zone = 'Asia/Shanghai'")
            .await,
        1
    );
}

#[test]
fn what_cannot_be_simulated_is_refused_with_the_value_and_what_was_expected() {
    for (arguments, expected) in [
        (
            ["--timezone", "Mars/Olympus"],
            "--timezone Mars/Olympus: expected an IANA time zone",
        ),
        (
            ["--start", "2999-01-01"],
            "--start 2999-01-01 --days 60: expected to end before today",
        ),
        (
            ["--start", "2001-01-01"],
            "--start 2001-01-01: expected a day within the retention",
        ),
        (["--system", "E R P"], "--system E R P: expected 1 to 64 of a-z"),
        (["--users", "7"], "7 is not in 100..=1000000"),
        (["--late", "2"], "expected a number from 0 to 1"),
    ] {
        let output = run(Command::new(PROGRAM).args(["simulate", "--dry-run"]), &arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}
