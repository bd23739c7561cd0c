//! Targets: evaluated day by day on one small company, whose days are counted from a Monday twelve weeks ago.
//!
//! Groups of fewer than three people are suppressed. Days are those of UTC.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use uptake::store::ordinals::Ordinals;
use uptake::targets::Evaluator;

use crate::api::Api;
use crate::harness::config;

/// Day 0 is a Monday.
pub fn day(n: i64) -> Date {
    let today = Timestamp::now().to_zoned_datetime(TimeZone::UTC).date();
    let since_monday = i64::from(Weekday::Monday.until(today.weekday()));
    today.saturating_sub((since_monday + 12 * 7 - n).days())
}

/// Two hours after a day is over: an hour after it is due.
pub fn after(n: i64) -> Timestamp {
    let midnight = day(n + 1).to_zoned_datetime(TimeZone::UTC).unwrap().timestamp();
    midnight.checked_add(2.hours()).unwrap()
}

/// Monday to Friday, but day 56, a Monday, is a holiday, and day 61, a Saturday, is worked.
fn is_worked(n: i64) -> bool {
    (n.rem_euclid(7) < 5 && n != 56) || n == 61
}

pub fn definition(targets: &str) -> String {
    format!(
        "system: erp\nname: ERP\ntimezone: UTC\n\
        calendar: {{weekdays: [mon, tue, wed, thu, fri], holidays: [{}], extra_working_days: [{}]}}\n\
        phases: [{{id: all, name: All, go_live: {}}}, {{id: later, name: Later, go_live: {}}}]\n\
        features: [{{key: a.open, title: Open}}, {{key: a.pay, title: Pay, roles: [clerk]}}, {{key: a.new, title: New, released: {}}}]\n\
        targets:\n{targets}",
        day(56),
        day(61),
        day(0),
        day(50),
        day(80),
    )
}

/// Five people each of Sales and Lab, two each of Tiny and Mini: so none of the others has to be withheld.
pub fn roster() -> String {
    let mut text = "user_id,kind,unit,role,tier,site,phase,entitled_from,entitled_to\n".to_owned();
    let person = |user: &str, unit: &str, role: &str, phase: &str| {
        format!("{user},person,{unit},{role},,,{phase},{},\n", day(-60))
    };
    for n in 1..=5 {
        text += &person(&format!("s{n}"), "Sales", "clerk", "all");
        text += &person(&format!("l{n}"), "Lab", "chief", "later");
    }
    for n in 1..=2 {
        text += &person(&format!("t{n}"), "Tiny", "clerk", "all");
        text += &person(&format!("m{n}"), "Mini", "clerk", "all");
    }
    text
}

pub async fn company(definition: &str, roster: &str) -> Api {
    let api = Api::start(|config| {
        config.privacy.min_group_size = 3;
        config.privacy.allow_small_groups = true;
    })
    .await;
    let (status, body) = api.put("/systems/erp", "application/yaml", definition).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(api.put("/systems/erp/roster", "text/csv", roster).await.0, 200);
    counted(&api, "2100-01-01 00:00:00").await;
    api
}

/// Everything until `through` has been counted.
async fn counted(api: &Api, through: &str) {
    api.execute(&format!(
        "INSERT INTO ingest_progress VALUES ('t', 0, 100, 100, '{through}', 'w', now64(3))"
    ))
    .await;
}

/// Something that somebody did at noon.
#[derive(Clone, Copy)]
pub struct Did<'t> {
    pub user: &'t str,
    pub day: i64,
    pub kind: &'t str,
    pub feature: &'t str,
    pub score: u8,
}

pub fn click(user: &str, day: i64) -> Did<'_> {
    Did {
        user,
        day,
        kind: "feature_click",
        feature: "a.open",
        score: 0,
    }
}

