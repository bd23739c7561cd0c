//! Funnels, paths, feedback and time to adopt, computed by hand on one small company.
//!
//! The window is [2026-10-01, 2026-10-15) in Asia/Shanghai, eight hours before UTC. Every event is stored twice.

use std::fmt::Write;

use jiff::Timestamp;
use serde_json::{Value, json};
use uptake::calendar::Zone;
use uptake::store::ordinals::Ordinals;

use crate::api::{Api, as_read};

const DEFINITION: &str = "\
system: erp
name: Corporate ERP
timezone: Asia/Shanghai
calendar: {weekdays: [mon, tue, wed, thu, fri]}
phases:
  - {id: pilot, name: Pilot, go_live: 2026-09-01}
  - {id: rest, name: Rest, go_live: 2026-09-20}
features:
  - {key: order.open, title: Open}
  - {key: order.check, title: Check, roles: [clerk]}
  - {key: order.approve, title: Approve, released: 2026-09-10}
  - {key: order.pay, title: Pay}
  - {key: help.view, title: Help, released: 2026-10-12}
  - {key: close.plain, title: Plain, released: 2025-01-01}
  - {key: close.month, title: Month, released: 2025-01-01, cadence: monthly}
  - {key: close.quarter, title: Quarter, released: 2025-01-01, cadence: quarterly}
  - {key: close.year, title: Year, released: 2025-01-01, cadence: yearly}
  - {key: close.new, title: New, released: 2026-06-01, cadence: yearly}
";

/// Sales 5, Ops 4, Lab 3.
const ROSTER: &str = "\
user_id,kind,unit,role,tier,site,phase,entitled_from,entitled_to
u1,person,Sales,clerk,,,pilot,2026-01-01,
u2,person,Sales,clerk,,,pilot,2026-01-01,
u3,person,Sales,clerk,,,pilot,2026-10-03,
u4,person,Sales,clerk,,,pilot,2026-01-01,
u5,person,Sales,clerk,,,pilot,2026-01-01,
u6,person,Ops,lead,,,rest,2026-01-01,
u7,person,Ops,lead,,,rest,2026-01-01,
u8,person,Ops,lead,,,rest,2026-01-01,
u9,person,Ops,lead,,,rest,2026-01-01,
u10,person,Lab,lead,,,rest,2026-01-01,
u11,person,Lab,lead,,,rest,2026-01-01,
u12,person,Lab,lead,,,rest,2026-01-01,2026-10-10
bot,service,Lab,lead,,,rest,2026-01-01,
";

