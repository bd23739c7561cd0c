//! Erasing a person: what leads to them is gone, also after the topic is read again; what was counted stays.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::access::run;
use crate::api::Api;
use crate::harness::Fixture;
use crate::ingest::{Worker, click, eventually_committed};

const DEFINITION: &str = "\
system: erp
name: ERP
timezone: UTC
calendar: {weekdays: [mon, tue, wed, thu, fri, sat, sun]}
features: [{key: finance.invoice.approve, title: Approve, released: 2026-01-01}]
";

/// Twelve persons who clicked three times each yesterday, on the roster for a year, with a worker.
pub struct Scene {
    pub api: Api,
    pub worker: Option<Worker>,
    /// An hour of yesterday.
    pub time: Timestamp,
    pub messages: i64,
}

impl Scene {
    pub async fn new() -> Self {
        let fixture = Fixture::new().await;
        let api = Api::serve(fixture).await;
        let put = api.put("/systems/erp", "application/yaml", DEFINITION).await;
        assert_eq!(put.0, 200, "{}", put.1);
        let yesterday = Timestamp::now() - 24.hours();
        let time = yesterday.to_zoned_datetime(TimeZone::UTC).date().at(9, 7, 0, 0);
        let time = time.to_zoned_datetime(TimeZone::UTC).unwrap().timestamp();
        let mut scene = Self {
            worker: Some(Worker::start(&api.fixture)),
            api,
            time,
            messages: 0,
        };
        scene.import_roster().await;
        for round in 0..3 {
            for user in 1..=12 {
                scene
                    .click(&format!("u-{user}"), scene.time + (20 * (round + 1)).minutes())
                    .await;
            }
        }
        scene.done().await;
        scene
    }

    pub async fn import_roster(&self) {
        let rows: String = (1..=12)
            .map(|user| format!("u-{user},person,Sales,clerk,,,,2026-01-01,\n"))
            .collect();
        let csv = format!("user_id,kind,unit,role,tier,site,phase,entitled_from,entitled_to\n{rows}");
        let put = self.api.put("/systems/erp/roster", "text/csv", &csv).await;
        assert_eq!(put.0, 200, "{}", put.1);
        let trained = "user_id,trained_on\nu-2,2026-10-05\nu-1,2026-10-05\n";
        let put = self.api.put("/systems/erp/training", "text/csv", trained).await;
        assert_eq!(put.0, 200, "{}", put.1);
    }

    pub async fn click(&mut self, user: &str, time: Timestamp) {
        let id = self.messages;
        self.api.fixture.produce(user, click(id, user, time)).await;
        self.messages += 1;
    }

    /// All of the topic, by a new consumer group.
    pub async fn read_again(&mut self) {
        self.done().await;
        drop(self.worker.take());
        self.api.fixture.config.kafka.group_id += ".again";
        self.worker = Some(Worker::start(&self.api.fixture));
        self.done().await;
    }

    pub async fn done(&self) {
        eventually_committed(&self.api.fixture, self.messages).await;
    }

    /// Everything that is counted of yesterday.
    pub async fn totals(&self) -> Value {
        let day = self.time.to_zoned_datetime(TimeZone::UTC).date();
        let window = format!("from={day}&to={}", day.tomorrow().unwrap());
        let mut totals = Vec::new();
        for path in [
            "adoption",
            "features",
            "heatmap/hours",
            "heatmap/features",
            "stickiness",
        ] {
            let by = if path == "heatmap/features" { "&by=unit" } else { "" };
            let mut answer = self.api.ok(&format!("/systems/erp/{path}?{window}{by}")).await;
            answer.as_object_mut().unwrap().remove("data_quality");
            totals.push(answer);
        }
        let rollups = "SELECT assumeNotNull((SELECT sum(clicks) FROM feature_user_days)), assumeNotNull((SELECT sum(clicks) FROM feature_hours)), \
            assumeNotNull((SELECT length(bitmapToArray(groupBitmapMergeState(users))) FROM day_users))";
        let rollups: (u64, u64, u64) = self
            .api
            .fixture
            .store
            .client()
            .query(rollups)
            .fetch_one()
            .await
            .unwrap();
        totals.push(json!(rollups));
        json!(totals)
    }

    /// In how many rows of which tables somebody stands: every table with a user is asked.
    pub async fn rows_of(&self, user: &str) -> Vec<(String, u64)> {
        let store = &self.api.fixture.store;
        let tables = "SELECT DISTINCT table FROM system.columns WHERE database = currentDatabase() AND name = 'user' \
            AND table IN (SELECT name FROM system.tables WHERE database = currentDatabase() AND endsWith(engine, 'MergeTree'))";
        let tables: Vec<String> = store.client().query(tables).fetch_all().await.unwrap();
        assert!(tables.len() >= 5, "{tables:?}");
        let pseudonym = self.api.fixture.config.privacy.pseudonymizer().pseudonym(user);
        let mut found = Vec::new();
        for table in tables {
            let sql = format!("SELECT count() FROM {table} WHERE lower(hex(user)) = '{pseudonym}'");
            let rows = self.api.fixture.number(&sql).await;
            if rows > 0 {
                found.push((table, rows));
            }
        }
        found.sort();
        found
    }

