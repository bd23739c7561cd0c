//! Every number, computed by hand on one small company: roster changes inside a window, half-open days in local time, users
//! without a roster row, service accounts, holidays, groups too small to show, features in Chinese.
//!
//! The window of most tests is [2026-10-01, 2026-10-15) in Asia/Shanghai: 1 October is a Thursday, 1 and 2 October are
//! holidays, Saturday 10 October is worked.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use uptake::calendar::Zone;
use uptake::definition::Dimension;
use uptake::store::numbers::{Numbers, Shape};
use uptake::store::ordinals::Ordinals;

use crate::api::Api;

const DEFINITION: &str = "\
system: erp
name: Corporate ERP
timezone: Asia/Shanghai
calendar: {weekdays: [mon, tue, wed, thu, fri], holidays: [2026-10-01, 2026-10-02], extra_working_days: [2026-10-10]}
phases:
  - {id: pilot, name: Pilot, go_live: 2026-09-01}
features:
  - {key: finance.发票, title: 开发票, released: 2026-01-05, roles: [clerk]}
  - {key: finance.approve, title: Approve, released: 2026-01-05, roles: [approver]}
  - {key: hr.leave, title: Leave}
  - {key: hr.old, title: Old, released: 2026-01-05}
  - {key: hr.future, title: Future, released: 2027-01-01}
  - {key: legal.sign, title: Sign, roles: [counsel]}
targets: [{id: units, metric: adoption_rate, by: unit, target: 0.8, due_days: 90, breach_days: 5}]
";

/// Sales 5, Ops 5, IT 3, 法务 2 entitled persons in the window; s4 changes from IT to Sales inside it, x1 leaves on its first
/// day, y1 comes on its last.
const ROSTER: &str = "\
user_id,kind,unit,role,tier,site,phase,entitled_from,entitled_to
s1,person,Sales,clerk,,,,2026-01-01,
s2,person,Sales,clerk,,,,2026-01-01,
s3,person,Sales,clerk,,,,2026-01-01,
s4,person,IT,clerk,,,,2026-01-01,2026-10-08
s4,person,Sales,clerk,,,,2026-10-08,
x1,person,Sales,clerk,,,,2026-01-01,2026-10-01
y1,person,Sales,clerk,,,,2026-10-14,
bot,service,Sales,clerk,,,,2026-01-01,
l1,person,法务,clerk,,,,2026-01-01,
l2,person,法务,clerk,,,,2026-01-01,
i1,person,IT,approver,,,,2026-01-01,
i2,person,IT,approver,,,,2026-01-01,
i3,person,IT,approver,,,,2026-01-01,
o1,person,Ops,approver,,,,2026-01-01,
o2,person,Ops,approver,,,,2026-01-01,
o3,person,Ops,approver,,,,2026-01-01,
o4,person,Ops,approver,,,,2026-01-01,
o5,person,Ops,clerk,,,,2026-01-01,
";

/// User, UTC time, feature.
const CLICKS: &[(&str, &str, &str)] = &[
    // The first and the last instant of the window, and the one after it.
    ("s1", "2026-09-30T16:00:00Z", "finance.发票"),
    ("s2", "2026-10-14T15:59:59.999Z", "finance.发票"),
    ("s3", "2026-10-14T16:00:00Z", "finance.发票"),
    ("s4", "2026-10-06T02:00:00Z", "finance.发票"),
    ("s4", "2026-10-06T02:01:00Z", "finance.发票"),
    ("s4", "2026-10-06T03:00:00Z", "finance.发票"),
    ("l1", "2026-10-05T02:00:00Z", "finance.发票"),
    ("l1", "2026-10-07T02:00:00Z", "finance.发票"),
    ("o1", "2026-10-05T02:00:00Z", "finance.发票"),
    ("x1", "2026-10-05T02:00:00Z", "finance.发票"),
    ("bot", "2026-10-05T02:00:00Z", "finance.发票"),
    ("i1", "2026-10-06T02:00:00Z", "finance.approve"),
    ("i2", "2026-10-06T02:00:00Z", "finance.approve"),
    ("o2", "2026-10-07T02:00:00Z", "finance.approve"),
    ("o3", "2026-10-07T02:00:00Z", "finance.approve"),
    ("ghost", "2026-10-07T02:00:00Z", "misc.x"),
    ("ghost", "2026-10-07T02:05:00Z", "misc.x"),
    // The window before.
    ("s1", "2026-09-21T02:00:00Z", "finance.发票"),
    ("s2", "2026-09-21T02:00:00Z", "finance.发票"),
    ("s3", "2026-09-21T02:00:00Z", "finance.发票"),
    ("l1", "2026-09-21T02:00:00Z", "finance.发票"),
    ("l2", "2026-09-21T02:00:00Z", "finance.发票"),
];