pub async fn store(api: &Api, events: &[Did<'_>]) {
    let pseudonymizer = config().privacy.pseudonymizer();
    let pseudonyms = events.iter().map(|event| pseudonymizer.pseudonym(event.user));
    let ordinals = Ordinals::new(&api.fixture.store).resolve(pseudonyms).await.unwrap();
    let row = |event: &Did| {
        let user = pseudonymizer.pseudonym(event.user);
        let (ordinal, identity) = (ordinals[&user], uuid::Uuid::new_v4().as_u64_pair().0);
        let (kind, feature, score, date) = (event.kind, event.feature, event.score, day(event.day));
        let outcome = if kind == "login" { "success" } else { "" };
        format!(
            "('erp', '{kind}', '{date} 12:00:00', {ordinal}, '{feature}', '{outcome}', {score}, '/erp', 'UTC', \
                '{date}', 12, {identity})"
        )
    };
    let rows: Vec<_> = events.iter().map(row).collect();
    let columns =
        "system, type, time, ordinal, feature, outcome, score, source, zone, local_date, local_hour, identity";
    api.execute(&format!(
        "INSERT INTO raw_events ({columns}) VALUES {}",
        rows.join(", ")
    ))
    .await;
}

const SALES: [&str; 5] = ["s1", "s2", "s3", "s4", "s5"];
const LAB: [&str; 5] = ["l1", "l2", "l3", "l4", "l5"];

/// Lab clicks on every working day until day 65, Sales until day 25 and again from day 58.
pub fn fall_and_return() -> Vec<Did<'static>> {
    let days = (0..=65).filter(|n| is_worked(*n));
    let of_day = |n: i64| {
        let sales = SALES.into_iter().filter(move |_| n <= 25 || n >= 58);
        LAB.into_iter().chain(sales).map(move |user| click(user, n))
    };
    days.flat_map(of_day).collect()
}

pub const BY_UNIT: &str =
    "  - {id: units, metric: adoption_rate, by: unit, target: 0.8, due_days: 10, breach_days: 2}\n";

pub fn evaluator(api: &Api) -> Evaluator {
    Evaluator::new(&api.fixture.config).unwrap()
}

/// The standing of one group of a target.
async fn standing(api: &Api, target: &str, group: Value) -> Value {
    let answer = api.ok("/systems/erp/targets").await;
    let targets = answer["targets"].as_array().unwrap();
    let found = targets
        .iter()
        .find(|row| row["target"] == target && row["group"] == group);
    found.unwrap_or_else(|| panic!("{target} {group}: {answer}")).clone()
}