/// User, UTC time, feature, session.
const CLICKS: &[(&str, &str, &str, &str)] = &[
    ("u1", "2026-10-05T02:00:00Z", "order.open", ""),
    ("u1", "2026-10-05T02:10:00Z", "order.check", ""),
    ("u1", "2026-10-05T03:10:00Z", "order.approve", ""),
    ("u1", "2026-10-05T04:10:00Z", "order.pay", ""),
    // The third step exactly a day after the first, and a second later than that.
    ("u2", "2026-10-05T02:00:00Z", "order.open", ""),
    ("u2", "2026-10-05T02:20:00Z", "order.check", ""),
    ("u2", "2026-10-06T02:00:00Z", "order.approve", ""),
    ("u3", "2026-10-05T02:00:00Z", "order.open", ""),
    ("u3", "2026-10-05T02:30:00Z", "order.check", ""),
    ("u3", "2026-10-06T02:00:01Z", "order.approve", ""),
    // Out of order.
    ("u4", "2026-10-05T01:00:00Z", "order.check", ""),
    ("u4", "2026-10-05T02:00:00Z", "order.open", ""),
    ("u4", "2026-10-05T03:00:00Z", "order.approve", ""),
    // The first step at the last instant of the window; outside of it.
    ("u5", "2026-10-14T15:59:59.999Z", "order.open", ""),
    ("u5", "2026-10-14T16:00:00Z", "order.check", ""),
    ("u6", "2026-09-30T15:59:59.999Z", "order.open", ""),
    ("u6", "2026-09-30T16:00:00Z", "order.check", ""),
    ("u6", "2026-10-14T16:00:00Z", "order.open", ""),
    ("u6", "2026-10-14T16:00:01Z", "order.check", ""),
    // Too late for the first start, not for the second.
    ("u7", "2026-10-05T02:00:00Z", "order.open", ""),
    ("u7", "2026-10-06T01:00:00Z", "order.open", ""),
    ("u7", "2026-10-06T01:30:00Z", "order.check", ""),
    ("u7", "2026-10-06T02:30:00Z", "order.approve", ""),
    // At the same moment.
    ("u8", "2026-10-05T02:00:00Z", "order.approve", ""),
    ("u8", "2026-10-05T02:00:00Z", "order.check", ""),
    ("u8", "2026-10-05T02:00:00Z", "order.open", ""),
    // Two sessions at once: what comes next is that of the same one, however late.
    ("u9", "2026-10-07T01:00:00Z", "order.open", "x"),
    ("u9", "2026-10-07T01:05:00Z", "report.run", "y"),
    ("u9", "2026-10-07T05:00:00Z", "order.pay", "x"),
    ("u10", "2026-10-07T01:00:00Z", "order.open", "x"),
    ("u10", "2026-10-07T01:01:00Z", "order.pay", "x"),
    ("u10", "2026-10-08T01:00:00Z", "order.open", "z"),
    ("u10", "2026-10-08T01:01:00Z", "order.pay", "z"),
    ("u11", "2026-10-07T01:00:00Z", "order.open", "x"),
    ("u11", "2026-10-07T01:01:00Z", "order.pay", "x"),
    ("u12", "2026-10-07T01:00:00Z", "order.open", "x"),
    ("u12", "2026-10-07T01:01:00Z", "help.view", "x"),
    ("u1", "2025-12-20T01:00:00Z", "close.year", ""),
    ("u1", "2026-06-01T01:00:00Z", "close.quarter", ""),
    ("u1", "2026-09-20T01:00:00Z", "close.month", ""),
    ("u2", "2026-09-20T01:00:00Z", "close.month", ""),
    ("u1", "2026-09-20T01:00:00Z", "close.plain", ""),
    ("u2", "2026-09-20T01:00:00Z", "close.plain", ""),
];

/// User, score (0: none), category, feature; all on 2026-10-09.
const FEEDBACK: &[(&str, u8, &str, &str)] = &[
    ("u1", 5, "", ""),
    ("u1", 2, "slow", "order.open"),
    ("u1", 0, "slow", "order.open"),
    ("u2", 4, "slow", "order.open"),
    ("u3", 3, "slow", "order.open"),
    ("u6", 5, "", "order.pay"),
    ("u7", 1, "", ""),
    ("u8", 5, "", ""),
    ("u10", 4, "", ""),
    ("ghost", 5, "training", "order.check"),
    ("bot", 5, "", ""),
    ("u4", 0, "slow", ""),
    ("u5", 0, "slow", ""),
    ("u6", 0, "slow", ""),
    ("u7", 0, "slow", ""),
    ("u8", 0, "bug", "order.pay"),
    ("u8", 0, "bug", ""),
    ("u9", 0, "bug", ""),
    ("u1", 0, "training", "order.check"),
    ("u2", 0, "training", "order.check"),
];

pub const WINDOW: &str = "from=2026-10-01&to=2026-10-15";

#[derive(Default)]
pub struct Event {
    pub user: String,
    pub ms: i64,
    pub feature: String,
    pub session: String,
    score: u8,
    category: String,
    feedback: bool,
}

pub fn ms(time: &str) -> i64 {
    time.parse::<Timestamp>().unwrap().as_millisecond()
}

pub fn click(user: &str, ms: i64, feature: &str, session: &str) -> Event {
    Event {
        user: user.to_owned(),
        ms,
        feature: feature.to_owned(),
        session: session.to_owned(),
        ..Event::default()
    }
}

pub async fn company() -> Api {
    let clicks = CLICKS
        .iter()
        .map(|(user, time, feature, session)| click(user, ms(time), feature, session));
    let feedback = FEEDBACK.iter().map(|(user, score, category, feature)| Event {
        score: *score,
        category: (*category).to_owned(),
        feedback: true,
        ..click(user, ms("2026-10-09T01:00:00Z"), feature, "")
    });
    company_of(clicks.chain(feedback).collect()).await
}

