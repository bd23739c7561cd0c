//! `uptake rejected` against the real broker and the real engine.

use jiff::Timestamp;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ConfigResource, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use uptake::store::migrate;

use crate::api::Api;
use crate::harness::{Fixture, PATIENCE, eventually, messages};
use crate::ingest::Worker;

/// Exit code, standard output and standard error of `uptake rejected …`.
fn rejected(fixture: &Fixture, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = fixture.program().arg("rejected").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Standard output of a success.
fn told(fixture: &Fixture, arguments: &[&str]) -> String {
    let (code, out, error) = rejected(fixture, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {error}");
    out
}

fn listed(fixture: &Fixture, arguments: &[&str]) -> Vec<Value> {
    let out = told(fixture, &[&["list", "--format", "json"], arguments].concat());
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The origins of the listed rejects of this reason, newest first.
fn origins(fixture: &Fixture, reason: &str) -> Vec<String> {
    let lines = listed(fixture, &["--reason", reason]);
    lines
        .iter()
        .map(|line| line["origin"].as_str().unwrap().to_owned())
        .collect()
}

async fn send(fixture: &Fixture, topic: &str, key: &str, headers: OwnedHeaders, payload: &[u8]) {
    send_to(fixture, topic, None, key, headers, payload).await;
}

async fn send_to(
    fixture: &Fixture,
    topic: &str,
    partition: Option<i32>,
    key: &str,
    headers: OwnedHeaders,
    payload: &[u8],
) {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", &fixture.config.kafka.brokers)
        .create()
        .unwrap();
    let mut record = FutureRecord::to(topic).key(key).payload(payload).headers(headers);
    record.partition = partition;
    producer.send(record, PATIENCE).await.unwrap();
}

fn headers(message: &OwnedMessage) -> Vec<(String, String)> {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let text = |header: Header<&[u8]>| String::from_utf8(header.value.unwrap().to_vec()).unwrap();
    let mut headers: Vec<_> = headers.map(|header| (header.key.to_owned(), text(header))).collect();
    headers.sort_unstable();
    headers
}

fn click(id: &str, padding: usize) -> String {
    json!({"specversion": "1.0", "id": id, "source": "/test", "type": "usage.feature_click.v1", "subject": "u-1",
        "time": Timestamp::now().to_string(),
        "data": {"system": "erp", "feature": "a.b", "padding": "x".repeat(padding)}})
    .to_string()
}

async fn eventually_rejected(fixture: &Fixture, count: u64) {
    let sql = "SELECT uniqExact(kafka_topic, kafka_partition, kafka_offset) FROM rejects";
    eventually("the rejects are recorded", async || fixture.number(sql).await == count).await;
}

async fn eventually_counted(fixture: &Fixture, count: u64) {
    let sql = "SELECT toUInt64(sum(clicks)) FROM feature_user_days";
    eventually("the events are counted", async || fixture.number(sql).await == count).await;
}

/// Not the partition of the key `u-1`.
const ELSEWHERE: Option<i32> = Some(1);
const MALFORMED: &[u8] = b"{\"specversion\":\"1.0\",\n \"id\": tru}";
const BINARY: &[u8] = b"\x00\xffnot text";
/// Events of the fixture's tests are smaller.
const SMALL: (&str, &str) = ("UPTAKE__INGEST__MAX_EVENT_BYTES", "1000");

/// One refused message of each kind, and one that is accepted.
async fn refuse_some(fixture: &Fixture) -> String {
    let topic = &fixture.config.kafka.topic;
    let large = click("large", 2_000);
    fixture.produce("u-1", click("1", 0)).await;
    // Elsewhere than its key says, as from a producer that spreads keys in another way.
    send_to(fixture, topic, ELSEWHERE, "u-1", OwnedHeaders::new(), large.as_bytes()).await;
    send(fixture, topic, "u-2", OwnedHeaders::new(), MALFORMED).await;
    send(fixture, topic, "u-3", OwnedHeaders::new(), BINARY).await;
    let ce = [
        ("specversion", "1.0"),
        ("id", "b"),
        ("source", "/test"),
        ("type", "usage.login.v1"),
        ("subject", "u-4"),
    ];
    let ce = ce
        .into_iter()
        .chain([("time", "2026-01-01T00:00:00Z"), ("traceparent", "00-1-2-01")]);
    let headers = ce.fold(OwnedHeaders::new(), |headers, (name, value)| {
        headers.insert(Header {
            key: &format!("ce_{name}"),
            value: Some(value),
        })
    });
    send(fixture, topic, "u-4", headers, br#"{"system":"crm","outcome":"ok"}"#).await;
    eventually_rejected(fixture, 4).await;
    large
}

/// As after a kill between Kafka's acknowledgement and the note.
async fn forget_retries(fixture: &Fixture) {
    let truncated = fixture.store.client().query("TRUNCATE TABLE retries").execute().await;
    truncated.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reject_is_listed_once_and_shown_with_everything() {
    let fixture = Fixture::new().await;
    assert_eq!(told(&fixture, &["list"]), "0 rejected; 0 of them sent again\n");
    let _worker = Worker::with(&fixture, &[SMALL]);
    refuse_some(&fixture).await;
    // Published again, as after a takeover.
    let rejects = &fixture.config.kafka.rejected_topic;
    for letter in messages(&fixture.config.kafka, rejects) {
        let key = std::str::from_utf8(letter.key().unwrap()).unwrap();
        send(
            &fixture,
            rejects,
            key,
            letter.headers().unwrap().clone(),
            letter.payload().unwrap(),
        )
        .await;
    }
    // What somebody else wrote there.
    send(&fixture, rejects, "stray", OwnedHeaders::new(), b"stray").await;

    let table = told(&fixture, &["list"]);
    let last = table.lines().last().unwrap();
    assert_eq!(
        last,
        "4 rejected: invalid_json 1, invalid_utf8 1, invalid_value 1, too_large 1; 0 of them sent again"
    );
    assert_eq!(table.lines().count(), 6, "{table}");
    let limited = told(&fixture, &["list", "--limit", "1"]);
    assert!(
        limited.ends_with("; 0 of them sent again; the newest 1 are shown\n"),
        "{limited}"
    );
    let newest = |list: &str| list.lines().nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(newest(&limited), newest(&table), "the newest is the first");
    let crm = listed(&fixture, &["--system", "crm"]);
    assert_eq!(crm.len(), 1);
    assert_eq!(
        crm[0]["sentence"],
        "data.outcome is \"ok\", expected success or failure"
    );
    assert_eq!(crm[0]["bytes"], 31);
    assert_eq!(listed(&fixture, &["--since", "1h"]).len(), 4);
    let later = (Timestamp::now() + jiff::SignedDuration::from_secs(60)).to_string();
    assert!(listed(&fixture, &["--since", &later]).is_empty());

    let shown = told(&fixture, &["show", &origins(&fixture, "invalid_json")[0]]);
    for part in [
        "reason     invalid_json",
        "key        u-2",
        "retried    no",
        "it would be refused",
        "{\"specversion\"",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    assert!(
        shown.ends_with("line 2, column 11:\n   \"id\": tru}\n            ^\n"),
        "{shown}"
    );
    let shown = told(&fixture, &["show", &origins(&fixture, "invalid_utf8")[0]]);
    assert!(shown.contains("00000000  00 ff 6e 6f 74 20 74 65 78 74"), "{shown}");
    let shown = told(&fixture, &["show", &origins(&fixture, "invalid_value")[0]]);
    assert!(shown.contains("header     ce_traceparent: 00-1-2-01"), "{shown}");
    // With today's settings, which the worker did not have.
    let shown = told(&fixture, &["show", &origins(&fixture, "too_large")[0]]);
    assert!(shown.contains("now        it would be accepted"), "{shown}");

    for (arguments, part) in [
        ("show nothing/0/5", "nothing/0/5: not in the topic"),
        ("show nothing", "TOPIC/PARTITION/OFFSET"),
        ("list --reason=bad", "expected one of too_large"),
        ("list --since=then", "expected a time"),
        ("retry nothing/0/5", "nothing/0/5: not in the topic"),
        ("retry --dry-run", "--all"),
        ("retry --all --reason=too_large", "cannot be used with"),
    ] {
        let (code, _, error) = rejected(&fixture, &arguments.split(' ').collect::<Vec<_>>());
        assert!(code == Some(2) && error.contains(part), "{arguments:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_sends_the_same_message_and_only_once() {
    let fixture = Fixture::new().await;
    let worker = Worker::with(&fixture, &[SMALL]);
    let large = refuse_some(&fixture).await;
    let origin = origins(&fixture, "too_large").remove(0);
    assert_eq!(
        told(&fixture, &["retry", "--all", "--dry-run"]),
        "4 would be sent again, 0 skipped because they were before; 3 of them as wrong as before: ingest refuses them again\n"
    );
    let topic = fixture.config.kafka.topic.clone();
    assert_eq!(
        messages(&fixture.config.kafka, &topic).len(),
        5,
        "a dry run sends nothing"
    );

    drop(worker);
    let _mended = Worker::start(&fixture);
    let done = "1 sent again, 0 skipped because they were before\n";
    assert_eq!(told(&fixture, &["retry", &origin]), done);
    eventually_counted(&fixture, 2).await;
    let before = messages(&fixture.config.kafka, &topic);
    let of_user: Vec<_> = before.iter().filter(|message| message.key() == Some(b"u-1")).collect();
    let sent: Vec<_> = of_user
        .iter()
        .filter(|message| message.payload() == Some(large.as_bytes()))
        .collect();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|message| Some(message.partition()) == ELSEWHERE));
    assert!(of_user.iter().any(|message| Some(message.partition()) != ELSEWHERE));
    assert_eq!(sent[1].key(), Some(b"u-1".as_slice()));
    assert_eq!(
        headers(sent[1]),
        [("uptake_retry".to_owned(), format!("1 of {origin}"))]
    );

    let again = "0 sent again, 1 skipped because they were before\n";
    assert_eq!(told(&fixture, &["retry", "--reason", "too_large"]), again);
    assert_eq!(messages(&fixture.config.kafka, &topic).len(), before.len());
    assert_eq!(told(&fixture, &["retry", &origin, "--again"]), done);
    forget_retries(&fixture).await;
    assert_eq!(told(&fixture, &["retry", &origin]), done);
    let entries =
        "SELECT object, outcome, detail FROM audit WHERE step = 1 AND action = 'retry_rejects' ORDER BY at LIMIT 2";
    let entries = fixture.store.client().query(entries).fetch_all().await.unwrap();
    let entry = |sent: u32, skipped: u32| {
        let detail =
            json!({"sent": sent, "skipped": skipped, "as_wrong_as_before": 0, "missing": [], "interrupted": false});
        (fixture.config.kafka.rejected_topic.clone(), "done".to_owned(), detail)
    };
    let read =
        |(topic, outcome, detail): (String, String, String)| (topic, outcome, serde_json::from_str(&detail).unwrap());
    let entries: Vec<(String, String, Value)> = entries.into_iter().map(read).collect();
    assert_eq!(entries, [entry(1, 0), entry(0, 1)], "the dry run leaves none");
    fixture.produce("u-1", click("after", 0)).await;
    eventually_counted(&fixture, 3).await;
    let repeats = "SELECT count() FROM raw_events WHERE identity IN (SELECT identity FROM raw_events GROUP BY identity HAVING count() > 1)";
    assert_eq!(fixture.number(repeats).await, 0);
    assert!(told(&fixture, &["list"]).contains("; 1 of them sent again"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_again_is_another_reject_but_only_one() {
    let fixture = Fixture::new().await;
    let _worker = Worker::with(&fixture, &[SMALL]);
    refuse_some(&fixture).await;
    let origin = origins(&fixture, "invalid_value").remove(0);
    let retry =
        "1 sent again, 0 skipped because they were before; 1 of them as wrong as before: ingest refuses them again\n";
    assert_eq!(told(&fixture, &["retry", &origin]), retry);
    forget_retries(&fixture).await;
    assert_eq!(told(&fixture, &["retry", &origin]), retry);
    eventually_rejected(&fixture, 6).await;

    let lines = listed(&fixture, &["--reason", "invalid_value"]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0]["retried_at"].is_null() && lines[1]["retried_at"].is_string(),
        "{lines:?}"
    );
    let second = lines[0]["origin"].as_str().unwrap();
    let shown = told(&fixture, &["show", second]);
    assert!(shown.contains(&format!("attempt    1 after {origin}")), "{shown}");
    // The message's own headers are still with it, and none of ours.
    let topic = fixture.config.kafka.topic.clone();
    assert_eq!(told(&fixture, &["retry", second]), retry);
    let messages = messages(&fixture.config.kafka, &topic);
    let sent = messages
        .iter()
        .map(headers)
        .find(|headers| headers.contains(&("uptake_retry".to_owned(), format!("2 of {origin}"))));
    let names: Vec<_> = sent.unwrap().into_iter().map(|(name, _)| name).collect();
    let ce = [
        "ce_id",
        "ce_source",
        "ce_specversion",
        "ce_subject",
        "ce_time",
        "ce_traceparent",
        "ce_type",
    ];
    assert_eq!(names, [ce.as_slice(), &["uptake_retry"]].concat());

    eventually_rejected(&fixture, 7).await;
    let done = told(&fixture, &["retry", "--all"]);
    assert!(done.starts_with("4 sent again, 2 skipped"), "{done}");
}

#[tokio::test]
async fn the_api_counts_rejects_by_reason() {
    let api = Api::start(|_| {}).await;
    api.execute("INSERT INTO day_users (system, local_date) VALUES ('erp', '2026-10-05')")
        .await;
    api.execute(
        "INSERT INTO rejects SELECT 't', 0, number, '2026-10-05 10:00:00', ['erp', '', 'crm'][number % 3 + 1], \
         ['too_large', 'invalid_json'][number % 2 + 1] FROM numbers(12)",
    )
    .await;
    // Published again.
    api.execute("INSERT INTO rejects SELECT 't', 0, 0, '2026-10-05 10:00:00', 'erp', 'too_large'")
        .await;
    api.execute(
        "INSERT INTO retries SELECT toFixedString(toString(number), 16), 't', 0, number * 3, now64(3) FROM numbers(2)",
    )
    .await;
    let body = api.ok("/systems/erp/rejects?from=2026-10-05&to=2026-10-06").await;
    let reasons = json!([
        {"reason": "invalid_json", "refused": 4, "retried": 1},
        {"reason": "too_large", "refused": 4, "retried": 1},
    ]);
    assert_eq!(body["reasons"], reasons);
    assert_eq!(body["total"], json!({"refused": 8, "retried": 2}));
    let body = api.ok("/systems/erp/heatmap/hours?from=2026-10-05&to=2026-10-06").await;
    assert_eq!(body["data_quality"]["dead_letters"], 6, "those sent again do not count");
    let body = api.ok("/systems/erp/rejects?from=2026-10-06&to=2026-10-07").await;
    assert_eq!((&body["reasons"], &body["total"]["refused"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn the_retention_of_rejects_is_set_and_changed_without_touching_anything_else() {
    let mut fixture = Fixture::bare().await;
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &fixture.config.kafka.brokers)
        .create()
        .unwrap();
    let topic = fixture.config.kafka.rejected_topic.clone();
    let settings = async || {
        let place = ResourceSpecifier::Topic(&topic);
        let options = AdminOptions::new();
        let asked = admin.describe_configs([&place], &options);
        let described: ConfigResource = asked.await.unwrap().remove(0).unwrap();
        ["retention.ms", "max.message.bytes", "segment.ms"]
            .map(|name| described.get(name).unwrap().value.clone().unwrap())
    };
    migrate::run(fixture.config.clone()).await.unwrap();
    let [retention, max_bytes, _] = settings().await;
    assert_eq!(retention, (90u64 * 86_400_000).to_string());
    // An operator's own setting.
    let alter = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("segment.ms", "3600000");
    let alter = alter
        .set("max.message.bytes", &max_bytes)
        .set("retention.ms", &retention);
    admin
        .alter_configs([&alter], &AdminOptions::new())
        .await
        .unwrap()
        .remove(0)
        .unwrap();

    fixture.config.retention.rejects_days = 7;
    migrate::run(fixture.config.clone()).await.unwrap();
    eventually("the retention is changed", async || {
        settings().await[0] == (7u64 * 86_400_000).to_string()
    })
    .await;
    assert_eq!(settings().await[1..], [max_bytes, "3600000".to_owned()]);
    let ttl = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'rejects' \
        AND create_table_query LIKE '%toIntervalDay(7)%'";
    assert_eq!(fixture.number(ttl).await, 1);
}