#[tokio::test]
async fn a_unit_that_falls_silent_is_behind_then_breached_and_comes_back() {
    let api = company(&definition(BY_UNIT), &roster()).await;
    store(&api, &fall_and_return()).await;
    let evaluator = evaluator(&api);
    // A system that was never evaluated begins with the last day.
    assert_eq!(evaluator.evaluate_due(after(50)).await.unwrap(), 1);
    let sales = standing(&api, "units", json!("Sales")).await;
    let shown = [
        &sales["state"],
        &sales["rate"],
        &sales["expected"],
        &sales["eligible"],
        &sales["reason"],
    ];
    assert_eq!(
        shown,
        [
            &json!("on_track"),
            &json!(1.0),
            &json!(0.8),
            &json!(5),
            &json!("clear_of_ramp")
        ]
    );
    // Ten days are caught up, the weekend and the holiday among them.
    assert_eq!(evaluator.evaluate_due(after(60)).await.unwrap(), 10);
    assert_eq!(evaluator.evaluate_due(after(60)).await.unwrap(), 0);
    let alerts = api.ok("/systems/erp/alerts").await;
    let of_sales = alerts["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|alert| alert["group"] == "Sales");
    let changes: Vec<_> = of_sales
        .map(|alert| (alert["day"].clone(), alert["state"].clone(), alert["rate"].clone()))
        .collect();
    let change = |n: i64, state: &str, rate: f64| (json!(day(n)), json!(state), json!(rate));
    // The last click is in the window for the last time on day 52; days 54 to 56 are not worked.
    let wanted = [
        change(59, "on_track", 1.0),
        change(58, "recovering", 1.0),
        change(57, "breached", 0.0),
        change(53, "behind", 0.0),
    ];
    assert_eq!(changes, wanted);
    assert!(
        alerts["alerts"]
            .as_array()
            .unwrap()
            .iter()
            .all(|alert| alert["group"] != "Lab"),
        "{alerts}"
    );
    // No numbers of a group that is too small.
    let tiny = standing(&api, "units", json!("Tiny")).await;
    assert_eq!(
        (&tiny["state"], &tiny["reason"]),
        (&json!("undecided"), &json!("suppressed"))
    );
    assert!(
        ["rate", "expected", "eligible", "day_rate"]
            .iter()
            .all(|key| tiny[key].is_null()),
        "{tiny}"
    );
    // The make-up Saturday is evaluated, the Sunday after it is not.
    evaluator.evaluate_due(after(62)).await.unwrap();
    assert_eq!(standing(&api, "units", json!("Lab")).await["day"], json!(day(61)));
    let through = api.ok("/systems/erp/targets").await["evaluated_through"].clone();
    assert_eq!(through, json!(day(62)));
}

#[tokio::test]
async fn two_evaluators_at_once_say_what_one_says() {
    let api = company(&definition(BY_UNIT), &roster()).await;
    store(&api, &fall_and_return()).await;
    let both = [evaluator(&api), evaluator(&api)];
    both[0].evaluate_due(after(50)).await.unwrap();
    let (one, other) = tokio::join!(both[0].evaluate_due(after(58)), both[1].evaluate_due(after(58)));
    assert_eq!((one.unwrap(), other.unwrap()), (8, 8));
    let alerts = "SELECT count() FROM target_days FINAL WHERE group_name = 'Sales' AND alert_id != ''";
    assert_eq!(api.fixture.number(alerts).await, 3);
    // Day 50 and the five working days until 58 except the holiday: 50, 51, 52, 53, 57, 58; four units each.
    assert_eq!(api.fixture.number("SELECT count() FROM target_days FINAL").await, 24);
}

#[tokio::test]
async fn a_collector_that_died_does_not_look_like_users_who_stopped() {
    let api = company(&definition(BY_UNIT), &roster()).await;
    // Nobody's events arrive from day 53 to day 58.
    let arrived: Vec<_> = fall_and_return()
        .into_iter()
        .filter(|did| did.day < 53 || did.day > 58)
        .collect();
    store(&api, &arrived).await;
    let evaluator = evaluator(&api);
    evaluator.evaluate_due(after(52)).await.unwrap();
    evaluator.evaluate_due(after(58)).await.unwrap();
    let answer = api.ok("/systems/erp/targets").await;
    assert_eq!(answer["complete"], false);
    assert_eq!(answer["incomplete_because"], format!("silent on {}: /erp", day(58)));
    let sales = standing(&api, "units", json!("Sales")).await;
    assert_eq!(
        (&sales["state"], &sales["reason"]),
        (&json!("undecided"), &json!("incomplete_data"))
    );
    assert_eq!(
        api.fixture
            .number("SELECT count() FROM target_days FINAL WHERE state IN ('behind', 'breached')")
            .await,
        0
    );
    // A group that is suppressed is not seen now either.
    assert_eq!(standing(&api, "units", json!("Tiny")).await["reason"], "suppressed");
    // They come late: the days are evaluated again, in order.
    let late: Vec<_> = fall_and_return()
        .into_iter()
        .filter(|did| (53..=58).contains(&did.day))
        .collect();
    store(&api, &late).await;
    assert_eq!(evaluator.evaluate_due(after(58)).await.unwrap(), 6);
    let sales = standing(&api, "units", json!("Sales")).await;
    assert_eq!(
        (&sales["state"], &sales["since"]),
        (&json!("recovering"), &json!(day(58)))
    );
}

#[tokio::test]
async fn a_day_that_is_not_counted_whole_is_undecided_and_judged_later() {
    let api = company(&definition(BY_UNIT), &roster()).await;
    store(&api, &fall_and_return()).await;
    let evaluator = evaluator(&api);
    evaluator.evaluate_due(after(52)).await.unwrap();
    counted(&api, &format!("{} 23:59:59", day(53))).await;
    evaluator.evaluate_due(after(53)).await.unwrap();
    let answer = api.ok("/systems/erp/targets").await;
    let why = answer["incomplete_because"].as_str().unwrap();
    assert!(why.starts_with(&format!("events after {}T23:59:59Z", day(53))), "{why}");
    assert_eq!(standing(&api, "units", json!("Lab")).await["state"], "undecided");
    // Nothing has changed: nothing is written.
    assert_eq!(evaluator.evaluate_due(after(53)).await.unwrap(), 0);
    counted(&api, "2100-01-01 00:00:00").await;
    assert_eq!(evaluator.evaluate_due(after(53)).await.unwrap(), 1);
    assert_eq!(standing(&api, "units", json!("Sales")).await["state"], "behind");
    assert_eq!(api.ok("/systems/erp/targets").await["complete"], true);
}

#[tokio::test]
async fn every_metric_is_the_number_of_the_same_name() {
    let kinds = [
        ("rate", "adoption_rate", "none"),
        ("logins", "login_rate", "none"),
        ("often", "login_frequency", "unit"),
        ("broad", "feature_breadth", "unit"),
        ("happy", "satisfaction", "none"),
        ("waves", "adoption_rate", "phase"),
    ];
    let target = |(id, metric, by): (&str, &str, &str)| {
        format!("  - {{id: {id}, metric: {metric}, by: {by}, target: 0.8, due_days: 100, breach_days: 2}}\n")
    };
    let targets: String = kinds.map(target).concat();
    let api = company(&definition(&targets), &roster()).await;
    let mut events = fall_and_return();
    let login = |user, day| Did {
        kind: "login",
        feature: "",
        ..click(user, day)
    };
    // The 28 days until day 60, a Friday, begin with day 33: 19 working days, because day 56 is none.
    events.extend([35, 36, 37, 60].map(|n| login("s1", n)));
    events.push(login("l1", 43));
    events.extend(
        [("s1", "a.pay"), ("l1", "a.pay"), ("s2", "a.other")].map(|(user, feature)| Did {
            feature,
            ..click(user, 45)
        }),
    );
    let score = |user: &'static str, score| Did {
        kind: "feedback",
        feature: "",
        score,
        ..click(user, 45)
    };
    let users = SALES.into_iter().chain(LAB);
    events.extend(
        users
            .enumerate()
            .map(|(n, user)| score(user, if n < 7 { 5 } else { 1 })),
    );
    store(&api, &events).await;
    evaluator(&api).evaluate_due(after(60)).await.unwrap();
    let rate = async |target: &str, group: Value| standing(&api, target, group).await["rate"].clone();
    let near = |rate: Value, wanted: f64| {
        let rate = rate.as_f64().unwrap();
        assert!((rate - wanted).abs() < 1e-9, "{rate} {wanted}");
    };
    near(rate("rate", Value::Null).await, 10.0 / 14.0);
    near(rate("logins", Value::Null).await, 2.0 / 14.0);
    near(rate("often", json!("Sales")).await, 4.0 / 5.0 / 19.0);
    near(rate("often", json!("Lab")).await, 1.0 / 5.0 / 19.0);
    // Expected of Sales: open and pay of each of five. All opened, one paid. The feature not yet released and the one not in the
    // catalogue are not expected, paying is not expected of Lab.
    near(rate("broad", json!("Sales")).await, 6.0 / 10.0);
    near(rate("broad", json!("Lab")).await, 1.0);
    near(rate("happy", Value::Null).await, 0.7);
    // Each phase has its own go-live: day 0 and day 50, so that only the last days count, and the ramp begins there.
    let first = standing(&api, "waves", json!("all")).await;
    let second = standing(&api, "waves", json!("later")).await;
    near(first["rate"].clone(), 5.0 / 9.0);
    near(first["expected"].clone(), 0.8 * 60.0 / 100.0);
    near(second["rate"].clone(), 1.0);
    near(second["expected"].clone(), 0.8 * 10.0 / 100.0);
    near(standing(&api, "rate", Value::Null).await["expected"].clone(), 0.48);
}