/// User, UTC time, whether it succeeded.
const LOGINS: &[(&str, &str, bool)] = &[
    ("s1", "2026-10-05T01:00:00Z", true),
    ("s1", "2026-10-06T01:00:00Z", true),
    ("s1", "2026-10-06T05:00:00Z", true),
    ("s1", "2026-10-10T01:00:00Z", true),
    // A holiday and a free Saturday.
    ("s1", "2026-10-01T01:00:00Z", true),
    ("s1", "2026-10-03T01:00:00Z", true),
    ("s2", "2026-09-21T01:00:00Z", true),
    ("s3", "2026-10-05T01:00:00Z", false),
    ("o1", "2026-10-05T01:00:00Z", true),
    ("o1", "2026-10-06T01:00:00Z", true),
    ("o1", "2026-10-07T01:00:00Z", true),
    ("o1", "2026-10-08T01:00:00Z", true),
    ("o1", "2026-10-09T01:00:00Z", true),
    ("bot", "2026-10-05T01:00:00Z", true),
];

pub const WINDOW: &str = "from=2026-10-01&to=2026-10-15";

pub async fn company() -> Api {
    let api = Api::start(|config| {
        config.privacy.min_group_size = 3;
        // The events of these tests must not grow too old to be asked for.
        (config.retention.user_months, config.retention.aggregate_months) = (1_000, 1_000);
        config.retention.raw_days = 20_000;
    })
    .await;
    assert_eq!(api.put("/systems/erp", "application/yaml", DEFINITION).await.0, 200);
    assert_eq!(api.put("/systems/erp/roster", "text/csv", ROSTER).await.0, 200);
    let pseudonymizer = crate::harness::config().privacy.pseudonymizer();
    let users = CLICKS
        .iter()
        .map(|click| click.0)
        .chain(LOGINS.iter().map(|login| login.0));
    let ordinals = Ordinals::new(&api.fixture.store);
    let ordinals = ordinals
        .resolve(users.map(|user| pseudonymizer.pseudonym(user)))
        .await
        .unwrap();
    let row = |user: &str, time: &str, kind: &str, feature: &str, outcome: &str| {
        let pseudonym = pseudonymizer.pseudonym(user);
        row(ordinals[&pseudonym], time, kind, feature, outcome)
    };
    let clicks = CLICKS
        .iter()
        .map(|(user, time, feature)| row(user, time, "feature_click", feature, ""));
    let logins = LOGINS
        .iter()
        .map(|(user, time, ok)| row(user, time, "login", "", if *ok { "success" } else { "failure" }));
    // One INSERT each, so that rollup rows of one user and day are not merged yet.
    for row in clicks.chain(logins) {
        let into = "INSERT INTO raw_events (system, type, time, ordinal, feature, outcome, zone, local_date, local_hour, identity)";
        api.execute(&format!("{into} VALUES {row}")).await;
    }
    api
}

