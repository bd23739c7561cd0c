//! Ingest against the real broker and the real engine: every event counted once, whatever happens.

use std::process::{Child, Stdio};
use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::json;

use crate::common::proxy::{Inserts, Proxy};
use crate::harness::{Fixture, PATIENCE, eventually};

/// An `uptake ingest` process; killed when dropped.
pub struct Worker(Child);

impl Worker {
    pub fn start(fixture: &Fixture) -> Self {
        Self::with(fixture, &[])
    }

    pub fn with(fixture: &Fixture, settings: &[(&str, &str)]) -> Self {
        let mut program = fixture.program();
        program.arg("ingest").env("UPTAKE__INGEST__BATCH_AGE_MS", "100");
        // A killed worker is missed soon.
        program
            .env("UPTAKE__KAFKA__SESSION_TIMEOUT_MS", "6000")
            .env("UPTAKE__INGEST__DRAIN_TIMEOUT_MS", "4000");
        program.envs(settings.iter().copied()).stdout(Stdio::null());
        Self(program.spawn().unwrap())
    }

    fn through(fixture: &Fixture, proxy: &Proxy) -> Self {
        Self::with(fixture, &[("UPTAKE__CLICKHOUSE__URL", &proxy.url)])
    }

    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// SIGTERM; the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(libc::SIGTERM);
        self.0.wait().unwrap().code()
    }

    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.0.id()).unwrap();
        // SAFETY: a signal to our own child, which has not been waited for.
        unsafe { libc::kill(pid, signal) };
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn event(id: impl ToString, user: &str, time: Timestamp, kind: &str, data: serde_json::Value) -> String {
    let (id, time) = (id.to_string(), time.to_string());
    json!({"specversion": "1.0", "id": id, "source": "/test", "type": kind, "subject": user, "time": time, "data": data})
        .to_string()
}

pub fn click(id: impl ToString, user: &str, time: Timestamp) -> String {
    event(
        id,
        user,
        time,
        "usage.feature_click.v1",
        json!({"system": "erp", "feature": "finance.invoice.approve"}),
    )
}

pub fn recently() -> Timestamp {
    Timestamp::now() - 1.hour()
}

pub async fn produce_clicks(fixture: &Fixture, ids: std::ops::Range<usize>) {
    for id in ids {
        let user = format!("u-{}", id % 7);
        fixture.produce(&user, click(id, &user, recently())).await;
    }
}

/// The sum of the committed offsets of all partitions: how many messages are done with.
fn committed(fixture: &Fixture) -> i64 {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &fixture.config.kafka.brokers)
        .set("group.id", &fixture.config.kafka.group_id)
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in 0..fixture.config.kafka.partitions {
        partitions.add_partition(&fixture.config.kafka.topic, partition);
    }
    // A broker that has just started may not know yet who coordinates the group.
    let ask = |_| {
        let answer = consumer.committed_offsets(partitions.clone(), PATIENCE);
        answer
            .inspect_err(|_| std::thread::sleep(Duration::from_millis(500)))
            .ok()
    };
    let offsets = (0..20).find_map(ask).expect("committed offsets");
    let offset = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
    offsets.elements().iter().map(|element| offset(element.offset())).sum()
}

pub async fn eventually_committed(fixture: &Fixture, messages: i64) {
    eventually("the offsets are committed", async || committed(fixture) == messages).await;
}

