//! Users whom two workers met at the same moment and gave an ordinal each: they still count once, everywhere.

use uptake::store::systems::wait_until_seen;

use crate::flows;
use crate::numbers::{self, WINDOW};

/// The second ordinal of each user.
const SECOND: &str = "bitOr(ordinal, 9223372036854775808)";

/// Everybody has two.
fn split_all() -> String {
    format!("INSERT INTO split_users SELECT user, arrayJoin([ordinal, {SECOND}]) FROM ordinals")
}

/// What is made of raw events: each second of them is of the other ordinal.
#[tokio::test]
async fn a_run_of_clicks_under_two_ordinals_is_one_users() {
    let api = flows::company().await;
    let answers = async || {
        let mut answers = Vec::new();
        for path in [
            "funnels?steps=order.open,order.check,order.approve",
            "funnels?steps=order.open,order.check&unit=Sales",
            "paths?after=order.open",
            "satisfaction?by=unit",
            "issues?",
        ] {
            answers.push(api.ok(&format!("/systems/erp/{path}&{WINDOW}")).await);
        }
        answers
    };
    let before = answers().await;
    let (raw, on) = api.fixture.store.stored("raw_events");
    let other =
        format!("ALTER TABLE {raw} {on} UPDATE ordinal = {SECOND} WHERE identity % 2 = 1 SETTINGS mutations_sync = 2");
    for sql in [split_all(), other] {
        api.execute(&sql).await;
    }
    assert!(api.fixture.number("SELECT uniqExact(ordinal) FROM raw_events").await > 12);
    wait_until_seen().await;
    assert_eq!(answers().await, before);
}

/// Two workers met the same user at the same moment and gave an ordinal each: the user still counts once, everywhere.
#[tokio::test]
async fn a_user_with_two_ordinals_is_one_user() {
    let api = numbers::company().await;
    let paths = [
        "adoption?by=unit&grain=week",
        "adoption?measure=login",
        "logins?by=unit",
        "features?",
        "heatmap/hours?",
        "heatmap/features?by=role",
        "funnels?steps=finance.发票,finance.approve",
        "satisfaction?by=unit",
        "issues?",
        "features/finance.approve/time-to-adopt?",
        "stickiness?",
        "retention?",
    ];
    let of_days = [
        "lifecycle?by=unit&on=2026-10-14",
        "users?state=at_risk&on=2026-10-14",
        "champions?by=unit&month=2026-10",
    ];
    let answers = async || {
        let mut answers = Vec::new();
        for path in paths {
            answers.push(api.ok(&format!("/systems/erp/{path}&{WINDOW}")).await);
        }
        for path in of_days {
            answers.push(api.ok(&format!("/systems/erp/{path}")).await);
        }
        answers
    };
    let of_view = async || {
        let sql = "SELECT * FROM features(system = 'erp', from = '2026-10-01', to = '2026-10-15') ORDER BY ALL";
        let mut cursor = api.fixture.store.client().query_raw(sql).fetch_bytes("TSV").unwrap();
        String::from_utf8(cursor.collect().await.unwrap().to_vec()).unwrap()
    };
    let (before, of_view_before) = (answers().await, of_view().await);
    // Whatever a user did stands under both.
    for sql in [
        split_all(),
        format!(
            "INSERT INTO day_users SELECT system, zone, 0, local_date, 'login', groupBitmapState({SECOND}) \
             FROM raw_events WHERE type = 'login' AND outcome = 'success' GROUP BY ALL"
        ),
        format!(
            "INSERT INTO hour_users SELECT system, zone, 0, local_date, local_hour, groupBitmapState({SECOND}) \
             FROM raw_events WHERE type = 'feature_click' GROUP BY ALL"
        ),
        format!(
            "INSERT INTO feature_users SELECT system, zone, 0, feature, local_date, groupBitmapState({SECOND}) \
             FROM raw_events WHERE type = 'feature_click' GROUP BY ALL"
        ),
        format!(
            "INSERT INTO day_users SELECT system, zone, 0, local_date, 'click', groupBitmapState({SECOND}) \
             FROM raw_events WHERE type = 'feature_click' GROUP BY ALL"
        ),
        // One of the clicks of each day was of the second; sums are modulo 2^64.
        format!(
            "INSERT INTO feature_user_days SELECT system, zone, 0, feature, moved.1, local_date, moved.2 \
             FROM (SELECT DISTINCT system, zone, feature, ordinal, local_date FROM raw_events WHERE type = 'feature_click') \
             ARRAY JOIN [(ordinal, toUInt64(-1)), ({SECOND}, toUInt64(1))] AS moved"
        ),
    ] {
        api.execute(&sql).await;
    }
    wait_until_seen().await;
    assert_eq!(answers().await, before);
    assert_eq!(of_view().await, of_view_before);
}