/// A row as a worker would write it.
pub fn row(ordinal: u64, time: &str, kind: &str, feature: &str, outcome: &str) -> String {
    let time: Timestamp = time.parse().unwrap();
    let local = Zone::named("Asia/Shanghai").unwrap().local_hour(time.as_millisecond());
    let (date, hour, ms) = (local.date, local.hour, time.as_millisecond());
    let identity = uuid::Uuid::new_v4().as_u64_pair().0;
    format!(
        "('erp', '{kind}', fromUnixTimestamp64Milli({ms}, 'UTC'), {ordinal}, '{feature}', '{outcome}', 'Asia/Shanghai', {date}, {hour}, {identity})"
    )
}

#[tokio::test]
async fn adoption_is_that_of_the_persons_entitled_in_the_window() {
    let api = company().await;
    let answer = api
        .ok(&format!("/systems/erp/adoption?{WINDOW}&by=unit&grain=week"))
        .await;
    assert_eq!(
        answer["window"],
        json!({"from": "2026-10-01", "to": "2026-10-15", "timezone": "Asia/Shanghai"})
    );
    let group = |unit: &str, entitled: u64, active: u64| json!({"unit": unit, "entitled": entitled, "active": active, "rate": active as f64 / entitled as f64, "unentitled_active": null, "suppressed": false});
    let hidden = |unit: &str| json!({"unit": unit, "entitled": null, "active": null, "rate": null, "unentitled_active": null, "suppressed": true});
    let total = |entitled: u64, active: u64, unentitled: u64| json!({"entitled": entitled, "active": active, "rate": active as f64 / entitled as f64, "unentitled_active": unentitled, "suppressed": false});
    // 法务 is too small; IT is the next smallest and would tell it.
    assert_eq!(
        answer["groups"],
        json!([hidden("IT"), group("Ops", 5, 3), group("Sales", 5, 3), hidden("法务")])
    );
    assert_eq!(answer["total"], total(15, 9, 2));
    let periods = answer["periods"].as_array().unwrap();
    assert_eq!(periods.len(), 3);
    // Until 5 October s4 is in IT and y1 has not come: Sales is the next smallest.
    assert_eq!(
        periods[0],
        json!({"from": "2026-10-01", "to": "2026-10-05", "total": total(14, 1, 0),
            "groups": [group("IT", 4, 0), group("Ops", 5, 0), hidden("Sales"), hidden("法务")]})
    );
    assert_eq!(periods[1]["total"], total(14, 7, 2));
    assert_eq!(periods[2]["to"], "2026-10-15");
    assert_eq!(periods[2]["total"], total(15, 1, 0));

    let login = api.ok(&format!("/systems/erp/adoption?{WINDOW}&measure=login")).await;
    assert_eq!(login["total"], total(15, 2, 0));
    assert_eq!(login["groups"], json!([]));
    assert!(login.get("periods").is_none());
}

#[tokio::test]
async fn logins_count_working_days_only() {
    let api = company().await;
    let answer = api.ok(&format!("/systems/erp/logins?{WINDOW}&by=unit")).await;
    assert_eq!(
        answer["total"],
        json!({"entitled": 15, "never": 12, "buckets": {"0": 13, "1-3": 1, "4-10": 1, "11+": 0},
            "mean": 8.0 / 15.0, "median": 0.0, "suppressed": false})
    );
    assert_eq!(
        answer["groups"][2],
        json!({"unit": "Sales", "entitled": 5, "never": 3, "buckets": {"0": 4, "1-3": 1, "4-10": 0, "11+": 0},
            "mean": 0.6, "median": 0.0, "suppressed": false})
    );
    assert_eq!(
        answer["groups"][0],
        json!({"unit": "IT", "entitled": null, "never": null, "buckets": null, "mean": null, "median": null, "suppressed": true})
    );
}