pub async fn company_of(events: Vec<Event>) -> Api {
    let api = Api::start(|config| {
        config.privacy.min_group_size = 3;
        // The events of these tests must not grow too old to be asked for.
        (config.retention.user_months, config.retention.aggregate_months) = (1_000, 1_000);
        config.retention.raw_days = 10_000;
    })
    .await;
    assert_eq!(api.put("/systems/erp", "application/yaml", DEFINITION).await.0, 200);
    assert_eq!(api.put("/systems/erp/roster", "text/csv", ROSTER).await.0, 200);
    let pseudonymizer = crate::harness::config().privacy.pseudonymizer();
    let users = events.iter().map(|event| pseudonymizer.pseudonym(&event.user));
    let ordinals = Ordinals::new(&api.fixture.store).resolve(users).await.unwrap();
    let zone = Zone::named("Asia/Shanghai").unwrap();
    let values = |events: &mut dyn Iterator<Item = (usize, &Event)>| {
        let mut values = String::new();
        for (index, event) in events {
            let user = pseudonymizer.pseudonym(&event.user);
            let (ordinal, local) = (ordinals[&user], zone.local_hour(event.ms));
            let kind = if event.feedback { "feedback" } else { "feature_click" };
            let Event {
                ms,
                feature,
                session,
                score,
                category,
                ..
            } = event;
            let (date, hour) = (local.date, local.hour);
            write!(values, "('erp', '{kind}', fromUnixTimestamp64Milli({ms}, 'UTC'), {ordinal}, '{feature}', '{session}', {score}, '{category}', 'Asia/Shanghai', {date}, {hour}, {index})").unwrap();
        }
        values
    };
    let into = "INSERT INTO raw_events (system, type, time, ordinal, feature, session, score, category, zone, local_date, local_hour, identity) VALUES";
    // In two parts again, because a repeat of the same block would be dropped.
    let (first, last) = (events.len() / 2, events.len());
    let indexed = || events.iter().enumerate();
    for range in [0..last, 0..first, first..last] {
        let rows = values(&mut indexed().filter(|(index, _)| range.contains(index)));
        api.execute(&format!("{into} {rows}")).await;
    }
    api
}

#[tokio::test]
async fn a_funnel_counts_the_best_run_of_each_user() {
    let api = company().await;
    let steps = "order.open,order.check,order.approve,order.pay";
    let answer = api
        .ok(&format!("/systems/erp/funnels?{WINDOW}&steps={steps}&within=24h"))
        .await;
    assert_eq!(answer["within_seconds"], 86_400);
    assert_eq!(
        answer["steps"],
        as_read(json!([
            {"step": 1, "feature": "order.open", "users": 11, "conversion": 1.0, "step_conversion": null, "median_seconds": null, "suppressed": false},
            {"step": 2, "feature": "order.check", "users": 6, "conversion": 6.0 / 11.0, "step_conversion": 6.0 / 11.0, "median_seconds": 900.0, "suppressed": false},
            {"step": 3, "feature": "order.approve", "users": 4, "conversion": 4.0 / 11.0, "step_conversion": 4.0 / 6.0, "median_seconds": 3600.0, "suppressed": false},
            {"step": 4, "feature": "order.pay", "users": null, "conversion": null, "step_conversion": null, "median_seconds": null, "suppressed": true}
        ]))
    );
    let nobody = api
        .ok(&format!("/systems/erp/funnels?{WINDOW}&steps=close.new,order.open"))
        .await;
    assert_eq!(nobody["within_seconds"], 7 * 86_400);
    let none = |step: u64, feature: &str| json!({"step": step, "feature": feature, "users": 0, "conversion": null, "step_conversion": null, "median_seconds": null, "suppressed": false});
    assert_eq!(nobody["steps"], json!([none(1, "close.new"), none(2, "order.open")]));
}