#[tokio::test]
async fn too_few_answers_say_nothing_and_before_go_live_nothing_is_expected() {
    let targets = "  - {id: happy, metric: satisfaction, target: 0.8, due_days: 9, breach_days: 1}\n\
        \x20 - {id: waves, metric: adoption_rate, by: phase, target: 0.8, due_days: 9, breach_days: 1}\n";
    let api = company(&definition(targets), &roster()).await;
    store(&api, &fall_and_return()).await;
    evaluator(&api).evaluate_due(after(45)).await.unwrap();
    let reason = async |target: &str, group: Value| standing(&api, target, group).await["reason"].clone();
    assert_eq!(reason("happy", Value::Null).await, "too_few_answers");
    assert_eq!(reason("waves", json!("later")).await, "before_go_live");
    assert_eq!(reason("waves", json!("all")).await, "below_ramp");
}

#[tokio::test]
async fn a_day_far_below_the_same_weekdays_before_it_is_a_breach_at_once() {
    let drop = "  - {id: drop, metric: adoption_rate, target: 0.5, due_days: 9, breach_days: 2, drop: 0.5}\n\
        \x20 - {id: ramp, metric: adoption_rate, target: 0.5, due_days: 9, breach_days: 2}\n";
    let api = company(&definition(drop), &roster()).await;
    // On Monday, day 35, only four come; everybody comes on every other working day.
    let days = (0..=37).filter(|n| is_worked(*n));
    let everybody = SALES.into_iter().chain(LAB).chain(["t1", "t2"]);
    let all = days.flat_map(|n| {
        everybody
            .clone()
            .take(if n == 35 { 4 } else { 12 })
            .map(move |user| click(user, n))
    });
    store(&api, &all.collect::<Vec<_>>()).await;
    let evaluator = evaluator(&api);
    evaluator.evaluate_due(after(34)).await.unwrap();
    evaluator.evaluate_due(after(35)).await.unwrap();
    let fallen = standing(&api, "drop", Value::Null).await;
    assert_eq!(
        (&fallen["state"], &fallen["reason"]),
        (&json!("breached"), &json!("sudden_drop"))
    );
    let near = |key: &str, wanted: f64| assert!((fallen[key].as_f64().unwrap() - wanted).abs() < 1e-9, "{fallen}");
    near("rate", 12.0 / 14.0);
    near("day_rate", 4.0 / 14.0);
    near("usual_rate", 12.0 / 14.0);
    assert_eq!(standing(&api, "ramp", Value::Null).await["state"], "on_track");
    evaluator.evaluate_due(after(37)).await.unwrap();
    assert_eq!(standing(&api, "drop", Value::Null).await["state"], "on_track");
}