/// Raw events and every rollup hold exactly these events.
pub async fn assert_counted_once(fixture: &Fixture, events: u64) {
    let raw = fixture.number("SELECT count() FROM raw_events").await;
    let identities = fixture.number("SELECT uniqExact(identity) FROM raw_events").await;
    let hours = fixture.number("SELECT toUInt64(sum(clicks)) FROM feature_hours").await;
    let days = fixture
        .number("SELECT toUInt64(sum(clicks)) FROM feature_user_days")
        .await;
    assert_eq!((raw, identities, hours, days), (events, events, events, events));
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_count_once_and_rejects_keep_everything() {
    let fixture = Fixture::new().await;
    let _worker = Worker::start(&fixture);
    produce_clicks(&fixture, 0..50).await;
    produce_clicks(&fixture, 20..30).await;
    fixture.produce("u-9", "{\"specversion\":\"1.0\"").await;
    eventually_committed(&fixture, 61).await;
    assert_counted_once(&fixture, 50).await;

    let rejects: Vec<(String, u64)> = fixture
        .store
        .client()
        .query("SELECT reason, count() FROM rejects GROUP BY reason")
        .fetch_all()
        .await
        .unwrap();
    assert_eq!(rejects, [("invalid_json".to_owned(), 1)]);

    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &fixture.config.kafka.brokers)
        .set("group.id", "reader")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&[&fixture.config.kafka.rejected_topic]).unwrap();
    // A poll may also return because of a rebalance.
    let reject = (0..100)
        .find_map(|_| consumer.poll(PATIENCE / 100))
        .expect("a reject")
        .unwrap();
    assert_eq!(reject.payload(), Some(b"{\"specversion\":\"1.0\"".as_slice()));
    let key = String::from_utf8(reject.key().unwrap().to_vec()).unwrap();
    assert!(key.starts_with(&format!("{}/", fixture.config.kafka.topic)), "{key}");
    let headers = reject.headers().unwrap();
    let header = |name: &str| {
        let found = headers
            .iter()
            .find(|header| header.key == name)
            .unwrap_or_else(|| panic!("header {name}"));
        String::from_utf8(found.value.unwrap().to_vec()).unwrap()
    };
    assert_eq!(header("uptake_reason"), "invalid_json");
    assert_eq!(header("uptake_key"), "u-9");
    assert!(header("uptake_detail").contains("EOF"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_between_insert_and_commit_loses_nothing_and_doubles_nothing() {
    let fixture = Fixture::new().await;
    let proxy = Proxy::to(&fixture.config.clickhouse.url, Inserts::HoldAnswer).await;
    produce_clicks(&fixture, 0..100).await;
    let first = Worker::through(&fixture, &proxy);
    eventually("the rows are stored", async || {
        fixture
            .number("SELECT toUInt64(sum(clicks)) FROM feature_user_days")
            .await
            > 0
            && proxy.met() > 0
    })
    .await;
    assert_eq!(committed(&fixture), 0, "nothing may be committed before the answer");
    first.kill();

    let _second = Worker::start(&fixture);
    eventually_committed(&fixture, 100).await;
    assert_counted_once(&fixture, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_waits_for_an_insert_of_the_previous_owner() {
    let fixture = Fixture::new().await;
    let proxy = Proxy::to(&fixture.config.clickhouse.url, Inserts::HoldBody).await;
    produce_clicks(&fixture, 0..100).await;
    let first = Worker::through(&fixture, &proxy);
    let running = "SELECT count() FROM system.processes WHERE query_kind = 'Insert' \
        AND startsWith(Settings['log_comment'], 'uptake-ingest topic=";
    let running = format!("{running}{} ')", fixture.config.kafka.topic);
    eventually("the insert is running", async || fixture.number(&running).await == 1).await;
    first.kill();

    let _second = Worker::start(&fixture);
    // Long enough for the group to notice the death and for the second worker to be given the partitions.
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(committed(&fixture), 0, "the second worker did not wait");
    proxy.set(Inserts::Pass);
    eventually_committed(&fixture, 100).await;
    assert_counted_once(&fixture, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_whose_answer_is_lost_is_repeated_and_counts_once() {
    let fixture = Fixture::new().await;
    let proxy = Proxy::to(&fixture.config.clickhouse.url, Inserts::BreakBeforeAnswer).await;
    produce_clicks(&fixture, 0..100).await;
    let _worker = Worker::through(&fixture, &proxy);
    eventually("some answers are lost", async || proxy.met() >= 3).await;
    proxy.set(Inserts::Pass);
    eventually_committed(&fixture, 100).await;
    assert_counted_once(&fixture, 100).await;
}

/// A token can outlive its rows: ClickHouse writes it down before the part is in its place, and a crash can come between.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_gone_although_their_token_is_known_are_stored_again() {
    let fixture = Fixture::new().await;
    let proxy = Proxy::to(&fixture.config.clickhouse.url, Inserts::BreakBeforeAnswer).await;
    produce_clicks(&fixture, 0..100).await;
    let settings = [
        ("UPTAKE__CLICKHOUSE__URL", proxy.url.as_str()),
        ("UPTAKE__INGEST__BATCH_AGE_MS", "2000"),
    ];
    let _worker = Worker::with(&fixture, &settings);
    eventually("the rows are stored", async || {
        fixture.number("SELECT count() FROM raw_events").await > 1 && proxy.met() > 0
    })
    .await;
    // Not all of them: an empty part would be dropped, and the token with it.
    let first = fixture.number("SELECT min(identity) FROM raw_events").await;
    fixture.delete("raw_events", &format!("identity = {first}")).await;
    proxy.set(Inserts::Pass);
    eventually_committed(&fixture, 100).await;
    assert_eq!(fixture.number("SELECT uniqExact(identity) FROM raw_events").await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stood_still_sends_nothing_when_it_goes_on() {
    let fixture = Fixture::new().await;
    let proxy = Proxy::to(&fixture.config.clickhouse.url, Inserts::Pass).await;
    let first = Worker::through(&fixture, &proxy);
    produce_clicks(&fixture, 0..10).await;
    eventually_committed(&fixture, 10).await;
    proxy.set(Inserts::Unreachable);
    produce_clicks(&fixture, 10..100).await;
    // Long enough to have read them and to be repeating the insert.
    tokio::time::sleep(Duration::from_secs(2)).await;
    first.signal(libc::SIGSTOP);
    let second = Worker::start(&fixture);
    eventually_committed(&fixture, 100).await;
    proxy.set(Inserts::Pass);
    first.signal(libc::SIGCONT);
    // The first one alone can read these: it has joined again.
    second.kill();
    produce_clicks(&fixture, 100..150).await;
    eventually_committed(&fixture, 150).await;
    assert_counted_once(&fixture, 150).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clickhouse_may_be_away_for_a_while() {
    let fixture = Fixture::new().await;
    let proxy = Proxy::to(&fixture.config.clickhouse.url, Inserts::Pass).await;
    let worker = Worker::with(
        &fixture,
        &[
            ("UPTAKE__CLICKHOUSE__URL", &proxy.url),
            ("UPTAKE__INGEST__BATCH_ROWS", "20"),
        ],
    );
    produce_clicks(&fixture, 0..20).await;
    eventually_committed(&fixture, 20).await;
    proxy.set(Inserts::Unreachable);
    produce_clicks(&fixture, 20..200).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(committed(&fixture), 20);
    proxy.set(Inserts::Pass);
    eventually_committed(&fixture, 200).await;
    assert_counted_once(&fixture, 200).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_come_and_go_count_everything_once() {
    let fixture = Fixture::new().await;
    let mut first = Worker::start(&fixture);
    produce_clicks(&fixture, 0..200).await;
    let second = Worker::start(&fixture);
    produce_clicks(&fixture, 200..400).await;
    assert_eq!(first.stop(), Some(0));
    let _third = Worker::start(&fixture);
    produce_clicks(&fixture, 350..600).await;
    second.kill();
    eventually_committed(&fixture, 650).await;
    assert_counted_once(&fixture, 600).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_defined_later_moves_the_days_and_loses_nothing() {
    let fixture = Fixture::new().await;
    let _worker = Worker::start(&fixture);
    // 20:00 UTC is the next day in Shanghai.
    let day = (Timestamp::now() - 72.hours()).in_tz("UTC").unwrap().date();
    let late = day.at(20, 0, 0, 0).in_tz("UTC").unwrap().timestamp();
    for id in 0..10 {
        fixture.produce("u-1", click(id, "u-1", late)).await;
    }
    eventually_committed(&fixture, 10).await;
    let utc = format!("SELECT toUInt64(sum(clicks)) FROM feature_user_days WHERE zone = '' AND local_date = '{day}'");
    assert_eq!(fixture.number(&utc).await, 10);

    let definition = "system: erp\nname: ERP\ntimezone: Asia/Shanghai\n\
        calendar: {weekdays: [mon, tue, wed, thu, fri], holidays: [], extra_working_days: []}\n";
    uptake::definition::apply_text(&fixture.config, definition, "test")
        .await
        .unwrap();
    let next = day.tomorrow().unwrap();
    let rebuilt = uptake::store::rebuild::wait(&fixture.store, "erp", "Asia/Shanghai", PATIENCE, |_, _| {}).await;
    assert!(rebuilt.unwrap(), "no worker began the rebuild");
    let moved = "SELECT toUInt64(sum(clicks)) FROM feature_user_days WHERE zone = 'Asia/Shanghai'";
    assert_eq!(fixture.number(moved).await, 10);
    assert_eq!(fixture.number(&format!("{moved} AND local_date = '{next}'")).await, 10);
    let hours = "SELECT toUInt64(sum(clicks)) FROM feature_hours WHERE zone = 'Asia/Shanghai' AND local_hour = 4";
    assert_eq!(fixture.number(hours).await, 10);
    let hours = "SELECT groupBitmapMerge(users) FROM hour_users WHERE zone = 'Asia/Shanghai' AND local_hour = 4";
    assert_eq!(fixture.number(hours).await, 1);

    // What comes now is counted in the new zone at once.
    eventually("the worker knows the zone", async || {
        let id = uuid::Uuid::new_v4();
        fixture.produce("u-2", click(id, "u-2", late)).await;
        let live = "SELECT count() FROM day_users WHERE zone = 'Asia/Shanghai' AND rebuilt = 0";
        tokio::time::sleep(Duration::from_millis(300)).await;
        fixture.number(live).await > 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_any_script_and_days_of_23_and_25_hours_arrive_as_they_are() {
    let mut fixture = Fixture::bare().await;
    fixture.config.retention.raw_days = 360;
    uptake::store::migrate::run(fixture.config.clone()).await.unwrap();
    let definition = "system: erp\nname: ERP\ntimezone: Europe/Rome\n\
        calendar: {weekdays: [mon, tue, wed, thu, fri], holidays: [], extra_working_days: []}\n";
    uptake::definition::apply_text(&fixture.config, definition, "test")
        .await
        .unwrap();
    let rome = jiff::tz::TimeZone::get("Europe/Rome").unwrap();
    let transitions: Vec<_> = rome
        .preceding(Timestamp::now())
        .take(2)
        .map(|t| t.timestamp())
        .collect();
    let _worker = Worker::with(&fixture, &[("UPTAKE__RETENTION__RAW_DAYS", "360")]);
    for (number, at) in transitions.iter().enumerate() {
        let data = json!({"system": "erp", "feature": "财务.发票.审批"});
        for (side, time) in [(0, *at - 1.minute()), (1, *at + 1.minute())] {
            let id = format!("{number}-{side}");
            fixture
                .produce(
                    "员工-1",
                    event(id, "员工-1", time, "usage.feature_click.v1", data.clone()),
                )
                .await;
        }
    }
    eventually_committed(&fixture, 4).await;
    let hours = "SELECT toString(local_hour), toUInt64(sum(clicks)) FROM feature_hours \
        WHERE feature = '财务.发票.审批' AND zone = 'Europe/Rome' GROUP BY 1 ORDER BY 1";
    let hours: Vec<(String, u64)> = fixture.store.client().query(hours).fetch_all().await.unwrap();
    // Spring: 1 becomes 3. Autumn: 2 comes twice.
    assert_eq!(hours, [("1".to_owned(), 1), ("2".to_owned(), 2), ("3".to_owned(), 1)]);
    assert_eq!(fixture.number("SELECT uniqExact(local_date) FROM day_users").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_refuses_a_server_on_which_its_promises_do_not_hold() {
    let fixture = Fixture::new().await;
    let refuse = || {
        let output = fixture.program().arg("ingest").output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let client = fixture.store.client();
    client
        .query("ALTER TABLE feature_user_days RESET SETTING non_replicated_deduplication_window")
        .execute()
        .await
        .unwrap();
    let error = refuse();
    assert!(
        error.contains("feature_user_days") && error.contains("deduplication_window"),
        "{error}"
    );
    client
        .query("TRUNCATE TABLE schema_migrations")
        .execute()
        .await
        .unwrap();
    let error = refuse();
    assert!(error.contains("run `uptake migrate`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_created_anew_is_read_from_its_beginning() {
    let fixture = Fixture::new().await;
    let _worker = Worker::start(&fixture);
    produce_clicks(&fixture, 0..100).await;
    eventually_committed(&fixture, 100).await;

    let kafka = &fixture.config.kafka;
    let admin: AdminClient<_> = ClientConfig::new()
        .set("bootstrap.servers", &kafka.brokers)
        .create()
        .unwrap();
    let options = AdminOptions::new();
    admin.delete_topics(&[&kafka.topic], &options).await.unwrap();
    eventually("the topic can be created anew", async || {
        let topic = NewTopic::new(&kafka.topic, kafka.partitions, TopicReplication::Fixed(1));
        admin.create_topics(&[topic], &options).await.unwrap()[0].is_ok()
    })
    .await;
    // More than the old one had, at once: its last offsets stand in the middle of these.
    produce_clicks(&fixture, 100..500).await;
    eventually("all of it is stored", async || {
        fixture.number("SELECT uniqExact(identity) FROM raw_events").await == 500
    })
    .await;
    assert_counted_once(&fixture, 500).await;
}