    /// By which numbers somebody stands in the raw events and in the sets of users.
    async fn ordinals_of(&self, user: &str) -> Vec<u64> {
        let fixture = &self.api.fixture;
        let pseudonym = fixture.config.privacy.pseudonymizer().pseudonym(user);
        let sql = "SELECT DISTINCT ordinal FROM ordinals WHERE lower(hex(user)) = ?";
        let query = fixture.store.client().query(sql).bind(pseudonym.to_string());
        query.fetch_all().await.unwrap()
    }

    async fn raw_events_of(&self, ordinals: &[u64]) -> u64 {
        let sql = "SELECT count() FROM raw_events FINAL WHERE has(?, ordinal)";
        let query = self.api.fixture.store.client().query(sql).bind(ordinals);
        query.fetch_one().await.unwrap()
    }

    pub async fn delete(&self, user: &str) -> Value {
        let request = self.api.http.delete(format!("{}/api/v1/users/{user}", self.api.url));
        let (status, body) = self.api.send(request).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// The day is as the raw events have it.
    pub async fn assert_reconciled(&self) {
        let from = self.time.to_zoned_datetime(TimeZone::UTC).date().to_string();
        let mut program = self.api.fixture.program();
        program.args(["reconcile", "--system", "erp", "--from", &from]);
        let output = program.env("UPTAKE__RECONCILE__CLOSED_AFTER_MS", "0").output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.contains("0 differences") && told.contains("0 days left"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_person_is_gone_and_what_was_counted_stays_also_when_the_topic_is_read_again() {
    let mut scene = Scene::new().await;
    let before = scene.totals().await;
    assert_eq!(before[5], json!([36, 36, 12]));
    let tables: Vec<_> = scene.rows_of("u-2").await.into_iter().map(|(table, _)| table).collect();
    assert_eq!(tables, ["ordinals", "roster", "training"]);
    let ordinals = scene.ordinals_of("u-2").await;
    assert_eq!(scene.raw_events_of(&ordinals).await, 3);

    let erased = scene.delete("u-2").await;
    let expected = json!({"found": 1, "unknown": 0, "events": 3, "user_days": 1, "roster_rows": 1, "trainings": 1});
    assert_eq!(erased, expected);
    assert_eq!(scene.rows_of("u-2").await, []);
    assert_eq!(scene.raw_events_of(&ordinals).await, 0);
    assert_eq!(scene.totals().await, before);
    assert_eq!(scene.api.fixture.number("SELECT count() FROM erasing").await, 0);
    scene.assert_reconciled().await;

    // Late events, and all of the topic again.
    scene.click("u-2", scene.time).await;
    scene.read_again().await;
    // Whoever imports the same roster again does not bring the person's past back.
    scene.import_roster().await;
    let traces: Vec<_> = scene.rows_of("u-2").await.into_iter().map(|(table, _)| table).collect();
    assert_eq!(
        traces,
        ["ordinals", "roster"],
        "entitled anew, from the day of the erasure on"
    );
    assert_eq!(scene.totals().await, before);
    scene.assert_reconciled().await;

    // A person who comes back is a new user.
    let old: Vec<u64> = ordinals_of_yesterday(&scene).await;
    assert!(
        ordinals.iter().all(|ordinal| old.contains(ordinal)),
        "{ordinals:?} of {old:?}"
    );
    scene.click("u-2", Timestamp::now() + 120.seconds()).await;
    scene.done().await;
    let new = scene
        .api
        .fixture
        .number("SELECT ordinal FROM raw_events WHERE time > now()")
        .await;
    assert!(!old.contains(&new), "{new} of {old:?}");
    assert_eq!(scene.totals().await[0], before[0]);
}

async fn ordinals_of_yesterday(scene: &Scene) -> Vec<u64> {
    let sql = "SELECT arrayJoin(bitmapToArray(groupBitmapMergeState(users))) FROM day_users";
    scene.api.fixture.store.client().query(sql).fetch_all().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_erases_many_and_an_erasure_that_was_cut_off_is_taken_up() {
    let scene = Scene::new().await;
    let before = scene.totals().await;
    let fixture = &scene.api.fixture;
    // As if the one before had been killed after it moved the rows of u-3, and before it removed them.
    let pseudonymizer = fixture.config.privacy.pseudonymizer();
    let user = pseudonymizer.pseudonym("u-3");
    let tombstone: String = pseudonymizer
        .tombstone(user)
        .0
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let theirs = format!("lower(hex(user)) = '{user}'");
    let mut ordinals = scene.ordinals_of("u-3").await;
    ordinals.extend(scene.ordinals_of("u-4").await);
    for sql in [
        format!(
            "INSERT INTO erasing SELECT unhex('{tombstone}'), 'sixteen letters.', now64(3), arrayJoin([0, ordinal]) \
             FROM ordinals WHERE {theirs}"
        ),
        format!(
            "INSERT INTO erased_events (system, user, time, ordinal, type, outcome, feature, zone, local_date, local_hour) \
             SELECT system, 'sixteen letters.', toStartOfFifteenMinutes(time), ordinal, type, outcome, feature, zone, local_date, local_hour \
             FROM raw_events WHERE ordinal IN (SELECT ordinal FROM ordinals WHERE {theirs})"
        ),
        format!("ALTER TABLE ordinals DELETE WHERE {theirs} SETTINGS mutations_sync = 2"),
    ] {
        scene.api.execute(&sql).await;
    }
    let (code, told, log) = run(fixture, &["erase", "u-3", "u-4", "nobody"]);
    assert_eq!(code, Some(0), "{log}");
    insta::assert_snapshot!(told, @r"
    erased 2 users: 6 raw events removed, 2 rows of clicks and 2 roster rows made nameless, 0 training dates removed
    of 1 ids nothing is known: never seen, or erased before
    ");
    for user in ["u-3", "u-4"] {
        assert_eq!(scene.rows_of(user).await, []);
    }
    assert_eq!(scene.raw_events_of(&ordinals).await, 0);
    assert_eq!(scene.totals().await, before);
    assert_eq!(fixture.number("SELECT count() FROM erasing").await, 0);
    scene.assert_reconciled().await;

    let (code, told, _) = run(fixture, &["erase", "u-3"]);
    assert_eq!(code, Some(0));
    assert!(
        told.contains("erased 0 users") && told.contains("of 1 ids nothing is known"),
        "{told}"
    );
    assert_eq!(scene.totals().await, before);
    let (code, _, told) = run(fixture, &["erase", "-f", "/dev/null"]);
    assert_eq!(code, Some(2), "{told}");

    // The audit log tells how many, not who.
    let log = scene.api.ok("/audit").await;
    assert_eq!(log["entries"][0]["action"], "erase_users");
    assert_eq!(log["entries"][1]["object"], "3 users");
    assert!(!log.to_string().contains("u-3") && !log.to_string().contains(&user.to_string()));
}

/// Nothing tells whose it is any more, but its session and its place in Kafka do not belong there.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_stored_after_an_erasure_is_made_nameless_by_the_next() {
    let scene = Scene::new().await;
    let ordinals = scene.ordinals_of("u-2").await;
    scene.delete("u-2").await;
    scene
        .api
        .execute(&format!(
            "INSERT INTO raw_events (system, type, time, ordinal, feature, session, identity, zone, local_date, local_hour) \
             SELECT system, type, time + 1, {}, feature, 's-1', 17, zone, local_date, local_hour FROM raw_events LIMIT 1",
            ordinals[0]
        ))
        .await;
    let before = scene.totals().await;
    assert_eq!(before[5], json!([37, 37, 12]));
    let erased = scene.delete("nobody").await;
    assert_eq!((&erased["found"], &erased["events"]), (&json!(0), &json!(1)));
    assert_eq!(scene.raw_events_of(&ordinals).await, 0);
    assert_eq!(scene.totals().await, before);
    scene.assert_reconciled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_an_erased_person_is_counted_in_a_new_time_zone_too() {
    let scene = Scene::new().await;
    scene.delete("u-5").await;
    let zone = DEFINITION.replace("timezone: UTC", "timezone: Asia/Kathmandu");
    let put = scene.api.put("/systems/erp", "application/yaml", &zone).await;
    assert_eq!(put.0, 200, "{}", put.1);
    let rebuilt = "SELECT toUInt64(sum(clicks)) FROM feature_user_days WHERE zone = 'Asia/Kathmandu'";
    crate::harness::eventually("the rollups are rebuilt", async || {
        scene.api.fixture.number(rebuilt).await == 36
    })
    .await;
    let users =
        "SELECT length(bitmapToArray(groupBitmapMergeState(users))) FROM day_users WHERE zone = 'Asia/Kathmandu'";
    crate::harness::eventually("with all users", async || scene.api.fixture.number(users).await == 12).await;
}

/// A row of the table of terms in docs/privacy.md: names of tables, and how long they are kept.
fn terms() -> Vec<(Vec<String>, String)> {
    let text = include_str!("../../docs/privacy.md");
    let section = text.split("## How long it is kept").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    cells
        .map(|cells| {
            let tables = cells[0].split(", ").map(|name| name.trim_matches('`').to_owned());
            (tables.collect(), cells[2].to_owned())
        })
        .collect()
}

#[tokio::test]
async fn every_table_is_kept_as_long_as_docs_privacy_says() {
    let fixture = Fixture::new().await;
    let sql = "SELECT name, engine_full FROM system.tables WHERE database = currentDatabase() AND endsWith(engine, 'MergeTree') ORDER BY name";
    let stored: Vec<(String, String)> = fixture.store.client().query(sql).fetch_all().await.unwrap();
    let terms = terms();
    let mut told: Vec<_> = terms.iter().flat_map(|(tables, _)| tables.clone()).collect();
    told.sort();
    let names: Vec<_> = stored.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(told, names, "docs/privacy.md, How long it is kept");
    for (name, engine) in stored {
        let (_, term) = terms.iter().find(|(tables, _)| tables.contains(&name)).unwrap();
        let mut words = term.split(' ');
        let ttl = match (words.next().unwrap().parse::<u32>(), words.next()) {
            (Ok(days), Some("days")) => Some(format!("toIntervalDay({days})")),
            (Ok(months), Some("months")) => Some(format!("toIntervalMonth({months})")),
            _ => None,
        };
        match ttl {
            Some(ttl) => assert!(
                engine.contains("TTL") && engine.contains(&ttl),
                "{name}: {term}: {engine}"
            ),
            None => assert!(!engine.contains("TTL"), "{name}: {term}: {engine}"),
        }
    }
}

#[tokio::test]
async fn who_stands_behind_a_pseudonym_is_told_only_where_allowed_and_with_a_reason() {
    let fixture = Fixture::new().await;
    let pseudonym = fixture.config.privacy.pseudonymizer().pseudonym("u-04").to_string();
    let ids = "docs/example/crm-roster.csv";
    let identify = |allowed: &str, reason: &str, pseudonym: &str| {
        let mut program = fixture.program();
        program.env("UPTAKE__PRIVACY__REIDENTIFICATION", allowed);
        program.args(["identify", pseudonym, "--ids", ids, "--reason", reason]);
        let output = program.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let reason = "safety recall of the device, ticket 4711";
    let (code, told, why) = identify("false", reason, &pseudonym);
    assert_eq!((code, told.as_str()), (Some(2), ""), "{why}");
    assert!(why.contains("privacy.reidentification = false"), "{why}");
    let (code, _, why) = identify("true", "why not", &pseudonym);
    assert!(code == Some(2) && why.contains("--reason"), "{why}");
    let (code, _, why) = identify("true", reason, "u-04");
    assert!(code == Some(2) && why.contains("32 hexadecimal digits"), "{why}");
    let entries = "SELECT count() FROM audit";
    assert_eq!(fixture.number(entries).await, 0);

    let (code, told, why) = identify("true", reason, &pseudonym);
    assert_eq!((code, told.as_str()), (Some(0), "u-04\n"), "{why}");
    let (code, told, why) = identify("true", reason, &"0".repeat(32));
    assert_eq!((code, told.as_str()), (Some(2), ""), "{why}");
    let log = fixture.store.audit(None, 10).await.unwrap();
    let told: Vec<_> = log
        .iter()
        .map(|entry| (entry.action.as_str(), entry.detail.as_str()))
        .collect();
    assert_eq!(
        told,
        [("identify", r#"{"found":false}"#), ("identify", r#"{"found":true}"#)]
    );
    assert_eq!(log[1].object, format!("{pseudonym}: {reason}"));
}

#[tokio::test]
async fn rosters_that_count_no_more_are_removed_but_for_the_one_before() {
    let api = Api::start(|_| {}).await;
    for unit in ["A", "B", "C", "D"] {
        if unit == "D" {
            // Those that were in force a moment ago may still be asked about.
            tokio::time::sleep(Duration::from_secs(6)).await;
        }
        let csv = format!(
            "user_id,kind,unit,role,tier,site,phase,entitled_from,entitled_to\nu-1,person,{unit},,,,,2026-01-01,\n"
        );
        assert_eq!(api.put("/systems/erp/roster", "text/csv", &csv).await.0, 200);
    }
    let units = "SELECT arrayStringConcat(arraySort(groupArray(toString(unit)))) FROM roster";
    crate::harness::eventually("two rosters are left", async || {
        let units: String = api.fixture.store.client().query(units).fetch_one().await.unwrap();
        units == "CD"
    })
    .await;
}
