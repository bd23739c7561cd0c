//! The reconciler against the real engine: whatever the rollups say, afterwards they say what the raw events say.
//!
//! What is right is told by the views of the migrations, run over the raw events; the program's own definitions are not asked.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clickhouse::Client;
use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan};
use tokio_util::sync::CancellationToken;
use uptake::metrics::Metrics;
use uptake::reconcile::{Reconciler, Report, watch};
use uptake::store::rebuild;

use crate::harness::{Fixture, PATIENCE, eventually};

const ROLLUPS: [&str; 5] = [
    "feature_hours",
    "feature_user_days",
    "day_users",
    "hour_users",
    "feature_users",
];
/// Those that a row too many makes wrong; the others are sets.
const COUNTS: [&str; 2] = ["feature_hours", "feature_user_days"];

/// A database with events on three days that are over.
struct Scene {
    fixture: Fixture,
    /// The day after the last one with events.
    end: Date,
}

impl Scene {
    async fn new() -> Self {
        let mut fixture = Fixture::new().await;
        fixture.config.reconcile.closed_after_ms = 0;
        fixture.config.reconcile.lookback_ms = 0;
        let end = Offset::UTC.to_datetime(Timestamp::now()).date();
        let scene = Self { fixture, end };
        scene.insert(0..2_000, "first").await;
        scene
    }

    fn client(&self) -> Client {
        // As a worker inserts.
        let client = self.fixture.store.client().clone();
        uptake::ingest::with_insert_settings(client)
            .with_setting("log_comment", "uptake-ingest topic=topic partitions=,0,")
    }

    async fn execute(&self, sql: &str) {
        self.client().query(sql).execute().await.expect(sql);
    }

    /// Inserts the events of these numbers under this token; an event is the same under its number.
    async fn insert(&self, numbers: std::ops::Range<u64>, token: &str) {
        let sql = format!(
            "INSERT INTO raw_events (system, type, time, ordinal, feature, outcome, source, identity, zone, local_date, local_hour, \
                kafka_topic, kafka_offset, ingested_at) \
             WITH toDateTime64('{} 00:00:00', 3, 'UTC') - INTERVAL 3 DAY + INTERVAL (number * 7919) % (3 * 86400) SECOND AS at, \
                multiIf(number % 5 = 0, 'login', number % 11 = 0, 'feedback', 'feature_click') AS kind \
             SELECT if(number % 3 = 0, 'crm', 'erp'), kind, at, 1 + number % 40, \
                if(kind = 'feature_click', concat('finance.', toString(number % 13)), ''), \
                multiIf(kind != 'login', '', number % 2 = 0, 'success', 'failure'), \
                '/test', sipHash64('event', number), '', toDate(at, 'UTC'), toHour(at, 'UTC'), 'topic', number, now64(3) \
             FROM numbers({}, {}) SETTINGS insert_deduplication_token = '{token}'",
            self.end,
            numbers.start,
            numbers.end - numbers.start
        );
        self.execute(&sql).await;
    }

    async fn reconcile(&self) -> Report {
        Reconciler::new(&self.fixture.config)
            .run_since_last()
            .await
            .expect("the engine answers")
    }

    /// How many rows of `table` differ from what its view makes of the raw events.
    async fn wrong_rows(&self, table: &str) -> u64 {
        let database = &self.fixture.config.clickhouse.database;
        let sql = "SELECT as_select FROM system.tables WHERE database = ? AND name = ?";
        let view: String = self
            .client()
            .query(sql)
            .bind(database)
            .bind(format!("{table}_of_raw_events"))
            .fetch_one()
            .await
            .unwrap();
        let (raw, _) = self.fixture.store.stored("raw_events");
        let (before, after) = view.split_once(&format!(".{raw} ")).expect("it reads raw events");
        let (before, _) = before.rsplit_once(' ').expect("FROM and a database");
        let truth = format!("{before} raw_events FINAL {after}");
        let sql = "SELECT groupArray(name) FROM \
            (SELECT name FROM system.columns WHERE database = ? AND table = ? ORDER BY position)";
        let columns = self.client().query(sql).bind(database).bind(table);
        let mut columns: Vec<String> = columns.fetch_one().await.unwrap();
        // The rows of a key may stand on several shards.
        let value = match columns.pop().as_deref() {
            Some("users") => "arraySort(bitmapToArray(groupBitmapMergeState(users)))",
            _ => "sum(clicks)",
        };
        let keys = columns.join(", ");
        let side = |rows: &str| format!("SELECT cityHash64({keys}, {value}) AS row FROM {rows} GROUP BY {keys}");
        let (truth, stored) = (side(&format!("({truth})")), side(table));
        let both = format!("SELECT 1 AS side, row FROM ({truth}) UNION ALL SELECT -1, row FROM ({stored})");
        let sql = format!("SELECT count() FROM (SELECT row FROM ({both}) GROUP BY row HAVING sum(side) != 0)");
        self.fixture.number(&sql).await
    }