#[tokio::test]
async fn features_rank_by_breadth_among_those_expected_to_use_them() {
    let api = company().await;
    let answer = api.ok(&format!("/systems/erp/features?{WINDOW}")).await;
    let features = answer["features"].as_array().unwrap();
    let keys: Vec<_> = features.iter().map(|f| f["feature"].as_str().unwrap()).collect();
    assert_eq!(
        keys,
        [
            "finance.approve",
            "finance.发票",
            "misc.x",
            "hr.future",
            "hr.leave",
            "hr.old",
            "legal.sign"
        ]
    );
    // 5 of 8 clerks in the window before, 4 of 8 now: down by exactly a fifth. o1 uses it without being expected to.
    assert_eq!(
        features[1],
        json!({"rank": 2, "feature": "finance.发票", "module": "finance", "title": "开发票", "catalogued": true,
            "users": 5, "expected_users": 4, "expected": 8, "breadth": 0.5, "clicks": 10, "depth": 1.0, "adopted_users": 1,
            "previous_breadth": 0.625, "change": 0.5 / 0.625 - 1.0, "unused": false, "declining": true,
            "released": "2026-01-05", "cadence": null, "suppressed": false})
    );
    assert_eq!(features[0]["breadth"], 4.0 / 7.0);
    assert_eq!(features[0]["change"], Value::Null);
    // Not catalogued: everyone is expected; its only user is on no roster.
    let misc = json!({"users": 0, "expected": 15, "clicks": 2, "depth": 2.0, "catalogued": false, "title": null, "unused": false});
    for (key, value) in misc.as_object().unwrap() {
        assert_eq!(&features[2][key], value, "{key}");
    }
    let unused: Vec<_> = features
        .iter()
        .filter(|f| f["unused"] == true)
        .map(|f| &f["feature"])
        .collect();
    assert_eq!(unused, ["hr.leave", "hr.old", "legal.sign"]);
    assert_eq!(features[6]["breadth"], Value::Null);

    // A day of which a part was counted under another zone first: its two rows are one day of one user.
    api.execute(
        "INSERT INTO feature_user_days SELECT system, zone, 1, feature, ordinal, local_date, 5 FROM feature_user_days WHERE feature = 'misc.x' LIMIT 1",
    )
    .await;
    api.execute("INSERT INTO feature_hours VALUES ('erp', 'Asia/Shanghai', 1, 'misc.x', '2026-10-07', 10, 5)")
        .await;
    api.execute(
        "INSERT INTO rebuilds VALUES ('erp', 'Asia/Shanghai', '2026-10-08 00:00:00', '2026-10-08 00:00:00', 1, 1, 1)",
    )
    .await;
    // That there was none is believed for a second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let again = api.ok(&format!("/systems/erp/features?{WINDOW}")).await;
    assert_eq!(again["features"][2]["depth"], 7.0);
    assert_eq!(again["features"][2]["clicks"], 7);
    assert_eq!(again["features"][1], features[1]);
}

