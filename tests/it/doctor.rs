//! `uptake doctor`: each thing that can be wrong is named, with what to do, and nothing else is.

use std::process::{Command, Stdio};

use serde_json::Value;
use uptake::store::migrate;

use crate::harness::{Fixture, eventually};

/// The findings, and whether the program says that all is well.
fn findings(mut program: Command) -> (bool, Vec<Value>) {
    let output = program.args(["doctor", "--json"]).output().unwrap();
    let findings = serde_json::from_slice(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    (
        output.status.success(),
        findings.unwrap_or_else(|error| panic!("{error}: {told}")),
    )
}

/// What `check` came to, what was found and what to do.
fn of<'a>(findings: &'a [Value], check: &str) -> (&'a str, &'a str, &'a str) {
    let finding = findings
        .iter()
        .find(|it| it["check"] == check)
        .unwrap_or_else(|| panic!("no {check}: {findings:?}"));
    let text = |key: &str| finding[key].as_str().unwrap_or_default();
    (text("outcome"), text("found"), text("mend"))
}

fn wrong(findings: &[Value]) -> Vec<&str> {
    let wrong = findings.iter().filter(|it| it["outcome"] == "wrong");
    wrong.map(|it| it["check"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_installation_that_works_has_nothing_wrong_with_it() {
    let fixture = Fixture::new().await;
    let mut worker = fixture.program().arg("ingest").stderr(Stdio::null()).spawn().unwrap();
    eventually("a worker tells its progress", async || {
        fixture.store.has_worker().await.unwrap()
    })
    .await;
    let (is_well, told) = findings(fixture.program());
    worker.kill().unwrap();
    worker.wait().unwrap();
    assert_eq!(wrong(&told), Vec::<&str>::new(), "{told:?}");
    assert!(is_well);
    assert!(
        of(&told, "topics")
            .1
            .contains(&format!("{} has 4 partitions", fixture.config.kafka.topic))
    );
    assert!(
        of(&told, "workers")
            .1
            .contains("1 at work on 4 partitions, 0 messages behind"),
        "{told:?}"
    );
}

#[tokio::test]
async fn before_migrate_it_says_to_run_it() {
    let fixture = Fixture::bare().await;
    let (is_well, told) = findings(fixture.program());
    assert!(!is_well);
    assert_eq!(wrong(&told), ["topics", "schema"]);
    for check in ["topics", "schema"] {
        assert!(of(&told, check).2.contains("uptake migrate"), "{told:?}");
    }
    assert!(of(&told, "topics").1.contains(&fixture.config.kafka.topic), "{told:?}");
    assert_eq!(of(&told, "workers").0, "not_checked");
}

#[tokio::test]
async fn what_cannot_be_reached_is_named_and_the_rest_is_looked_at_all_the_same() {
    let fixture = Fixture::new().await;
    let unreached = |key: &str, value: &str| {
        let mut program = fixture.program();
        program.env(format!("UPTAKE__{key}"), value);
        for wait in ["KAFKA", "CLICKHOUSE"] {
            program.env(format!("UPTAKE__{wait}__CONNECT_TIMEOUT_MS"), "3000");
        }
        findings(program).1
    };
    let told = unreached("KAFKA__BROKERS", "127.0.0.1:1");
    assert_eq!(wrong(&told), ["kafka", "workers"]);
    assert!(of(&told, "kafka").1.contains("127.0.0.1:1"), "{told:?}");
    assert_eq!(of(&told, "topics").0, "not_checked");
    let told = unreached("CLICKHOUSE__URL", "http://127.0.0.1:1");
    assert_eq!(wrong(&told), ["clickhouse"]);
    assert!(of(&told, "clickhouse").1.contains("http://127.0.0.1:1"), "{told:?}");
    assert_eq!(of(&told, "schema").0, "not_checked");
    assert_eq!(of(&told, "permissions").0, "ok");
}

#[tokio::test]
async fn a_secret_that_is_missing_and_topics_that_are_too_small_are_told_together() {
    let fixture = Fixture::new().await;
    let mut program = fixture.program();
    program.env_remove("UPTAKE__PRIVACY__SECRET");
    program.env("UPTAKE__PRIVACY__SECRET_FILE", "/nowhere/secret");
    program
        .env("UPTAKE__KAFKA__PARTITIONS", "9")
        .env("UPTAKE__KAFKA__REPLICATION_FACTOR", "3");
    let (_, told) = findings(program);
    assert_eq!(wrong(&told), ["privacy secret", "topics", "workers"]);
    assert!(of(&told, "privacy secret").1.contains("/nowhere/secret"), "{told:?}");
    let topics = of(&told, "topics").1;
    assert!(
        topics.contains("has 4 partitions and 1 replicas") && topics.contains("kafka.partitions = 9"),
        "{topics}"
    );
}

#[tokio::test]
async fn a_table_without_its_deduplication_window_is_told() {
    let fixture = Fixture::new().await;
    let sql = "ALTER TABLE day_users RESET SETTING non_replicated_deduplication_window";
    fixture.store.client().query(sql).execute().await.unwrap();
    migrate::check(&fixture.store, &fixture.config).await.unwrap();
    let (_, told) = findings(fixture.program());
    assert!(wrong(&told).contains(&"settings"), "{told:?}");
    assert!(of(&told, "settings").1.contains("day_users"), "{told:?}");
}

#[tokio::test]
async fn for_people_it_says_what_to_do_below_what_is_wrong() {
    let fixture = Fixture::bare().await;
    let output = fixture.program().arg("doctor").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = told.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("WRONG  schema")).unwrap();
    assert!(lines[at + 1].contains("-> run `uptake migrate`"), "{told}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("2 of ") && error.contains("checks found something wrong"),
        "{error}"
    );
}

#[tokio::test]
async fn readiness_is_asked_where_there_is_no_shell() {
    let fixture = Fixture::new().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let program = |command: &str| {
        let mut program = fixture.program();
        program
            .arg(command)
            .env("UPTAKE__OPS__LISTEN", format!("0.0.0.0:{}", free.port()))
            .stderr(Stdio::piped());
        program
    };
    let nothing = program("ready").output().unwrap();
    assert_eq!(nothing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("nothing answers at 127.0.0.1"));
    let mut worker = program("ingest").stderr(Stdio::null()).spawn().unwrap();
    eventually("it is ready", async || program("ready").status().unwrap().success()).await;
    worker.kill().unwrap();
    worker.wait().unwrap();
}