#[tokio::test]
async fn an_alert_is_acknowledged_with_a_comment_and_that_is_audited() {
    let api = company(&definition(BY_UNIT), &roster()).await;
    store(&api, &fall_and_return()).await;
    let evaluator = evaluator(&api);
    evaluator.evaluate_due(after(50)).await.unwrap();
    evaluator.evaluate_due(after(57)).await.unwrap();
    let first = api.ok("/systems/erp/alerts?limit=1").await;
    assert_eq!(first["alerts"][0]["state"], "breached");
    let second = api
        .ok(&format!(
            "/systems/erp/alerts?limit=1&cursor={}",
            first["next"].as_str().unwrap()
        ))
        .await;
    assert_eq!(
        (&second["alerts"][0]["state"], &second["next"]),
        (&json!("behind"), &Value::Null)
    );
    let id = first["alerts"][0]["id"].as_str().unwrap();
    let acknowledge = async |id: &str, body: &str| {
        let path = format!("/systems/erp/alerts/{id}/acknowledgement");
        api.send(api.post(&path).body(body.to_owned())).await
    };
    let long = format!("{{\"comment\": \"{}\"}}", "x".repeat(2_001));
    for refused in [
        "",
        "{}",
        "{\"comment\": \" \"}",
        "{\"comment\": 1}",
        "{\"comment\": \"a\", \"b\": 1}",
        &long,
    ] {
        assert_eq!(acknowledge(id, refused).await.0, 422, "{refused}");
    }
    assert_eq!(acknowledge(&"0".repeat(32), "{\"comment\": \"a\"}").await.0, 404);
    assert_eq!(acknowledge("", "{\"comment\": \"a\"}").await.0, 404);
    acknowledge(id, "{\"comment\": \"who is it?\"}").await;
    let (status, note) = acknowledge(id, "{\"comment\": \"training on Thursday\"}").await;
    assert_eq!(
        (status, &note["comment"], &note["who"]),
        (200, &json!("training on Thursday"), &json!("anybody"))
    );
    assert_eq!(
        api.ok("/systems/erp/alerts").await["alerts"][0]["acknowledgement"],
        note
    );
    let entry = api.ok("/audit?limit=1").await["entries"][0].clone();
    assert_eq!(
        (&entry["action"], &entry["object"], &entry["outcome"]),
        (&json!("acknowledge_alert"), &json!("erp"), &json!("done"))
    );
    for path in [
        "/systems/erp/targets?unit=x",
        "/systems/erp/alerts?limit=0",
        "/systems/erp/alerts?cursor=x",
    ] {
        assert_eq!(api.get(path).await.0, 422, "{path}");
    }
    for path in ["/systems/nix/targets", "/systems/nix/alerts"] {
        assert_eq!(api.get(path).await.0, 404, "{path}");
    }
}