    async fn assert_right(&self) {
        for table in ROLLUPS {
            assert_eq!(self.wrong_rows(table).await, 0, "{table}");
        }
    }

    async fn assert_wrong(&self, table: &str) {
        assert!(self.wrong_rows(table).await > 0, "{table} is right");
    }

    /// One reconciler's run finds this many differences, repairs them all, and a second one finds nothing.
    async fn assert_repairs(&self) -> Report {
        let report = self.reconcile().await;
        assert!(report.differences() > 0, "{report}");
        assert_eq!(
            (report.repaired(), report.pending.len()),
            (report.differences(), 0),
            "{report}"
        );
        self.assert_right().await;
        let again = self.reconcile().await;
        assert_eq!(again.differences(), 0, "{again}");
        report
    }

    async fn mutations(&self) -> u64 {
        let sql = "SELECT count() FROM system.mutations WHERE database = ? AND has(?, table)";
        let query = self.client().query(sql).bind(&self.fixture.config.clickhouse.database);
        query.bind(ROLLUPS.as_slice()).fetch_one().await.unwrap()
    }
}

#[tokio::test]
async fn rollups_that_are_right_are_left_as_they_are() {
    let scene = Scene::new().await;
    let report = scene.reconcile().await;
    assert_eq!(
        (report.days, report.differences(), report.pending.len()),
        (6, 0, 0),
        "{report}"
    );
    let rows = "SELECT countIf(type = 'feature_click') * 2 FROM raw_events";
    assert!(report.rows > scene.fixture.number(rows).await, "{report}");
    assert_eq!(scene.mutations().await, 0);
    assert_eq!(scene.fixture.number("SELECT count() FROM repairs").await, 0);
    // What was compared is not compared again, unless a statement was running that had begun before it was stored.
    eventually("nothing is left to compare", async || scene.reconcile().await.days == 0).await;
    scene.assert_right().await;
}

#[tokio::test]
async fn lost_rows_are_added() {
    let scene = Scene::new().await;
    let day = scene.end.saturating_sub(2.days());
    for table in ROLLUPS {
        scene
            .fixture
            .delete(table, &format!("local_date = '{day}' AND system = 'erp'"))
            .await;
        scene.assert_wrong(table).await;
    }
    scene.assert_repairs().await;
}

#[tokio::test]
async fn doubled_rows_are_taken_back_without_a_mutation() {
    let scene = Scene::new().await;
    for table in ROLLUPS {
        let double = format!("INSERT INTO {table} SELECT * FROM {table} SETTINGS insert_deduplicate = 0");
        scene.execute(&double).await;
    }
    for table in COUNTS {
        scene.assert_wrong(table).await;
    }
    scene.assert_repairs().await;
    assert_eq!(scene.mutations().await, 0);
}

#[tokio::test]
async fn a_repeat_that_the_workers_did_not_recognise_counts_once() {
    let scene = Scene::new().await;
    scene.reconcile().await;
    scene.insert(500..700, "again").await;
    for table in COUNTS {
        scene.assert_wrong(table).await;
    }
    let report = scene.assert_repairs().await;
    let surplus = |rollup| {
        report
            .findings
            .iter()
            .filter(|f| f.rollup == rollup)
            .map(|f| f.surplus)
            .sum::<u64>()
    };
    assert_eq!(surplus("feature_user_days"), 145, "{report}");
}