#[tokio::test]
async fn a_path_stays_in_its_session_or_within_half_an_hour() {
    let api = company().await;
    let answer = api.ok(&format!("/systems/erp/paths?{WINDOW}&after=order.open")).await;
    assert_eq!(
        (&answer["after_users"], &answer["suppressed"]),
        (&json!(11), &json!(false))
    );
    assert_eq!(
        answer["paths"],
        as_read(json!([
            {"feature": "order.check", "users": 4, "share": 4.0 / 11.0, "transitions": 4},
            {"feature": "order.pay", "users": 3, "share": 3.0 / 11.0, "transitions": 4}
        ]))
    );
    // One user looked at the help.
    assert_eq!(
        (&answer["hidden_paths"], &answer["further_paths"]),
        (&json!(1), &json!(0))
    );
    let one = api
        .ok(&format!("/systems/erp/paths?{WINDOW}&after=order.open&limit=1"))
        .await;
    assert_eq!(one["paths"], json!([answer["paths"][0]]));
    assert_eq!(one["further_paths"], 1);
    let few = api.ok(&format!("/systems/erp/paths?{WINDOW}&after=help.view")).await;
    assert_eq!((&few["after_users"], &few["suppressed"]), (&Value::Null, &json!(true)));
    assert_eq!((&few["paths"], &few["hidden_paths"]), (&json!([]), &Value::Null));
    let never = api.ok(&format!("/systems/erp/paths?{WINDOW}&after=close.new")).await;
    assert_eq!((&never["after_users"], &never["hidden_paths"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn satisfaction_is_that_of_the_entitled_who_answered() {
    let api = company().await;
    let answer = api.ok(&format!("/systems/erp/satisfaction?{WINDOW}&by=unit")).await;
    assert_eq!(
        answer["total"],
        json!({"entitled": 12, "respondents": 7, "response_rate": 7.0 / 12.0, "scored": 8, "satisfied": 5, "rate": 0.625,
            "suppressed": false, "unentitled_scored": 1})
    );
    let hidden = |unit: &str| json!({"unit": unit, "entitled": null, "respondents": null, "response_rate": null, "scored": null, "satisfied": null, "rate": null, "suppressed": true});
    // One of the lab answered; Ops and Sales have three respondents each, Ops is the smaller group.
    assert_eq!(
        answer["groups"],
        json!([hidden("Lab"), hidden("Ops"),
            {"unit": "Sales", "entitled": 5, "respondents": 3, "response_rate": 0.6, "scored": 4, "satisfied": 2, "rate": 0.5, "suppressed": false}])
    );
    let empty = api.ok("/systems/erp/satisfaction?from=2026-09-01&to=2026-09-08").await;
    assert_eq!(
        (&empty["total"]["scored"], &empty["total"]["rate"]),
        (&json!(0), &Value::Null)
    );
}

#[tokio::test]
async fn issues_rank_by_reporters_and_by_how_many_use_the_feature() {
    let api = company().await;
    let answer = api.ok(&format!("/systems/erp/issues?{WINDOW}")).await;
    assert_eq!(answer["active"], 12);
    let issue = |rank: u64, category: &str, feature: Value, reporters: f64, breadth: f64| json!({"rank": rank, "category": category, "feature": feature, "reporters": reporters as u64, "per_100_active": 100.0 * reporters / 12.0, "breadth": breadth, "weight": reporters * breadth});
    assert_eq!(
        answer["issues"],
        json!([
            issue(1, "slow", Value::Null, 4.0, 1.0),
            issue(2, "slow", json!("order.open"), 3.0, 11.0 / 12.0),
            // Four of five clerks use it.
            issue(3, "training", json!("order.check"), 3.0, 0.8)
        ])
    );
    // Two kinds of bugs, reported by two people.
    assert_eq!(
        answer["rest"],
        json!({"issues": 2, "reporters": null, "per_100_active": null})
    );
}

#[tokio::test]
async fn who_has_not_adopted_yet_counts_in_the_time_to_adopt() {
    let api = company().await;
    let answer = api
        .ok(&format!("/systems/erp/features/order.approve/time-to-adopt?{WINDOW}"))
        .await;
    let numbers = ["expected", "not_adopted", "not_adopted_share", "median_days"].map(|name| answer[name].clone());
    // Days: 3, 15, 16, 20+, 25, 25, 25+, 25+, 25+, 25+, 26, 35+.
    assert_eq!(numbers, [json!(12), json!(6), json!(0.5), json!(26)]);
    // Released after u12 had left: not among those who are watched, though he had clicked it.
    let late = api
        .ok(&format!("/systems/erp/features/help.view/time-to-adopt?{WINDOW}"))
        .await;
    let numbers = ["expected", "not_adopted", "not_adopted_share", "median_days"].map(|name| late[name].clone());
    assert_eq!(numbers, [json!(11), json!(11), json!(1.0), json!(null)]);
    // Clerks only; one has not used it in the window, u3 did on the third day.
    let clerks = api
        .ok(&format!("/systems/erp/features/order.check/time-to-adopt?{WINDOW}"))
        .await;
    let numbers = ["expected", "not_adopted", "median_days"].map(|name| clerks[name].clone());
    assert_eq!(numbers, [json!(5), json!(1), json!(34)]);
}

#[tokio::test]
async fn a_yearly_feature_is_not_unused_because_it_is_not_its_season() {
    let api = company().await;
    let answer = api.ok(&format!("/systems/erp/features?{WINDOW}")).await;
    let features = answer["features"].as_array().unwrap();
    let judged = |key: &str| {
        let feature = features.iter().find(|feature| feature["feature"] == key).unwrap();
        (feature["unused"] == true, feature["declining"] == true)
    };
    assert_eq!(judged("close.plain"), (true, true));
    assert_eq!(judged("close.month"), (false, false));
    assert_eq!(judged("close.quarter"), (true, false));
    assert_eq!(judged("close.year"), (false, false));
    assert_eq!(judged("close.new"), (false, false));
    // In a window of a month it is judged like any other.
    let month = api.ok("/systems/erp/features?from=2026-09-21&to=2026-10-21").await;
    let feature = month["features"]
        .as_array()
        .unwrap()
        .iter()
        .find(|feature| feature["feature"] == "close.month");
    assert_eq!(
        (&feature.unwrap()["unused"], &feature.unwrap()["declining"]),
        (&json!(true), &json!(true))
    );
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_with_the_limit() {
    let api = company().await;
    let many = (1..=11).map(|n| format!("f{n}")).collect::<Vec<_>>().join(",");
    let cases = [
        ("funnels".to_owned(), "steps", "2 to 10 different features"),
        (
            "funnels?steps=order.open".to_owned(),
            "steps",
            "2 to 10 different features",
        ),
        (
            "funnels?steps=order.open,order.open".to_owned(),
            "steps",
            "2 to 10 different features",
        ),
        (format!("funnels?steps={many}"), "steps", "2 to 10 different features"),
        ("funnels?steps=order.open,order.nope".to_owned(), "steps", "order.nope"),
        (
            "funnels?steps=order.open,".to_owned(),
            "steps",
            "a feature of the catalogue",
        ),
        (
            "funnels?steps=order.open,order.pay&within=31d".to_owned(),
            "within",
            "from 1m to 30d",
        ),
        ("paths".to_owned(), "after", "a feature of the catalogue"),
        ("paths?after=order.nope".to_owned(), "after", "order.nope"),
        ("paths?after=order.open&limit=0".to_owned(), "limit", "from 1 to 100"),
        ("features/order.nope/time-to-adopt".to_owned(), "feature", "order.nope"),
        ("satisfaction?by=colour".to_owned(), "by", "unit"),
        (
            "satisfaction?from=1990-01-01&to=1990-01-02".to_owned(),
            "from",
            "events are kept for 10000 days",
        ),
    ];
    for (path, place, said) in cases {
        let (status, body) = api.get(&format!("/systems/erp/{path}")).await;
        assert_eq!(status, 422, "{path}: {body}");
        assert_eq!(body["errors"][0]["place"], place, "{path}: {body}");
        assert!(body["detail"].as_str().unwrap().contains(said), "{path}: {body}");
    }
    // Never catalogued, but clicked.
    api.ok(&format!("/systems/erp/paths?{WINDOW}&after=report.run")).await;
}
