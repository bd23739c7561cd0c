//! What a former version stored is there under the present schema.

use uptake::event::Identity;
use uptake::pseudonym::Pseudonym;
use uptake::store::ordinals::Ordinals;

use crate::harness::Fixture;
use crate::ordinals::users;

/// Clicks that a former version counted by pseudonym: in its table `feature_days`.
#[tokio::test(flavor = "multi_thread")]
async fn clicks_of_a_former_version_are_those_of_the_same_users() {
    let fixture = Fixture::new().await;
    let execute = async |sql: &str| fixture.store.client().query(sql).execute().await.unwrap();
    let known = Ordinals::new(&fixture.store).resolve(users(1..3)).await.unwrap();
    execute(include_str!("../../schemas/clickhouse/0006_feature_days.sql")).await;
    let [one, two, erased, gone] = [users(1..2)[0], users(2..3)[0], Pseudonym([7; 16]), Pseudonym([8; 16])];
    execute(&format!(
        "INSERT INTO erased_events (system, type, time, user, ordinal, feature) \
         VALUES ('erp', 'feature_click', '2026-10-01 00:00:00', unhex('{erased}'), 1234, 'a.b')"
    ))
    .await;
    let rows = [(one, 1), (one, 2), (two, 1), (erased, 1), (gone, 1)];
    let rows = rows.map(|(user, day)| format!("('erp', '', 0, 'a.b', unhex('{user}'), '2026-10-0{day}', {day} + 1)"));
    execute(&format!("INSERT INTO feature_days VALUES {}", rows.join(", "))).await;

    // A second time, as after a crash between the statement and its entry in the list of what is applied, it adds nothing.
    for _ in 0..2 {
        execute(include_str!(
            "../../schemas/clickhouse/0098_feature_user_days_of_old_rows.sql"
        ))
        .await;
    }
    let sql = "SELECT ordinal, toString(local_date), clicks FROM feature_user_days FINAL ORDER BY ALL";
    let mut stored: Vec<(u64, String, u64)> = fixture.store.client().query(sql).fetch_all().await.unwrap();
    let (nobodys, ..) = stored.pop().unwrap();
    assert!(nobodys > 1 << 63, "{nobodys}");
    let mut expected = [(known[&one], 1), (known[&one], 2), (known[&two], 1), (1234, 1)]
        .map(|(ordinal, day)| (ordinal, format!("2026-10-0{day}"), day + 1));
    expected.sort();
    assert_eq!(stored, expected);
}

/// Raw events of a former version: by pseudonym, in its table `events`.
#[tokio::test]
async fn raw_events_of_a_former_version_are_brought_over_and_no_more_are_stored_there() {
    let fixture = Fixture::new().await;
    let execute = async |sql: &str| fixture.store.client().query(sql).execute().await;
    for sql in [
        include_str!("../../schemas/clickhouse/0001_events.sql"),
        include_str!("../../schemas/clickhouse/0030_events_stored_at.sql"),
    ] {
        execute(sql).await.unwrap();
    }
    let identity = xxhash_rust::xxh3::xxh3_128_with_seed(b"e-1", xxhash_rust::xxh3::xxh3_64(b"/erp"));
    let row = |n: u8| {
        format!(
            "INSERT INTO events (system, type, time, user, ordinal, feature, source, identity, kafka_offset, ingested_at, stored_at) \
             VALUES ('erp', 'feature_click', '2026-10-0{n} 00:00:00', 'sixteen letters.', 40 + {n}, 'a.b', '/erp', unhex('{identity:032x}'), {n}, \
                '2026-10-02 08:00:00', '2026-10-02 09:00:00')"
        )
    };
    for n in [1, 2] {
        execute(&row(n)).await.unwrap();
    }
    // A second time, as after a crash between the statement and its entry in the list of what is applied, nothing is there twice.
    for _ in 0..2 {
        execute(include_str!("../../schemas/clickhouse/0103_no_more_in_events.sql"))
            .await
            .unwrap();
        execute(include_str!("../../schemas/clickhouse/0104_raw_events_of_old_rows.sql"))
            .await
            .unwrap();
    }
    let refused = execute(&row(3)).await.unwrap_err().to_string();
    assert!(refused.contains("raw_events_took_its_place"), "{refused}");
    let sql = "SELECT ordinal, kafka_offset, identity, toString(stored_at) FROM raw_events FINAL ORDER BY time";
    let stored: Vec<(u64, u64, u64, String)> = fixture.store.client().query(sql).fetch_all().await.unwrap();
    let expected = |n| {
        (
            40 + n,
            n,
            Identity::of("/erp", "e-1").0,
            "2026-10-02 09:00:00.000".to_owned(),
        )
    };
    assert_eq!(stored, [expected(1), expected(2)]);
}