/// So many that their list is longer than a statement usually may be.
#[tokio::test]
async fn keys_that_no_event_stands_for_are_removed() {
    let scene = Scene::new().await;
    let day = scene.end.saturating_sub(1.day());
    let ghost = format!("'erp', '', 0, 'finance.1', 1000000 + number, '{day}'");
    scene
        .execute(&format!(
            "INSERT INTO feature_user_days SELECT {ghost}, 1 FROM numbers(15000)"
        ))
        .await;
    // An hour with a user too many, and a feature that nobody clicked.
    for users in [
        format!("INSERT INTO hour_users SELECT 'erp', '', 0, '{day}', 3, groupBitmapState(toUInt64(99))"),
        format!(
            "INSERT INTO feature_users SELECT 'erp', '', 0, 'finance.none', '{day}', groupBitmapState(toUInt64(7))"
        ),
    ] {
        scene.execute(&users).await;
    }
    scene
        .execute(&format!(
            "INSERT INTO feature_hours VALUES ('erp', '', 0, 'finance.none', '{day}', 3, 7)"
        ))
        .await;
    scene.assert_repairs().await;
    for table in ["feature_hours", "feature_users"] {
        let left = format!("SELECT count() FROM {table} WHERE feature = 'finance.none'");
        assert_eq!(scene.fixture.number(&left).await, 0, "{table}");
    }
}

#[tokio::test]
async fn what_a_worker_may_still_repeat_is_left_until_it_is_committed() {
    let mut scene = Scene::new().await;
    scene.fixture.config.reconcile.closed_after_ms = 3_600_000;
    scene.fixture.delete("feature_user_days", "true").await;
    let report = scene.reconcile().await;
    assert_eq!((report.repaired(), report.pending.len()), (0, 6), "{report}");
    scene.assert_wrong("feature_user_days").await;
    let progress = "INSERT INTO ingest_progress VALUES ('topic', 0, 2000, 2000, now64(3), 'w', now64(3))";
    scene.execute(progress).await;
    scene.assert_repairs().await;
}

/// The engine died between the raw table and a view; the worker repeats its insert only after the repair.
#[tokio::test]
async fn a_view_that_is_filled_after_the_repair_is_found_by_the_next_run() {
    let scene = Scene::new().await;
    scene.execute("DETACH TABLE feature_user_days_of_raw_events").await;
    scene.insert(3_000..3_100, "cut off").await;
    scene.execute("ATTACH TABLE feature_user_days_of_raw_events").await;
    scene.assert_wrong("feature_user_days").await;
    scene.assert_repairs().await;
    scene.insert(3_000..3_100, "cut off").await;
    assert_eq!(scene.fixture.number("SELECT count() FROM raw_events").await, 2_100);
    scene.assert_wrong("feature_user_days").await;
    scene.assert_repairs().await;
}