#[tokio::test]
async fn hours_of_the_week_are_local() {
    let api = company().await;
    let answer = api.ok(&format!("/systems/erp/heatmap/hours?{WINDOW}")).await;
    assert_eq!(answer["weekdays"].as_array().unwrap().len(), 7);
    assert_eq!(answer["weekdays"][0], json!({"weekday": 1, "days": 2}));
    let cells = answer["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 168);
    let cell = |weekday: usize, hour: usize| &cells[(weekday - 1) * 24 + hour];
    let expect = |weekday: u64, hour: u64, clicks: u64, users: u64| json!({"weekday": weekday, "hour": hour, "clicks": clicks, "users": users, "clicks_per_day": clicks as f64 / 2.0, "users_per_day": users as f64 / 2.0});
    assert_eq!(cell(4, 0), &expect(4, 0, 1, 1));
    assert_eq!(cell(3, 23), &expect(3, 23, 1, 1));
    // Monday 5 October: l1, o1, x1, bot.
    assert_eq!(cell(1, 10), &expect(1, 10, 4, 4));
    // Tuesday 6 October: s4 twice, i1, i2.
    assert_eq!(cell(2, 10), &expect(2, 10, 4, 3));
    let clicks: u64 = cells.iter().map(|cell| cell["clicks"].as_u64().unwrap()).sum();
    assert_eq!(clicks, 16);
    // Five days from Thursday: Monday is among them once, Tuesday and Wednesday are not.
    let short = api.ok("/systems/erp/heatmap/hours?from=2026-10-01&to=2026-10-06").await;
    let days: Vec<_> = short["weekdays"]
        .as_array()
        .unwrap()
        .iter()
        .map(|day| day["days"].as_u64().unwrap())
        .collect();
    assert_eq!(days, [1, 0, 0, 1, 1, 1, 1]);
    assert_eq!(short["cells"][24]["clicks_per_day"], Value::Null);
}

#[tokio::test]
async fn a_feature_nobody_is_expected_to_use_is_not_expected_rather_than_unused() {
    let api = company().await;
    let answer = api.ok(&format!("/systems/erp/heatmap/features?{WINDOW}")).await;
    let cells = answer["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 7 * 4);
    let cell = |feature: &str, unit: &str| {
        cells
            .iter()
            .find(|cell| cell["feature"] == feature && cell["unit"] == unit)
            .unwrap()
    };
    let shown = |feature: &str, unit: &str, users: u64, expected: Value, share: Value, not_expected: bool| {
        json!({"feature": feature, "unit": unit, "users": users, "entitled": 5, "expected": expected, "breadth": users as f64 / 5.0,
            "expected_breadth": share, "not_expected": not_expected, "suppressed": false})
    };
    let expect = [
        shown("finance.发票", "Sales", 3, json!(5), json!(0.6), false),
        shown("finance.approve", "Sales", 0, json!(0), json!(null), true),
        // One clerk among five is a group too small to show.
        shown("finance.发票", "Ops", 1, json!(null), json!(null), false),
        shown("finance.approve", "Ops", 2, json!(4), json!(0.5), false),
        shown("hr.leave", "Ops", 0, json!(5), json!(0.0), false),
    ];
    for wanted in expect {
        let (feature, unit) = (wanted["feature"].as_str().unwrap(), wanted["unit"].as_str().unwrap());
        assert_eq!(cell(feature, unit), &wanted);
    }
    for unit in ["IT", "法务"] {
        assert_eq!(
            cell("finance.approve", unit),
            &json!({"feature": "finance.approve", "unit": unit, "users": null, "entitled": null, "expected": null, "breadth": null,
                "expected_breadth": null, "not_expected": false, "suppressed": true})
        );
    }
    let roles = api.ok(&format!("/systems/erp/heatmap/features?{WINDOW}&by=role")).await;
    assert_eq!(roles["cells"][0]["role"], "approver");
    assert_eq!(roles["cells"][0]["entitled"], 7);
}

#[tokio::test]
async fn every_answer_says_how_far_it_can_be_trusted() {
    let api = company().await;
    api.execute(
        "INSERT INTO rejects VALUES ('t', 0, 1, '2026-10-05 00:00:00', '', 'invalid_json'), \
         ('t', 0, 2, '2026-10-05 00:00:00', 'erp', 'wrong_type'), ('t', 0, 2, '2026-10-05 00:00:00', 'erp', 'wrong_type'), \
         ('t', 0, 3, '2026-10-05 00:00:00', 'crm', 'wrong_type'), ('t', 0, 4, '2026-10-14 16:00:00', 'erp', 'wrong_type')",
    )
    .await;
    let mut before = api.ok(&format!("/systems/erp/adoption?{WINDOW}")).await;
    // The events were stored when the month was final.
    let quality = before["data_quality"].as_object_mut().unwrap();
    let (revision, changed_at) = (
        quality.remove("revision").unwrap(),
        quality.remove("changed_at").unwrap(),
    );
    assert!(
        revision.as_u64() > Some(1) && changed_at.is_string(),
        "{revision} {changed_at}"
    );
    assert_eq!(
        before["data_quality"],
        json!({"complete_through": null, "consumer_lag": null, "dead_letters": 2, "uncatalogued_click_share": 2.0 / 16.0,
            "users_not_on_roster": 2, "rebuilding": false, "provisional": false})
    );
    api.execute(
        "INSERT INTO ingest_progress VALUES ('t', 0, 90, 100, '2026-10-05 00:00:00', 'w', '2026-10-05 00:00:00'), \
         ('t', 0, 100, 100, '2026-10-06 00:00:00', 'w', '2026-10-06 00:00:00'), \
         ('t', 1, 40, 45, '2026-10-05 12:00:00', 'w', '2026-10-06 00:00:00')",
    )
    .await;
    api.execute(
        "INSERT INTO rebuilds VALUES ('erp', 'Asia/Shanghai', '2026-10-05 00:00:00', '2026-10-05 00:00:00', 1, 2, 0)",
    )
    .await;
    // What was found is believed for a second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let after = api.ok(&format!("/systems/erp/logins?{WINDOW}")).await;
    assert_eq!(after["data_quality"]["complete_through"], "2026-10-05T12:00:00Z");
    assert_eq!(after["data_quality"]["consumer_lag"], 5);
    assert_eq!(after["data_quality"]["rebuilding"], true);
}

#[tokio::test]
async fn a_system_with_fewer_people_than_a_group_must_have_shows_nobody() {
    let api = Api::start(|config| config.privacy.min_group_size = 3).await;
    assert_eq!(api.put("/systems/erp", "application/yaml", DEFINITION).await.0, 200);
    let two = ROSTER.lines().take(3).collect::<Vec<_>>().join("\n");
    assert_eq!(api.put("/systems/erp/roster", "text/csv", &two).await.0, 200);
    let adoption = api.ok(&format!("/systems/erp/adoption?{WINDOW}&by=unit")).await;
    assert_eq!(adoption["total"]["entitled"], Value::Null);
    assert_eq!(adoption["total"]["suppressed"], true);
    assert_eq!(adoption["groups"][0]["suppressed"], true);
    let features = api.ok(&format!("/systems/erp/features?{WINDOW}")).await;
    assert_eq!(features["features"][0]["expected"], Value::Null);
    assert_eq!(features["features"][0]["suppressed"], true);
    let hours = api.ok(&format!("/systems/erp/heatmap/hours?{WINDOW}")).await;
    assert_eq!(hours["cells"][0]["clicks"], Value::Null);
}

#[tokio::test]
async fn a_dashboard_offers_a_system_as_its_newest_definition_says() {
    let api = company().await;
    let newest = DEFINITION
        .replace("Corporate ERP", "ERP of all")
        .replace("name: Pilot", "name: First");
    assert_eq!(api.put("/systems/erp", "application/yaml", &newest).await.0, 200);
    let sql = "SELECT count() FROM system_list WHERE (system, title, timezone, first_weekday, min_group_size) \
        = ('erp', 'ERP of all', 'Asia/Shanghai', 1, 3) AND defined_phases = [('pilot', 'First', toDate('2026-09-01'), NULL)]";
    assert_eq!(api.fixture.number(sql).await, 1);
    assert_eq!(api.fixture.number("SELECT count() FROM system_list").await, 1);
}

#[tokio::test]
async fn the_views_say_what_the_api_says() {
    let api = company().await;
    let numbers = Numbers::new(3).unwrap();
    let window = "system = 'erp', from = '2026-10-01', to = '2026-10-15'";
    let own = [
        ("adoption", ", by = 'unit', measure = 'active', grain = 'week'"),
        ("logins", ", by = 'unit'"),
        ("features", ""),
        ("heatmap_hours", ""),
        ("heatmap_features", ", by = 'unit'"),
        ("data_quality", ""),
        ("rejects_by_reason", ""),
        (
            "funnels",
            ", steps = ['finance.发票', 'finance.approve'], within_s = 604800",
        ),
        ("paths", ", after = 'finance.发票'"),
        ("satisfaction", ", by = 'unit'"),
        ("issues", ""),
        ("time_to_adopt", ", feature = 'finance.发票'"),
        ("stickiness", ""),
        ("lifecycle", ", by = 'unit', on = '2026-10-14'"),
        ("retention", ""),
        ("champions", ", by = 'unit', month = '2026-10-01'"),
        ("training_effect", ", through = '2026-11-20'"),
        ("phases", ", measure = 'active', days = 60, until = '2026-10-15'"),
        ("completeness", ""),
        ("revisions", ""),
        ("targets", ", on = '2026-10-14'"),
        ("target_ramp", ", measure = 'active', days = 60"),
    ];
    let known: Vec<_> = numbers.views().map(|(name, _)| name).collect();
    // And system_list, which has no parameters.
    assert_eq!(known.len(), own.len() + 1, "{known:?}");
    let reject = "INSERT INTO rejects VALUES ('usage.events', 0, 7, '2026-10-05 01:00:00', 'erp', 'invalid_json')";
    api.execute(reject).await;
    api.execute("INSERT INTO arrivals VALUES ('erp', '/erp', '2026-10-05 01:00:00', '2026-11-08 01:00:00', 1)")
        .await;
    api.execute("INSERT INTO target_runs VALUES ('erp', '2026-10-14', 1, true, true, '', now64(3))")
        .await;
    api.execute(
        "INSERT INTO target_days (system, target, group_name, day, metric, dimension, state, since, reason, rate, expected, eligible) \
        VALUES ('erp', 'units', 'Sales', '2026-10-14', 'adoption_rate', 'unit', 'behind', '2026-10-13', 'below_ramp', 0.5, 0.8, 5)",
    )
    .await;
    for (name, parameters) in own {
        let view = format!("SELECT * FROM {name}({window}{parameters}) ORDER BY ALL");
        let question = numbers.question(
            &format!("SELECT * FROM {{{{{name}}}}} ORDER BY ALL"),
            Shape {
                by: Dimension::Unit,
                filtered: false,
                rebuilt: false,
                split: false,
            },
        );
        let question = api.fixture.store.client().query_raw(&question);
        let question = question
            .param("system", "erp")
            .param("from", "2026-10-01")
            .param("to", "2026-10-15")
            .param("by", "unit")
            .param("measure", "active")
            .param("steps", vec!["finance.发票", "finance.approve"])
            .param("within_s", 604_800)
            .param("after", "finance.发票")
            .param("feature", "finance.发票")
            .param("on", "2026-10-14")
            .param("month", "2026-10-01")
            .param("through", "2026-11-20")
            .param("days", 60)
            .param("until", "2026-10-15")
            .param(
                "periods",
                vec![
                    ("2026-10-01", "2026-10-05"),
                    ("2026-10-05", "2026-10-12"),
                    ("2026-10-12", "2026-10-15"),
                ],
            )
            .param("zone", "Asia/Shanghai")
            .param("week_start", 1)
            .param("weekdays", vec![1, 2, 3, 4, 5])
            .param("holidays", vec!["2026-10-01", "2026-10-02"])
            .param("extra_working_days", vec!["2026-10-10"])
            .param(
                "definition",
                api.fixture.number("SELECT max(version) FROM systems").await,
            )
            .param(
                "roster",
                api.fixture.number("SELECT max(version) FROM roster_versions").await,
            );
        let rows = async |query: clickhouse::query::Query| {
            let mut cursor = query.fetch_bytes("TSV").unwrap();
            String::from_utf8(cursor.collect().await.unwrap().to_vec()).unwrap()
        };
        let seen = rows(api.fixture.store.client().query_raw(&view)).await;
        assert!(!seen.is_empty(), "{name}");
        assert_eq!(rows(question).await, seen, "{name}");
    }
}