/// The same damage twice: a repair must not be taken for a repeat of the one before.
#[tokio::test]
async fn the_same_repair_counts_again_when_it_is_needed_again() {
    let scene = Scene::new().await;
    for _ in 0..2 {
        scene.fixture.delete("feature_hours", "true").await;
        let report = scene.assert_repairs().await;
        assert_eq!(report.findings.len(), 6, "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_reconcilers_at_once_do_no_harm() {
    let scene = Scene::new().await;
    for table in ROLLUPS {
        scene.fixture.delete(table, "system = 'erp'").await;
        let double =
            format!("INSERT INTO {table} SELECT * FROM {table} WHERE system = 'crm' SETTINGS insert_deduplicate = 0");
        scene.execute(&double).await;
    }
    tokio::join!(scene.reconcile(), scene.reconcile(), scene.reconcile());
    eventually("nothing is left", async || scene.reconcile().await.pending.is_empty()).await;
    scene.assert_right().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_arrive_beside_a_repair_are_counted_once() {
    let scene = Scene::new().await;
    let inserting = async {
        for batch in 0..60 {
            scene
                .insert(10_000 + batch * 20..10_020 + batch * 20, &format!("late {batch}"))
                .await;
        }
    };
    let damaging = async {
        for (round, table) in ROLLUPS.into_iter().cycle().take(10).enumerate() {
            scene.fixture.delete(table, "system = 'erp'").await;
            let token = format!(
                "INSERT INTO {table} SELECT * FROM {table} WHERE system = 'crm' SETTINGS insert_deduplicate = 0"
            );
            scene.execute(&token).await;
            tracing::debug!(round, "damaged");
            scene.reconcile().await;
        }
    };
    tokio::join!(inserting, damaging);
    eventually("nothing is left", async || scene.reconcile().await.pending.is_empty()).await;
    scene.assert_right().await;
    assert_eq!(
        scene.fixture.number("SELECT count() FROM raw_events").await,
        2_000 + 60 * 20
    );
}

/// The raw rows stand already, the rollup's are still to come.
#[tokio::test(flavor = "multi_thread")]
async fn an_insert_that_is_half_done_is_no_difference() {
    let scene = Scene::new().await;
    scene.reconcile().await;
    let sql = "SELECT as_select FROM system.tables WHERE database = ? AND name = 'feature_user_days_of_raw_events'";
    let database = &scene.fixture.config.clickhouse.database;
    let view: String = scene.client().query(sql).bind(database).fetch_one().await.unwrap();
    let slow = view.replace(" GROUP BY", " AND (sleep(3) = 0) GROUP BY");
    assert_ne!(view, slow);
    scene.execute("DROP TABLE feature_user_days_of_raw_events").await;
    scene
        .execute(&format!(
            "CREATE MATERIALIZED VIEW feature_user_days_of_raw_events TO feature_user_days AS {slow}"
        ))
        .await;
    let reconciling = async {
        eventually("the raw rows are stored", async || {
            scene.fixture.number("SELECT count() FROM raw_events").await == 2_100
        })
        .await;
        let report = scene.reconcile().await;
        assert_eq!((report.days, report.differences()), (6, 0), "{report}");
    };
    tokio::join!(scene.insert(3_000..3_100, "slow"), reconciling);
    let clicks = "SELECT count() FROM raw_events WHERE type = 'feature_click'";
    let counted = "SELECT toUInt64(sum(clicks)) FROM feature_user_days";
    assert_eq!(scene.fixture.number(counted).await, scene.fixture.number(clicks).await);
}

#[tokio::test]
async fn rows_that_were_rebuilt_in_another_zone_are_compared_in_it() {
    let scene = Scene::new().await;
    let definition = "system: erp\nname: ERP\ntimezone: Asia/Shanghai\n\
        calendar: {weekdays: [mon, tue, wed, thu, fri], holidays: [], extra_working_days: []}\n";
    uptake::definition::apply_text(&scene.fixture.config, definition, "test")
        .await
        .unwrap();
    // Until they are rebuilt they are left alone.
    let report = scene.reconcile().await;
    let pending: Vec<_> = report
        .pending
        .iter()
        .map(|pending| pending.day.system.as_str())
        .collect();
    assert_eq!((pending, report.differences()), (vec!["erp"; 4], 0), "{report}");

    let stop = CancellationToken::new();
    let store = scene.fixture.store.clone();
    tokio::spawn(rebuild::watch(
        store.clone(),
        Arc::new(AtomicBool::new(true)),
        |_, _| true,
        stop.clone(),
    ));
    assert!(
        rebuild::wait(&store, "erp", "Asia/Shanghai", PATIENCE, |_, _| {})
            .await
            .unwrap()
    );
    stop.cancel();
    let digest = "SELECT sum(cityHash64(local_date, local_hour, arraySort(bitmapToArray(users)))) FROM hour_users FINAL WHERE zone = 'Asia/Shanghai'";
    let (digest, days) = (digest.to_owned(), scene.fixture.number(digest).await);
    assert_eq!(scene.reconcile().await.differences(), 0);

    let day = scene.end.saturating_sub(2.days());
    for table in ROLLUPS {
        scene
            .fixture
            .delete(table, &format!("local_date = '{day}' AND rebuilt = 1"))
            .await;
    }
    scene.insert(1..2, "touches the systems").await;
    let output = scene
        .fixture
        .program()
        .args(["reconcile", "--system", "erp"])
        .env("UPTAKE__RECONCILE__CLOSED_AFTER_MS", "0")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.matches(": repaired").count(), 5, "{text}");
    assert_eq!(scene.fixture.number(&digest).await, days);
}

#[tokio::test]
async fn days_whose_raw_events_are_gone_keep_their_rollups() {
    let scene = Scene::new().await;
    let day = scene.end.saturating_sub(2.days());
    scene
        .fixture
        .delete("raw_events", &format!("local_date = '{day}'"))
        .await;
    let kept = format!("SELECT toUInt64(sum(clicks)) FROM feature_user_days WHERE local_date = '{day}'");
    let before = scene.fixture.number(&kept).await;
    let report = scene.reconcile().await;
    assert_eq!((report.days, report.differences()), (4, 0), "{report}");
    assert!(before > 0);
    assert_eq!(scene.fixture.number(&kept).await, before);
}

#[tokio::test]
async fn what_a_shorter_retention_deleted_is_not_compared_when_it_is_longer_again() {
    let mut scene = Scene::new().await;
    // Days count as kept whole from the third before today on.
    scene.fixture.config.retention.raw_days = 5;
    assert_eq!(scene.reconcile().await.days, 4);
    scene.fixture.config.retention.raw_days = 180;
    scene.insert(5_000..5_600, "late").await;
    assert_eq!(scene.reconcile().await.days, 4);
}

#[tokio::test]
async fn a_run_does_a_bounded_part_and_the_next_ones_the_rest() {
    let mut scene = Scene::new().await;
    scene.fixture.config.reconcile.days_per_run = 4;
    scene.fixture.delete("day_users", "true").await;
    let report = scene.reconcile().await;
    assert_eq!((report.days, report.pending.len()), (4, 2), "{report}");
    // The days that were repaired are watched on.
    scene.fixture.config.reconcile.days_per_run = 400;
    scene.reconcile().await;
    scene.assert_right().await;
}

#[tokio::test]
async fn the_command_tells_what_it_found() {
    let scene = Scene::new().await;
    let day = |days: i64| scene.end.saturating_sub(days.days()).to_string();
    let early = format!("local_date = '{}' AND system = 'erp' AND local_hour < 3", day(1));
    scene.fixture.delete("feature_hours", &early).await;
    let double = format!(
        "INSERT INTO feature_user_days SELECT * FROM feature_user_days WHERE local_date = '{}' AND system = 'crm' SETTINGS insert_deduplicate = 0",
        day(3)
    );
    scene.execute(&double).await;
    let run = |arguments: &[&str]| {
        let mut program = scene.fixture.program();
        program
            .arg("reconcile")
            .args(arguments)
            .env("UPTAKE__RECONCILE__CLOSED_AFTER_MS", "0");
        let output = program.output().unwrap();
        // Its log goes to standard error.
        let told = if output.status.success() {
            output.stdout
        } else {
            output.stderr
        };
        let text = String::from_utf8(told).unwrap();
        let text = (1..=3).fold(text, |text, days| text.replace(&day(days), &format!("DAY-{days}")));
        (output.status.code(), text)
    };
    insta::assert_snapshot!(run(&["--system", "erp", "--from", &day(2)]).1, @r"
    erp DAY-1 feature_hours: 31 keys, 38 missing, 0 too many: repaired
    2 days compared: 31 differences, 31 repaired, 0 days left
    ");
    insta::assert_snapshot!(run(&[]).1, @r"
    crm DAY-3 feature_user_days: 148 keys, 0 missing, 148 too many: repaired
    6 days compared: 148 differences, 148 repaired, 0 days left
    ");
    scene.assert_right().await;
    let (code, text) = run(&["--from", "2026-03-02", "--to", "2026-03-02"]);
    assert_eq!(code, Some(2));
    insta::assert_snapshot!(text, @"uptake: --to 2026-03-02: expected a day after --from 2026-03-02");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_maintainer_runs_it_again_and_again_and_counts_what_it_finds() {
    let mut scene = Scene::new().await;
    scene.fixture.config.reconcile.interval_ms = 100;
    let metrics = Metrics::default();
    let (maintainer, stop) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
    tokio::spawn(watch(
        scene.fixture.config.clone(),
        maintainer.clone(),
        metrics.reconcile.clone(),
        stop.clone(),
    ));
    scene.fixture.delete("feature_hours", "true").await;
    let keys = scene.fixture.number("SELECT count() FROM (SELECT DISTINCT system, feature, local_date, local_hour FROM raw_events WHERE type = 'feature_click')").await;
    maintainer.store(true, std::sync::atomic::Ordering::Release);
    let repaired = format!("uptake_reconcile_repairs_total{{rollup=\"feature_hours\"}} {keys}\n");
    eventually("the repairs are counted", async || metrics.render().contains(&repaired)).await;
    scene.assert_right().await;
    let runs = "SELECT count() FROM reconcile_runs";
    eventually("it runs again", async || scene.fixture.number(runs).await > 1).await;
    stop.cancel();
    let differences = format!("uptake_reconcile_differences_total{{rollup=\"feature_hours\"}} {keys}\n");
    assert!(metrics.render().contains(&differences));
}
